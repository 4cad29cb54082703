"""The sample mesh over real databases, small, built once a test run.

Takes: a folder. Gives: a running PostgreSQL, the other sources, an open gateway. Never shared
between processes: each worker of a test run builds its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from gateway.config import load_config
from gateway.demo.postgres import Server, find_server
from gateway.demo.recipe import SMALL, build
from gateway.identity import principal_of
from gateway.opening import OpenGateway, open_gateway
from gateway.request import Limits, Principal, Request
from gateway.sessions import new_query_id

CONF = Path(__file__).resolve().parent.parent / "conf"
KEYS = {"customer": "c" * 48, "aircraft": "a" * 48}


@dataclass(frozen=True, slots=True)
class SampleMesh:
    """An open gateway over the sample mesh."""

    opened: OpenGateway
    server: Server
    data: Path
    environment: Mapping[str, str]

    def principal(self, user: str) -> Principal:
        """A user of the sample mesh."""
        users = self.opened.publisher.current().mesh.users
        return principal_of(next(one for one in users if one.name == user))

    def request(self, user: str, sql: str, **fields: object) -> Request:
        """A request of a user now."""
        made = Request(
            sql=sql,
            principal=self.principal(user),
            now=datetime.now(UTC),
            query_id=new_query_id(),
            limits=Limits(seconds=60),
        )
        return replace(made, **fields)  # type: ignore[arg-type]  # fields of Request by name

    def ask(self, user: str, sql: str, **fields: object) -> pa.Table:
        """The whole answer to a statement."""
        result = self.opened.gateway.answer(self.request(user, sql, **fields))
        return pa.Table.from_batches(list(result.batches()), result.schema)


def open_sample(data: Path) -> SampleMesh:
    """Build the small sample mesh in a folder and open a gateway over it."""
    server = find_server(data / "postgres")
    server.start()
    build(data, server, lambda text, share: None, SMALL)
    secrets = data / "secrets" / "governance"
    secrets.mkdir(parents=True, exist_ok=True)
    for group, key in KEYS.items():
        (secrets / f"PSEUDONYM_{group.upper()}").write_text(key)
    environment = {"SQLUICE_DATA": str(data)}
    opened = open_gateway(load_config(CONF, environment))
    return SampleMesh(opened, server, data, environment)


def close_sample(sample: SampleMesh) -> None:
    """Close the gateway and stop the server."""
    sample.opened.close()
    sample.server.discard()
