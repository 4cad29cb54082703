"""The same question over every endpoint: each answer, read as its clients read it, is DuckDB's.

Takes: a sample of the corpus, a gateway in a process of its own. Gives: equality of names, types
and rows for Flight SQL, HTTP in three forms, and the client in process.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby

import duckdb
import pyarrow as pa
import pytest
from adbc_driver_flightsql import DatabaseOptions, dbapi

import sqluice
from tests.differential.compare import assert_same, is_ordered
from tests.differential.corpus import CASES, PURPOSES, Case
from tests.differential.test_differential import Reference
from tests.sample import CONF, SampleMesh
from tests.served import Served

_PURPOSE = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value + "x-sqluice-purpose"
Ask = Callable[[str, str], pa.Table]


def _sample() -> tuple[Case, ...]:
    """The first and the last of each class, and two with every type."""
    found = []
    plain = (one for one in CASES if not one.given)
    for _, group in groupby(plain, key=lambda one: one.kind):
        cases = tuple(group)
        found += [cases[0], cases[-1]]
    members = "select * from loyalty.members order by member_id limit 50"
    made = (
        "select carrier, name like 'A%' as a, [carrier, null] as l, {'n': length(name), "
        "'d': 1.50} as s from network.reference.airlines order by carrier"
    )
    return (
        *found,
        Case(0, "every type of columns", ("petra", "mara"), members),
        Case(0, "types that a query makes", ("nora",), made),
    )


SAMPLE = _sample()


class Clients:
    """Clients of each endpoint, one a principal."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._flight: dict[str, dbapi.Connection] = {}
        self._local: dict[str, sqluice.Connection] = {}

    def flight(self, user: str, sql: str) -> pa.Table:
        """The stock ADBC driver."""
        if user not in self._flight:
            purpose = {_PURPOSE: PURPOSES[user]} if user in PURPOSES else {}
            self._flight[user] = self._served.connect(user, **purpose)
        with self._flight[user].cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetch_arrow_table()

    def local(self, user: str, sql: str) -> pa.Table:
        """Our client over the mesh folder."""
        if user not in self._local:
            purpose = PURPOSES.get(user)
            self._local[user] = sqluice.connect(f"{CONF}/", user=user, purpose=purpose)
        return self._local[user].execute(sql).fetch_arrow_table()

    def arrow(self, user: str, sql: str) -> pa.Table:
        """HTTP as an Arrow stream."""
        body = self._body(user, sql, "application/vnd.apache.arrow.stream")
        return pa.ipc.open_stream(body).read_all()

    def json(self, user: str, sql: str) -> pa.Table:
        """HTTP as JSON, each value cast to the type that the answer tells."""
        told = json.loads(self._body(user, sql, "application/json"))
        cells = [[None if one is None else json.dumps(one) for one in row] for row in told["rows"]]
        return _typed(told["columns"], cells, "JSON")

    def csv(self, user: str, sql: str) -> pa.Table:
        """HTTP as CSV; its types are those that JSON tells of the same statement."""
        columns = json.loads(self._body(user, sql, "", limit=0))["columns"]
        lines = csv.reader(io.StringIO(self._body(user, sql, "text/csv").decode(), newline=""))
        names, *rows = list(lines)
        assert names == [one["name"] for one in columns]
        return _typed(columns, [[one or None for one in row] for row in rows], "VARCHAR")

    def _body(self, user: str, sql: str, accept: str, **fields: object) -> bytes:
        answer = self._served.query(sql, user, accept, purpose=PURPOSES.get(user), **fields)
        assert answer.status == 200, answer.body
        return answer.body

    def close(self) -> None:
        """Close every connection."""
        for one in self._flight.values():
            one.close()
        for other in self._local.values():
            other.close()


def _typed(
    columns: list[Mapping[str, str]], cells: list[list[str | None]], written: str
) -> pa.Table:
    """Texts as DuckDB casts them."""
    names = [f"c{place}" for place in range(len(columns))]
    raw = pa.table(
        {name: pa.array([row[n] for row in cells], pa.string()) for n, name in enumerate(names)}
    )
    casts = [_cast(name, one["type"], written) for name, one in zip(names, columns, strict=True)]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("raw", raw)
        found = connection.sql(f"SELECT {', '.join(casts)} FROM raw").to_arrow_table()
    return found.rename_columns([one["name"] for one in columns])


def _cast(name: str, kind: str, written: str) -> str:
    if kind == "VARCHAR":
        return f"{name}::JSON ->> '$'" if written == "JSON" else name
    is_nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP"))
    return f"{name}::{'JSON' if is_nested else written}::{kind}"


@pytest.fixture(scope="module")
def clients(gateway: Served, sample: SampleMesh) -> Iterator[Clients]:
    """Clients of the gateway; the ones in process find the same sources."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SQLUICE_DATA", str(sample.data))
        made = Clients(gateway)
        yield made
        made.close()


@pytest.mark.parametrize("case", SAMPLE, ids=lambda one: f"{one.number}-{one.kind}")
@pytest.mark.parametrize("way", ["flight", "local", "arrow", "json", "csv"])
def test_same_answer_by_every_way(
    case: Case, way: str, clients: Clients, reference: Reference
) -> None:
    user = case.users[-1]
    ask: Ask = getattr(clients, way)
    want = reference[user].sql(case.sql).to_arrow_table()
    if way == "csv":
        want = _without_empty_texts(want)
    assert_same(ask(user, case.sql), want, ordered=is_ordered(case.sql))


def _without_empty_texts(table: pa.Table) -> pa.Table:
    """CSV cannot tell an empty text from NULL."""
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            values = [one or None for one in table.column(place).to_pylist()]
            table = table.set_column(place, field, pa.array(values, pa.string()))
    return table


def test_the_sample_is_wide_enough(reference: Reference) -> None:
    """About 25 statements, most with rows, with every type that a column of the mesh has."""
    tables = [reference[one.users[-1]].sql(one.sql).to_arrow_table() for one in SAMPLE]
    kinds = {str(kind) for table in tables for kind in table.schema.types}
    assert len(SAMPLE) >= 25
    assert sum(bool(one.num_rows) for one in tables) >= 20
    assert {
        "int32", "int64", "double", "string", "bool", "date32[day]", "timestamp[us, tz=UTC]",
        "decimal128(12, 2)", "list<l: string>",
    } <= kinds  # fmt: skip
