"""Keys of pseudonyms, one per join group.

Takes: the governance group's secrets. Gives: a key of 32 bytes for a join group. Never shows a
key; makes a missing one once, in a file that only the gateway's user may read, since a
pseudonym without a lasting key would change at each start.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets as randomness
import threading
from pathlib import Path

from gateway.errors import InvalidConfig
from gateway.secrets import Secrets

DOMAIN = "governance"


class PseudonymKeys:
    """Looks keys up, and remembers them. Thread-safe."""

    def __init__(self, secrets: Secrets, folder: Path) -> None:
        self._secrets = secrets
        self._folder = folder
        self._known: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def key_of(self, join_group: str) -> bytes:
        """The key of a join group; secrets shorter than 32 characters are refused."""
        with self._lock:
            if join_group not in self._known:
                self._known[join_group] = self._read(join_group)
            return self._known[join_group]

    def _read(self, join_group: str) -> bytes:
        name = f"PSEUDONYM_{join_group.upper().replace('-', '_')}"
        try:
            text = self._secrets.get(DOMAIN, name)
        except InvalidConfig:
            self._make(name)
            text = self._secrets.get(DOMAIN, name)
        if len(text) < 32:
            raise InvalidConfig(
                f"The pseudonym key of join group {join_group} is shorter than 32 characters.",
                hint=f"Write at least 32 random characters into the secret {DOMAIN}/{name}.",
            )
        return hashlib.sha256(text.encode()).digest()

    def _make(self, name: str) -> None:
        folder = self._folder / DOMAIN
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Another gateway may make it at the same moment: the first one's stays.
        with contextlib.suppress(FileExistsError):
            handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(randomness.token_urlsafe(48))
