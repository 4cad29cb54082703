"""A mesh with people, a service and a BI server, over one DuckDB file.

Takes: a folder. Gives: an open gateway with its HTTP client; passwords are `<name>-demo`. Never
more than a few rows: what is tested is who may ask.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import yaml
from flask.testing import FlaskClient

from gateway.config import load_config
from gateway.opening import OpenGateway, open_gateway
from gateway.serve.http.application import make_application
from tests.small_mesh import SmallMesh, write_mesh

MESH = SmallMesh(
    domain="sales",
    source={"connector": "duckdb", "settings": {"path": "rows.duckdb"}},
    tables={
        "orders": ("main.orders", {"id": "INTEGER", "region": "VARCHAR"}),
        "people": ("main.people", {"name": "VARCHAR"}),
        "reasons": ("main.orders", {"id": "INTEGER"}),
    },
    users={
        "amy": {"groups": ["staff"], "attributes": {"region": ["north"]}},
        "ben": {"groups": ["staff", "board"]},
        "ola": {"groups": ["staff"], "roles": ["operator"], "mayImpersonate": True},
        "nightly": {"kind": "service", "groups": ["staff"]},
        "bi": {"kind": "service", "mayImpersonate": {"groups": ["staff"]}},
        "bare": {},
    },
    grants=(
        {"product": "orders", "subjects": [{"attributes": {"region": ["north"]}}],
         "scope": "region = 'north'"},
        {"product": "orders", "subjects": [{"groups": ["board"]}]},
        {"product": "people", "subjects": [{"groups": ["staff"]}]},
        {"product": "reasons", "subjects": [{"groups": ["staff"]}], "purposes": ["audit"]},
        {"product": "reasons", "subjects": [{"groups": ["staff"]}], "purposes": ["care"]},
    ),
    purposes={"audit": "To audit", "care": "To care", "idle": "For fun"},
)  # fmt: skip
ROWS = """
CREATE TABLE orders AS SELECT i::INTEGER AS id, ['north', 'south'][i % 2 + 1] AS region
FROM range(6) AS r(i);
CREATE TABLE people AS SELECT 'p' || i AS name FROM range(3) AS r(i);
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """An open gateway over the mesh in `folder`."""

    folder: Path
    opened: OpenGateway
    client: FlaskClient

    def ask(
        self, authorization: str, sql: str, headers: Mapping[str, str] | None = None, **fields: str
    ) -> Any:  # noqa: ANN401 - rows, or a code
        """The rows of a statement over HTTP, or the code that refuses it."""
        response = self.client.post(
            "/v1/query", json={"sql": sql, **fields},
            headers={"Authorization": authorization, **(headers or {})},
        )  # fmt: skip
        body = response.get_json()
        return body["rows"] if response.status_code == 200 else body["error"]["code"]

    def call(self, method: str, path: str, authorization: str, **sent: object) -> tuple[int, Any]:
        """Status and body of another request."""
        response = self.client.open(
            path, method=method, headers={"Authorization": authorization}, **sent  # type: ignore[arg-type]  # werkzeug's own
        )  # fmt: skip
        return response.status_code, response.get_json()


def basic(user: str, secret: str | None = None) -> str:
    """The value of an Authorization header."""
    text = f"{user}:{f'{user}-demo' if secret is None else secret}"
    return "Basic " + base64.b64encode(text.encode()).decode()


def bearer(token: str) -> str:
    """The value of an Authorization header."""
    return f"Bearer {token}"


def write_shop(folder: Path, sections: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """The files of the mesh and its rows; services have no password. Gives the mesh folder."""
    conf = write_mesh(folder, replace(MESH, gateway=sections or {}))
    file = conf / "identities.yaml"
    held = yaml.safe_load(file.read_text())
    for one in held["users"].values():
        if one.get("kind") == "service":
            del one["verifier"]
    file.write_text(yaml.safe_dump(held, sort_keys=False))
    path = folder / "data" / "rows.duckdb"
    if not path.exists():
        with duckdb.connect(str(path)) as connection:
            connection.execute(ROWS)
    return conf


@contextmanager
def open_shop(
    folder: Path, sections: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[Shop]:
    """A gateway over the mesh, until the end of the block."""
    conf = folder / "conf"
    if not conf.exists():
        write_shop(folder, sections)
    opened = open_gateway(load_config(conf, {}))
    try:
        yield Shop(conf, opened, make_application(opened).test_client())
    finally:
        opened.close()
