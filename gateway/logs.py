"""JSON logs, and the log of each domain's owner.

Takes: records of Python's logging, and the private texts of errors. Gives: one JSON object a
line. Never writes a secret, a value or the text of an exception into the gateway's log: of an
exception it says the class and where it was raised. What a source said in full goes to the log of
the owner of that source, a file of its own.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Lock
from typing import TextIO

from gateway.errors import SqluiceError

query_id: ContextVar[str] = ContextVar("query_id", default="")
"""The query that the present thread or task works for."""

_FIELDS = (
    "query_id", "user", "endpoint", "code", "source", "revision", "seconds", "rows", "event",
    "files",
)
_FRAMES = 12
_OWNER_BYTES, _OWNER_FILES = 5_000_000, 3


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if query_id.get():
            line["query_id"] = query_id.get()
        given = {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        line |= {name: value for name, value in given.items() if value not in (None, "")}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["frames"] = [
                f"{Path(one.filename).name}:{one.lineno} {one.name}"
                for one in traceback.extract_tb(record.exc_info[2])[-_FRAMES:]
            ]
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logs(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send everything that is logged to `stream` (standard error) as JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # It tells at each start which kind of database it met.
    logging.getLogger("alembic").setLevel(max(root.level, logging.WARNING))


class OwnerLogs:
    """The owners' logs: one rotating file for each domain, which its owner may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._handlers: dict[str, RotatingFileHandler] = {}

    def write(self, domain: str, error: SqluiceError, source: str = "") -> None:
        """Keep the private text of an error for the owner of the domain."""
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "query_id": error.query_id or query_id.get(),
            "code": error.code,
            "source": source,
            "message": error.message,
            "private": error.private or "",
        }
        record = logging.makeLogRecord({"msg": json.dumps(line, ensure_ascii=False)})
        self._handler(domain).handle(record)

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            for handler in self._handlers.values():
                handler.close()
            self._handlers.clear()

    def _handler(self, domain: str) -> RotatingFileHandler:
        with self._lock:
            handler = self._handlers.get(domain)
            if handler is None:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                path = self._folder / f"{Path(domain).name}.jsonl"
                handler = RotatingFileHandler(
                    path, "a", _OWNER_BYTES, _OWNER_FILES, encoding="utf-8", delay=True
                )
                self._handlers[domain] = handler
            return handler
