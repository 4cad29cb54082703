"""A driver in a process of its own, for each connection: what runs there can always be stopped.

Takes: what to open, as `connectors/driver_program.py` reads it. Gives: connections whose statements
run there. A cancel is first said to the driver, so that the source stops too; then the process
ends. Never shares its memory, or the gateway's own settings, with a driver that others chose.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from connectors.arrow import StreamingConnection
from connectors.base import (
    Abilities,
    ConnectorError,
    ConnectorUnavailable,
    declared_abilities,
)

_PROGRAM = Path(__file__).with_name("driver_program.py")
_OPEN_SECONDS, _STOP_SECONDS = 30.0, 0.5
# Where a backslash hides a quote from whoever looks for the end of a text.
_BACKSLASHES = frozenset({"bigquery", "clickhouse", "databricks", "doris", "drill", "hive", "mysql",
                          "singlestore", "snowflake", "spark", "spark2", "starrocks"})  # fmt: skip


class _LostError(OSError):
    """The source cannot be opened."""


class ProcessConnection(StreamingConnection):
    """One connection of a driver, in its process."""

    errors = (OSError, subprocess.TimeoutExpired)

    def __init__(self, opening: Mapping[str, object], probing: str = "SELECT 1") -> None:
        """Nothing is started yet; `probing` is a statement that costs nothing."""
        super().__init__()
        self._opening = opening
        self._probing = probing
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """Start the process and connect; ConnectorUnavailable where that fails."""
        with self.asking():
            self._start()

    def close(self) -> None:
        """Give everything back; idempotent."""
        self._broken = True
        self._end()

    def ask(
        self, what: str, values: pa.RecordBatch | None = None, **more: object
    ) -> Generator[pa.RecordBatch, None, None]:
        """The batches of an answer; whoever does not read them all ends the process."""
        whole = False
        try:
            process = self._process or self._start()
            self._send(process, {"do": what, **more}, _as_stream(values))
            error = yield from self._frames(process)
            whole = True
        finally:
            if not whole:
                self._interrupt()
                self._end()
        if error:
            raise OSError(error)

    def _frames(
        self, process: subprocess.Popen[bytes]
    ) -> Generator[pa.RecordBatch, None, str]:
        """The batches of an answer, and in the end its error, '' where there is none."""
        assert process.stdout is not None
        while True:
            line = process.stdout.readline()
            if not line.endswith(b"\n"):
                raise _ended(process)
            told = json.loads(line)
            if "error" in told:
                return str(told["error"])
            frame = process.stdout.read(told["size"])
            if len(frame) < told["size"]:
                raise _ended(process)
            yield from pa.ipc.open_stream(frame)

    def _send(
        self, process: subprocess.Popen[bytes], request: Mapping[str, object], values: bytes = b""
    ) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps({**request, "size": len(values)}).encode() + b"\n" + values)
        process.stdin.flush()

    def _start(self) -> subprocess.Popen[bytes]:
        kept = {name: one for name, one in os.environ.items() if not name.startswith("SQLUICE_")}
        process = self._process = subprocess.Popen(
            # Isolated: nothing of the working folder may shadow what the program imports.
            [sys.executable, "-I", str(_PROGRAM), str(self._opening["kind"])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=kept,
        )
        timer = threading.Timer(_OPEN_SECONDS, process.kill)
        timer.start()
        error: str = "the driver did not open the source"
        try:
            self._send(process, {"do": "open", **self._opening})
            error = _end_of(self._frames(process))
        except ConnectionError as failure:
            raise _LostError(error) from failure
        finally:
            timer.cancel()
            if error:
                self._end()
        if error:
            raise _LostError(error)
        return process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _interrupt(self) -> None:
        # The reading thread meets the end of the stream and cleans up.
        process = self._process
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(OSError):
            self._send(process, {"do": "cancel"})
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()

    def _told(self, error: Exception) -> ConnectorError:
        if isinstance(error, _LostError):
            self._broken = True
            return ConnectorUnavailable(str(error))
        return super()._told(error)

    def _probe(self) -> None:
        """One that is gone is no reason: the next statement starts another."""
        if self._process is not None and self._process.poll() is not None:
            self._end()
        if self._process is not None:
            for _ in self.ask("run", sql=self._probing):
                pass


def _ended(process: subprocess.Popen[bytes]) -> ConnectionError:
    """What to say of a process that is gone, or closed its output: how it ended tells why."""
    try:
        status = f"status {process.wait(_STOP_SECONDS)}"
    except subprocess.TimeoutExpired:
        status = "it still runs"
    return ConnectionError(f"the driver's process ended ({status})")


def _end_of(frames: Generator[pa.RecordBatch, None, str]) -> str:
    """What a generator gives in the end."""
    while True:
        try:
            next(frames)
        except StopIteration as end:
            return str(end.value)


def declared(settings: Mapping[str, str], kind: str) -> Abilities:
    """What a source of a kind may do by its settings; ConnectorError for what makes no sense."""
    if not re.fullmatch(r"[a-z0-9]+", settings.get("dialect", "")):
        raise ConnectorError("dialect names the SQL that the source speaks, such as snowflake")
    return declared_abilities(kind, settings["dialect"], settings.get("abilities", ""))


def with_marks(sql: str, dialect: str, mark: str) -> str:
    """The statement with another mark for each `?1` or `$1` ... outside of texts and names."""
    escape = r"\\.|" if dialect in _BACKSLASHES else ""
    parts = rf"""'(?:{escape}''|[^'])*'|"(?:{escape}""|[^"])*"|`(?:``|[^`])*`|(?<![\w$])[?$](\d+)"""
    return re.sub(
        parts, lambda found: mark.format(found[1]) if found[1] else found[0], sql, flags=re.DOTALL
    )


def _as_stream(values: pa.RecordBatch | None) -> bytes:
    if values is None:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, values.schema) as writer:
        writer.write_batch(values)
    found: Any = sink.getvalue().to_pybytes()
    return bytes(found)
