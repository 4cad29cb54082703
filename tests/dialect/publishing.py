"""A gateway whose products are told to it over HTTP while it runs.

Takes: a folder, a PostgreSQL database. Gives: a Flight SQL endpoint, and an address that takes the
tables of that database as JSON and publishes them as products. Never makes a table or a row.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from gateway.config import load_config
from gateway.errors import SqluiceError
from gateway.opening import OpenGateway, open_gateway
from gateway.scram import make_verifier
from gateway.serve.flight.server import FlightEndpoint

DOMAIN, USER, PASSWORD = "suite", "reader", "reader-demo"
_LOGICAL = {
    "BOOLEAN": "boolean", "SMALLINT": "integer", "INTEGER": "integer", "BIGINT": "integer",
    "DECIMAL": "number", "DOUBLE": "number", "FLOAT": "number", "DATE": "date", "TIME": "time",
    "TIMESTAMP": "timestamp", "TIMESTAMP WITH TIME ZONE": "timestamp",
}  # fmt: skip
_TEAM = {"name": "t", "members": [{"username": USER, "role": "owner"}]}


@dataclass(frozen=True, slots=True)
class Published:
    """Where the gateway listens, and where tables are told."""

    url: str
    control: str


@contextmanager
def publishing(folder: Path, database: str) -> Iterator[Published]:
    """A gateway over a database of which nothing is published yet."""
    conf = folder / "conf"
    _write_frame(conf, database, folder)
    opened = open_gateway(load_config(conf, {"SQLUICE_DATA": str(folder)}))
    endpoint = FlightEndpoint(opened, "127.0.0.1", 0)
    port = endpoint.start()
    control = HTTPServer(("127.0.0.1", 0), _handler(conf, opened))
    thread = threading.Thread(target=control.serve_forever, daemon=True)
    thread.start()
    try:
        yield Published(
            f"{USER}:{PASSWORD}@127.0.0.1:{port}/{DOMAIN}",
            f"http://127.0.0.1:{control.server_port}",
        )
    finally:
        control.shutdown()
        control.server_close()
        thread.join(60)
        endpoint.stop()
        opened.close()


def _handler(conf: Path, opened: OpenGateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Takes tables."""

        def do_POST(self) -> None:
            """Publish these tables and no others."""
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                _publish(conf, json.loads(body))
                opened.publisher.reload()
                failure = opened.publisher.failure or ""
            except SqluiceError as error:
                failure = str(error)
            self.send_response(500 if failure else 200)
            self.end_headers()
            self.wfile.write(failure.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    return Handler


def _write_frame(conf: Path, database: str, folder: Path) -> None:
    _write(conf / "gateway.toml", "")
    users = {USER: {"groups": ["all"], "verifier": str(make_verifier(PASSWORD, iterations=4096))}}
    _write(conf / "identities.yaml", {"kind": "Identities", "users": users})
    _write(conf / "domains" / DOMAIN / "domain.yaml", {
        "kind": "Domain", "name": DOMAIN, "description": "Tables of a suite.", "owners": [USER],
        "sources": {"rows": {"connector": "postgres", "secrets": {"url": "URL"}}},
    })  # fmt: skip
    _write(folder / "secrets" / DOMAIN / "URL", database)


def _publish(conf: Path, tables: Sequence[Mapping[str, Any]]) -> None:
    room = conf / "domains" / DOMAIN
    for name in ("contracts", "grants"):
        shutil.rmtree(room / name, ignore_errors=True)
    for old in room.glob("*.odps.yaml"):
        old.unlink()
    products: dict[str, list[Mapping[str, Any]]] = {}
    for one in tables:
        products.setdefault(one["schema"] or one["name"], []).append(one)
    for product, held in products.items():
        contract = f"c-{product}"
        _write(room / f"{product}.odps.yaml", {
            "apiVersion": "v1.0.0", "kind": "DataProduct", "id": f"p-{product}", "name": product,
            "version": "1.0.0", "status": "active", "domain": DOMAIN, "team": _TEAM,
            "outputPorts": [{"name": product, "version": "1.0.0", "contractId": contract}],
        })  # fmt: skip
        _write(room / "contracts" / f"{product}.odcs.yaml", {
            "apiVersion": "v3.2.0", "kind": "DataContract", "id": contract, "version": "1.0.0",
            "status": "active", "schema": [_table(one) for one in held],
            "customProperties": [{"property": "source", "value": "rows", "vendor": "sqluice"}],
        })  # fmt: skip
        _write(room / "grants" / f"{product}.yaml", {
            "kind": "Grant", "id": f"all-{product}", "product": product,
            "subjects": [{"groups": ["all"]}],
        })  # fmt: skip


def _table(one: Mapping[str, Any]) -> dict[str, Any]:
    made = {
        "name": one["name"],
        "physicalName": f"{one['schema'] or 'public'}.{one['name']}",
        "properties": [_column(column) for column in one["columns"]],
        "description": one["comment"] or "",
    }
    keys = [
        {
            "type": "foreignKey",
            "from": [f"{one['name']}.{column}" for column in key["columns"]],
            "to": [f"{DOMAIN}.{target}" for target in key["targets"]],
        }
        for key in one["foreign_keys"]
    ]
    return {**made, "relationships": keys} if keys else made


def _column(one: Mapping[str, Any]) -> dict[str, Any]:
    kind = one["type"]
    made = {
        "name": one["name"], "physicalType": one["physical"], "required": one["required"],
        "logicalType": _LOGICAL.get(kind.partition("(")[0], "string"),
        "customProperties": [{"property": "type", "value": kind, "vendor": "sqluice"}],
        "description": one["comment"] or "",
    }  # fmt: skip
    if one["key"]:
        made |= {"primaryKey": True, "primaryKeyPosition": one["key"]}
    return made


def _write(path: Path, content: object) -> None:
    """YAML reads JSON but for its pairs of escapes; JSON quotes whatever name there is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
