"""A small server that answers as OPA does with a bundle written for Trino.

Takes: what it denies, filters and masks, as data that a test may change while it serves. Gives:
addresses on loopback, and every request that came. `broken` makes an address misbehave.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATHS = {
    "url": "/v1/data/trino/allow",
    "batched_url": "/v1/data/trino/batch",
    "row_filters_url": "/v1/data/trino/rowFilters",
    "column_masks_url": "/v1/data/trino/columnMask",
    "batched_column_masks_url": "/v1/data/trino/batchColumnMasks",
}
BATCHED = ("url", "batched_url", "row_filters_url", "batched_column_masks_url")


@dataclass(slots=True)
class Asked:
    """One request: its path, what it asked, its headers, and over which connection."""

    path: str
    input: Mapping[str, Any]
    headers: Mapping[str, str]
    connection: int

    @property
    def operation(self) -> str:
        """What was to be done."""
        return str(self.input["action"]["operation"])


@dataclass(slots=True)
class Bundle:
    """What the policies say. Names of tables are `catalog.schema.table`."""

    denies: list[Mapping[str, str]] = field(default_factory=list)
    filters: dict[str, list[Any]] = field(default_factory=dict)
    masks: dict[str, Any] = field(default_factory=dict)
    broken: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def settings(self, keys: tuple[str, ...] = BATCHED, more: str = "") -> str:
        """A gateway.toml that asks here."""
        urls = "\n".join(f'{key} = "http://127.0.0.1:{self.port}{PATHS[key]}"' for key in keys)
        return f'[paths]\ndata = "data"\n[decision_point]\n{urls}\n{more}\n'

    def operations(self) -> list[str]:
        """What was asked since the last time."""
        with self.lock:
            found = sorted(f"{one.path.rsplit('/', 1)[1]} {one.operation}" for one in self.asked)
            self.asked.clear()
        return found

    def answer(self, path: str, asked: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """What OPA says at a path."""
        action = asked["action"]
        match path.rsplit("/", 1)[1]:
            case "allow":
                return self._allow(asked, action.get("resource", {}))
            case "batch":
                return self._batch(asked)
            case "rowFilters":
                name = _table(action["resource"]) or ""
                return [_view(one) for one in self.filters.get(name, [])]
            case "columnMask":
                found = self._mask(action["resource"])
                return None if found is None else _view(found)
            case _:
                masks = [self._mask(one) for one in action["filterResources"]]
                return [
                    {"index": number, "viewExpression": _view(one)}
                    for number, one in enumerate(masks)
                    if one is not None
                ]

    def _allow(self, asked: Mapping[str, Any], resource: Mapping[str, Any]) -> bool:
        facts = {
            "user": asked["context"]["identity"]["user"],
            "operation": asked["action"]["operation"],
            "catalog": resource.get("catalog", {}).get("name") or resource.get("table", {}).get(
                "catalogName"
            ),
            "table": _table(resource),
        }
        columns = resource.get("table", {}).get("columns", [])
        for one in self.denies:
            plain = {name: value for name, value in one.items() if name != "column"}
            if all(facts[name] == value for name, value in plain.items()) and (
                "column" not in one or one["column"] in columns
            ):
                return False
        return True

    def _batch(self, asked: Mapping[str, Any]) -> list[int]:
        """As the rule in Trino's documentation: columns of one table are asked one by one."""
        resources = asked["action"]["filterResources"]
        if asked["action"]["operation"] == "FilterColumns":
            table = resources[0]["table"]
            resources = [{"table": {**table, "columns": [one]}} for one in table["columns"]]
        return [number for number, one in enumerate(resources) if self._allow(asked, one)]

    def _mask(self, resource: Mapping[str, Any]) -> Any:  # noqa: ANN401 - text or an object
        column = resource["column"]
        name = f"{column['catalogName']}.{column['schemaName']}.{column['tableName']}"
        return self.masks.get(f"{name}.{column['columnName']}")


def _table(resource: Mapping[str, Any]) -> str | None:
    table = resource.get("table")
    if table is None:
        return None
    return f"{table['catalogName']}.{table['schemaName']}.{table['tableName']}"


def _view(value: Any) -> Any:  # noqa: ANN401 - text or an object
    return {"expression": value} if isinstance(value, str) else value


class _Quiet(ThreadingHTTPServer):
    """Says nothing of callers that go away."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@contextmanager
def serving(**said: Any) -> Iterator[Bundle]:  # noqa: ANN401 - fields of the bundle
    """Serve a bundle on loopback."""
    bundle = Bundle(**said)
    server = _Quiet(("127.0.0.1", 0), _handler(bundle))
    server.daemon_threads = True
    bundle.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield bundle
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


def _handler(bundle: Bundle) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers["Content-Length"])
            asked = json.loads(self.rfile.read(size))["input"]
            one = Asked(self.path, asked, dict(self.headers), self.client_address[1])
            with bundle.lock:
                bundle.asked.append(one)
            broken = bundle.broken.get(self.path.rsplit("/", 1)[1])
            if broken is None:
                self._send(200, json.dumps({"result": bundle.answer(self.path, asked)}))
            else:
                self._misbehave(broken)

        def _misbehave(self, broken: Mapping[str, Any]) -> None:
            match broken:
                case {"reset": _}:
                    self.connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                    self.close_connection = True
                    self.connection.close()
                case {"wait": seconds}:
                    time.sleep(seconds)
                    self._send(200, '{"result": true}')
                case {"drip": seconds}:
                    self._drip(seconds)
                case {"redirect": place}:
                    self.send_response(302)
                    self.send_header("Location", place)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                case _:
                    self._send(broken.get("status", 200), broken.get("body", ""))

        def _drip(self, seconds: float) -> None:
            """A byte now and then: each comes in time, the whole never does."""
            until = time.monotonic() + seconds
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nX: ")
                while time.monotonic() < until:
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            except OSError:
                self.close_connection = True

        def _send(self, status: int, body: str) -> None:
            content = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
