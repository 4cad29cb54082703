"""The shop with real databases and an open gateway.

Takes: a folder and a case. Gives: orders in DuckDB, areas in SQLite, a gateway over both. Never
shared between tests: each changes grants, keys or rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa

from gateway.access import Access, AccessEvent
from gateway.config import load_config
from gateway.identity import principal_of
from gateway.opening import OpenGateway, open_gateway
from gateway.request import Limits, Principal, Request
from gateway.scram import make_verifier
from gateway.sessions import new_query_id
from tests.policies.mesh import ROWS, write_mesh

PASSWORD = "a long password"
AREAS = (("ada", "EU", 1), ("ada", None, None), ("ada", "EU", 2), ("bob", "US", 2))


@dataclass(frozen=True, slots=True)
class Running:
    """An open gateway over the shop."""

    opened: OpenGateway
    folder: Path

    def ask(self, sql: str, user: str = "ada", **more: object) -> list[dict[str, Any]]:
        """The rows of an answer."""
        result = self.opened.gateway.answer(self.request(sql, user, **more))
        table = pa.Table.from_batches(list(result.batches()), result.schema)
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows

    def request(self, sql: str, user: str = "ada", **more: Any) -> Request:  # noqa: ANN401
        """A request of a user."""
        users = self.opened.publisher.current().mesh.users
        known = next((one for one in users if one.name == user), None)
        asker = principal_of(known) if known is not None else Principal(user)
        fields = {"now": datetime.now(UTC), "limits": Limits(seconds=30), "principal": asker}
        return Request(sql=sql, query_id=new_query_id(), **{**fields, **more})

    def tell(self, kind: str, subject: str, user: str = "", ends_running: bool = False) -> None:
        """Say something about access, as another process would."""
        Access(self.opened.state).tell(
            AccessEvent(kind, subject, user, "olga", ends_running=ends_running)
        )


@contextmanager
def running(folder: Path, case: Mapping[str, Any], **environment: str) -> Iterator[Running]:
    """Open the shop; closed at the end."""
    write_mesh(folder, case)
    verifier = make_verifier(PASSWORD, 4096)
    (folder / "identities.yaml").write_text(
        "kind: Identities\nusers:\n"
        + "".join(f"  {name}: {{verifier: '{verifier}'}}\n" for name in ("ada", "bob", "olga"))
    )
    data = folder / "data"
    data.mkdir()
    for name, content in _filled().items():
        (data / name).write_bytes(content)
    opened = open_gateway(load_config(folder, {"SQLUICE_DATA": str(data), **environment}))
    try:
        yield Running(opened, folder)
    finally:
        opened.close()


@cache
def _filled() -> Mapping[str, bytes]:
    """The two files, made once."""
    with TemporaryDirectory() as folder:
        _fill(Path(folder))
        return {one.name: one.read_bytes() for one in Path(folder).iterdir()}


def _fill(data: Path) -> None:
    with duckdb.connect(str(data / "shop.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            "CREATE TABLE orders (id INTEGER, region VARCHAR, email VARCHAR, phone VARCHAR, "
            "born DATE, placed TIMESTAMPTZ, amount DECIMAL(12,2))"
        )
        connection.execute(f"INSERT INTO orders VALUES {ROWS}")
    areas = sqlite3.connect(data / "staff.sqlite")
    areas.execute("CREATE TABLE areas (person TEXT, region TEXT, size INTEGER)")
    areas.executemany("INSERT INTO areas VALUES (?, ?, ?)", AREAS)
    areas.commit()
    areas.close()
