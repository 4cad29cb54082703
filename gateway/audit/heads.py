"""Heads of chains, exported: against them a cut tail and a rewritten chain are found.

Takes: heads, a file or a URL. Gives: JSON lines with their date, appended or posted on a
schedule; and heads read back. Never changes a line that was written, and never sends a head in
clear off the machine.
"""

from __future__ import annotations

import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Engine

from gateway.errors import InvalidConfig
from gateway.repeating import repeat
from gateway.state import audit as rows
from gateway.state.engine import moment_text, reading

log = logging.getLogger("gateway.audit")

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_POST_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Head:
    """The newest record of a chain at some moment."""

    chain: str
    sequence: int
    hash: str


# Takes a line of JSON; raises OSError where it cannot be kept.
Sink = Callable[[str], None]


def sink_of(target: Path | str) -> Sink:
    """Where heads go: a file to append to, or an https URL to post to."""
    if isinstance(target, Path):
        return lambda line: _append(target, line)
    parts = urlsplit(target)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise InvalidConfig(
            "Heads of the audit are posted by https, in clear to this machine only.",
            hint="Correct [audit] heads in gateway.toml: a file name or an https URL.",
        )
    return lambda line: _post(target, line)


def head_line(head: Head, at: datetime) -> str:
    """A head as a line of JSON, without the end of the line."""
    place = {"chain": head.chain, "sequence": head.sequence, "hash": head.hash}
    return json.dumps({"at": moment_text(at), **place})


def read_heads(path: Path) -> tuple[Head, ...]:
    """Every exported head of a file of JSON lines, in its order."""
    found: dict[Head, None] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            raw = json.loads(line)
            found[Head(str(raw["chain"]), int(raw["sequence"]), str(raw["hash"]))] = None
        except (ValueError, KeyError, TypeError):
            raise InvalidConfig(
                f"{path.name}:{number} is no exported head of an audit chain.",
                hint="Name a file that the gateway wrote (see [audit] heads in gateway.toml).",
            ) from None
    return tuple(found)


def export_on_schedule(
    head_of: Callable[[], Head | None],
    sink: Callable[[Head], object],
    seconds: float,
) -> Callable[[], None]:
    """Export the head now and then, where it has moved; gives what stops and exports once more.

    A head that could not be exported is told in the log and tried again.
    """
    exported: list[Head] = []

    def export() -> None:
        head = head_of()
        if head is None or exported[-1:] == [head]:
            return
        try:
            sink(head)
        except OSError as error:
            log.error("the head of the audit could not be exported", extra={"event": str(error)})
            return
        exported[:] = [head]

    stop = repeat(export, seconds, "audit-heads", _POST_SECONDS)

    def close() -> None:
        stop()
        export()

    return close


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def _post(url: str, line: str) -> None:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, line.encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=_POST_SECONDS):
        return


def heads_of(engine: Engine) -> tuple[Head, ...]:
    """The newest record of every chain in state."""
    with reading(engine) as connection:
        found = [rows.newest(connection, str(one["chain"])) for one in rows.chains(connection)]
    return tuple(
        Head(str(one["chain"]), int(str(one["sequence"])), str(one["hash"]))
        for one in found
        if one is not None
    )
