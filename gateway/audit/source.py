"""State as a source: the tables of the reserved domain `mesh`, read as Arrow batches.

Takes: the gateway's state. Gives: connections that answer fragments over the tables `queries`, one
row for each request and product, and `findings`, one for each of a source. It pushes nothing down:
whole tables leave it, and the gate decides which rows and columns a caller meets. Never writes, and
never shows a redacted literal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

import pyarrow as pa
from sqlalchemy import Connection as Database
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from connectors.arrow import StreamingConnection
from connectors.base import (
    Connection,
    ConnectorError,
    Fragment,
    SourceColumn,
    arrow_schema,
)
from gateway.audit.reading import AuditedQuery, audited
from gateway.state import audit as rows
from gateway.state.abilities import ability_events
from gateway.state.engine import reading

OWN_SOURCE = "mesh.state"
_BATCH_ROWS = 4096

Row = Mapping[str, object]
Table = Callable[[Database], Iterator[Row]]


class StateConnector:
    """Opens the state that the gateway has open already."""

    def __init__(self, engine: Engine) -> None:
        """Read from this state."""
        self._engine = engine

    def connect(self, settings: Mapping[str, str]) -> Connection:
        """A connection; takes no settings."""
        if settings:
            raise ConnectorError("the gateway's state takes no settings")
        return _StateConnection(self._engine)


class _StateConnection(StreamingConnection):
    """One reader of state."""

    errors = (SQLAlchemyError,)

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self._stopped = False

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """Nothing: contract and table are of one making."""
        return ()

    def close(self) -> None:
        """Nothing to give back: connections are the engine's."""

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        (name,) = fragment.tables
        table = _TABLES.get(name)
        if table is None:
            raise ConnectorError(f"state has no table {name}")
        schema, self._stopped = arrow_schema(fragment.columns), False
        with reading(self._engine) as connection:
            found = table(connection)
            while page := list(islice(found, _BATCH_ROWS)):
                if self._stopped:
                    return
                columns = [pa.array([one[f.name] for one in page], f.type) for f in schema]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _interrupt(self) -> None:
        self._stopped = True

    def _probe(self) -> None:
        with reading(self._engine):
            return


def _queries(connection: Database) -> Iterator[Row]:
    """Requests by product, then failed sign-ins."""
    for started, finished in rows.between(connection):
        one = audited(started, finished)
        yield from (_row(one, name) for name in one.products or ("",))
    yield from (_sign_in(one) for one in rows.of_kind(connection, "sign_in"))


def _row(one: AuditedQuery, named: str) -> Row:
    product, _, version = named.partition("@")
    inside = f"{product}."
    columns = [name.removeprefix(inside) for name in one.columns if name.startswith(inside)]
    reasons = [reason for reason in one.reasons if reason[0].startswith(inside)]
    return {
        **_EMPTY,
        "query_id": one.query_id,
        "kind": one.kind,
        "at": datetime.fromisoformat(one.at),
        "user_name": one.user,
        "endpoint": one.endpoint,
        "client": one.client,
        "purpose": one.purpose,
        "domain": product.partition(".")[0] or None,
        "product": product or None,
        "version": version or None,
        "columns_read": ", ".join(columns),
        "policies": ", ".join(dict.fromkeys(reason[2] for reason in reasons if reason[2])),
        "statement": one.statement,
        "statement_hash": one.statement_hash,
        "revision": one.revision,
        "decision": one.decision or None,
        "outcome": one.outcome,
        "code": one.code or None,
        "row_count": one.rows,
        "byte_count": one.bytes,
        "seconds": one.seconds,
    }


def _sign_in(row: rows.Row) -> Row:
    return {
        **_EMPTY,
        "kind": "sign_in",
        "at": datetime.fromisoformat(str(row["at"])),
        "user_name": row["user_name"],
        "endpoint": row["endpoint"],
        "outcome": row["outcome"],
        "code": row["code"],
    }


def _findings(connection: Database) -> Iterator[Row]:
    """What was found of sources; the whole statement may name what is another domain's."""
    for one in ability_events(connection):
        detail = json.loads(one.content)
        detail.pop("statement", None)
        yield {
            "number": one.number,
            "at": datetime.fromisoformat(one.at),
            "domain": one.source.partition(".")[0],
            "source": one.source,
            "kind": one.kind,
            "ability": one.ability,
            "actor": one.actor,
            "query_id": one.query_id,
            "detail": json.dumps(detail, ensure_ascii=False),
        }


_NAMES = (
    "query_id kind at user_name endpoint client purpose domain product version columns_read "
    "policies statement statement_hash revision decision outcome code row_count byte_count seconds"
)
_EMPTY: Row = dict.fromkeys(_NAMES.split())
_TABLES: Mapping[str, Table] = {"queries": _queries, "findings": _findings}
