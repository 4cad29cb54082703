"""Keys of pseudonyms, one for each join group and epoch.

Takes: the governance group's secrets, and the keys that state holds sealed. Gives: a key of 32
bytes. Never shows a key. Epoch 0 is the secret of the governance group, made once where it is
missing, in a file that only the gateway's user may read; each rotation makes the next epoch, in
state, sealed with `SQLUICE_STATE_KEY`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets as randomness
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from gateway.errors import Conflict, InvalidConfig
from gateway.secrets import Secrets
from gateway.state.access import AccessEvent, append_event
from gateway.state.engine import moment_text, reading, writing
from gateway.state.keys import KeyRow, insert_key, key_rows, last_epoch, sealed_key

DOMAIN = "governance"
VARIABLE = "SQLUICE_STATE_KEY"
_SHORTEST = 32


class Vault:
    """Keys in state. The environment's first key seals, each of them opens."""

    def __init__(self, engine: Engine, environment: Mapping[str, str]) -> None:
        """Keep keys in this state."""
        self._engine = engine
        self._environment = environment

    def rotate(self, join_group: str, actor: str, reason: str = "") -> int:
        """Make the next key of a join group; gives its epoch. All gateways follow at once."""
        box = self._box()
        now = moment_text(datetime.now(UTC))
        try:
            with writing(self._engine) as connection:
                event = AccessEvent("rotate", join_group, "", actor, reason, at=now)
                append_event(connection, event)
                epoch = last_epoch(connection, join_group) + 1
                content = json.dumps([join_group, epoch, randomness.token_hex(32)])
                row = KeyRow(join_group, epoch, box.encrypt(content.encode()), now, actor)
                insert_key(connection, row)
        except IntegrityError as error:
            raise Conflict(
                f"The join group {join_group} was rotated by another at this moment.",
                hint="sqluice keys list shows what holds.",
            ) from error
        return epoch

    def key(self, join_group: str, epoch: int) -> bytes:
        """The key of an epoch; raises InvalidConfig where it cannot be opened."""
        with reading(self._engine) as connection:
            sealed = sealed_key(connection, join_group, epoch)
        try:
            content = json.loads(self._box().decrypt(sealed or b""))
        except (InvalidToken, ValueError):
            content = None
        if not isinstance(content, list) or content[:2] != [join_group, epoch]:
            raise InvalidConfig(
                f"The pseudonym key of join group {join_group} in state cannot be opened.",
                hint=f"Set {VARIABLE} to the value with which it was sealed.",
            )
        return bytes.fromhex(content[2])

    def rows(self) -> tuple[KeyRow, ...]:
        """All keys, sealed."""
        with reading(self._engine) as connection:
            return key_rows(connection)

    def _box(self) -> MultiFernet:
        texts = [one.strip() for one in self._environment.get(VARIABLE, "").split(",")]
        if not all(len(one) >= _SHORTEST for one in texts):
            raise InvalidConfig(
                f"{VARIABLE} is not set, or shorter than {_SHORTEST} characters.",
                hint="Set it to random characters, the same for every gateway over this state; "
                "several with commas: the first seals, each opens.",
            )
        digests = (hashlib.sha256(f"sqluice state {one}".encode()).digest() for one in texts)
        return MultiFernet([Fernet(base64.urlsafe_b64encode(one)) for one in digests])


class PseudonymKeys:
    """Looks keys up, and remembers them. Thread-safe."""

    def __init__(self, secrets: Secrets, folder: Path, vault: Vault) -> None:
        """Look in secrets for epoch 0, in the vault for all others."""
        self._secrets = secrets
        self._folder = folder
        self._vault = vault
        self._known: dict[tuple[str, int], bytes] = {}
        self._lock = threading.Lock()

    def key_of(self, join_group: str, epoch: int = 0) -> bytes:
        """The key of a join group; secrets shorter than 32 characters are refused."""
        key = (join_group, epoch)
        with self._lock:
            if key not in self._known:
                self._known[key] = (
                    self._vault.key(join_group, epoch) if epoch else self._read(join_group)
                )
            return self._known[key]

    def _read(self, join_group: str) -> bytes:
        name = f"PSEUDONYM_{join_group.upper().replace('-', '_')}"
        try:
            text = self._secrets.get(DOMAIN, name)
        except InvalidConfig:
            self._make(name)
            text = self._secrets.get(DOMAIN, name)
        if len(text) < _SHORTEST:
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
