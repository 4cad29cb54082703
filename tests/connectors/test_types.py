"""Every type, every extreme: what arrives is exact or an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Context, Decimal
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import yaml

from connectors.arrow import BATCH_ROWS, batch_rows, cast_exactly
from connectors.base import (
    Connection,
    ConnectorError,
    Fragment,
    FragmentColumn,
    arrow_type,
    load_connector,
    stream_schema,
)
from gateway.demo.postgres import Server
from tests.connectors.conformance.samples import Sample

MATRIX: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    Path(__file__).with_name("types.yaml").read_text(encoding="utf-8")
)
NOWHERE = ("INTERVAL",)
_WIDE = Context(prec=60)
TYPES = sorted({one["type"] for cases in MATRIX.values() for one in cases})


@pytest.fixture(scope="session")
def oracle() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB, to say what a value is."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@pytest.fixture(scope="session")
def postgres(server: Server) -> Iterator[Connection]:
    """A connection to PostgreSQL."""
    connection = load_connector("postgres").connect({"url": server.url("postgres")})
    yield connection
    connection.close()


def arrives(
    connection: Connection, case: dict[str, Any], oracle: duckdb.DuckDBPyConnection
) -> None:
    """Compare one value with DuckDB's, in Arrow."""
    fragment = Fragment(f"SELECT {case['sql']}", (FragmentColumn("x", case["type"]),), ())
    if "gives" not in case:
        with pytest.raises(ConnectorError):
            list(connection.stream(fragment))
        return
    wanted = oracle.sql(f"SELECT CAST({case['gives']} AS {case['type']}) AS x").to_arrow_table()
    table = pa.Table.from_batches(connection.stream(fragment))
    assert table.schema.types == wanted.schema.types
    found = table.column(0).combine_chunks()
    if pa.types.is_floating(found.type) and found[0].as_py() != found[0].as_py():
        assert wanted.column(0)[0].as_py() != wanted.column(0)[0].as_py()
        return
    assert found.equals(wanted.column(0).combine_chunks())


def is_told(connection: Connection, case: dict[str, Any]) -> None:
    """Among values that fit, the one that does not is NULL and told, and nothing else is."""
    column = (FragmentColumn("x", case["type"]),)
    fits = "gives" in case
    sql = f"SELECT {case['sql']} UNION ALL SELECT NULL" if fits else f"SELECT {case['sql']}"
    try:
        plain = [] if not fits else list(connection.stream(Fragment(sql, column, ())))
    except ConnectorError:
        return  # not every value stands beside a NULL
    made = Fragment(sql, column, (), tells_misfits=True)
    try:
        table = pa.Table.from_batches(connection.stream(made), stream_schema(made))
    except ConnectorError:
        assert case["type"] in NOWHERE, "no type at all, whatever the values"
        return
    assert table.column_names == ["x", "misfit of x"]
    if fits:
        wanted = pa.Table.from_batches(plain)
        assert str(table.select([0])) == str(wanted)  # as text, since NaN is equal to nothing
        assert table.column(1).to_pylist() == [False, False]
    else:
        assert table.to_pylist() == [{"x": None, "misfit of x": True}]


def _names(cases: list[dict[str, Any]]) -> list[str]:
    return [f"{one['sql'][:40]} as {one['type']}" for one in cases]


@pytest.mark.parametrize("case", MATRIX["postgres"], ids=_names(MATRIX["postgres"]))
def test_postgres(
    postgres: Connection, oracle: duckdb.DuckDBPyConnection, case: dict[str, Any]
) -> None:
    """Values of PostgreSQL, over COPY."""
    arrives(postgres, case, oracle)
    is_told(postgres, case)


EMBEDDED = [(kind, one) for kind in ("sqlite", "duckdb", "files") for one in MATRIX[kind]]


@pytest.mark.parametrize(
    ("embedded", "case"),
    EMBEDDED,
    indirect=["embedded"],
    ids=[f"{kind}: {name}" for kind, one in EMBEDDED for name in _names([one])],
)
def test_embedded(
    embedded: Sample, oracle: duckdb.DuckDBPyConnection, case: dict[str, Any]
) -> None:
    """Values of SQLite, DuckDB and files."""
    arrives(embedded.connection, case, oracle)
    is_told(embedded.connection, case)


@pytest.mark.parametrize("name", TYPES)
def test_arrow_types_are_duckdbs(oracle: duckdb.DuckDBPyConnection, name: str) -> None:
    """A fragment's schema is what DuckDB itself would export."""
    exported = oracle.sql(f"SELECT CAST(NULL AS {name}) AS x").to_arrow_table().schema.field(0).type
    assert arrow_type(name) == exported


@pytest.mark.parametrize("name", ["NOPE", "DECIMAL(a)", "STRUCT(a)", "INTEGER[", ""])
def test_what_is_no_type(name: str) -> None:
    """A name that DuckDB does not have is an error."""
    with pytest.raises(ConnectorError):
        arrow_type(name)


def test_a_column_of_nulls_first(embedded: Sample) -> None:
    """The first batch does not decide what later ones may hold."""
    series = {
        "sqlite": "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r "
        "WHERE i < 150000) SELECT CASE WHEN i > 140000 THEN 't' END, "
        "CASE WHEN i > 140000 THEN i + 0.5 END FROM r",
    }
    plain = (
        "SELECT CASE WHEN i > 140000 THEN 't' END, CASE WHEN i > 140000 THEN i + 0.5::DOUBLE END "
        "FROM range(1, 150001) AS r(i)"
    )
    columns = (FragmentColumn("a", "VARCHAR"), FragmentColumn("b", "DOUBLE"))
    batches = list(
        embedded.connection.stream(Fragment(series.get(embedded.kind, plain), columns, ()))
    )
    table = pa.Table.from_batches(batches)
    assert max(batch.num_rows for batch in batches) <= BATCH_ROWS
    assert [len(column.drop_null()) for column in table.columns] == [10_000, 10_000]
    assert table.column(0).null_count == 14 * 10_000


DECLARED = {
    "bool": "BOOLEAN", "smallint": "SMALLINT", "integer": "INTEGER", "bigint": "BIGINT",
    "real": "FLOAT", "double precision": "DOUBLE", "numeric(12,2)": "DECIMAL(12,2)",
    "numeric": "DECIMAL(38,10)", "text": "VARCHAR", "char(3)": "VARCHAR", "date": "DATE",
    "timestamptz": "TIMESTAMP WITH TIME ZONE", "uuid": "UUID", "jsonb": "JSON",
    "bytea": "BLOB", "interval": "INTERVAL", "integer[]": None, "inet": None, "mood": "VARCHAR",
    "amount": "DECIMAL(8,3)",
}  # fmt: skip


def test_columns_of_postgres(server: Server, postgres: Connection) -> None:
    """Live types, and what a contract may say of them; enums and domains too."""
    shown = ", ".join(f"c{place} {kind}" for place, kind in enumerate(DECLARED))
    server.run(
        "postgres",
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE DOMAIN amount AS numeric(8,3)",
        f'CREATE TABLE "Odd Name" ({shown}, gone text, last text NOT NULL)',
        'ALTER TABLE "Odd Name" DROP COLUMN gone',
    )
    found = postgres.columns("public.Odd Name")
    assert [one.name for one in found] == [f"c{place}" for place in range(len(DECLARED))] + ["last"]
    assert not found[-1].nullable and found[0].nullable
    for one, wanted in zip(found, DECLARED.values(), strict=False):
        assert wanted in one.contract_types if wanted else not one.contract_types
    assert "DECIMAL(12,1)" not in found[6].contract_types
    assert postgres.columns("public.nothing") == ()


def test_values_of_types_that_were_made(server: Server) -> None:
    """Enums come as texts, domains as what they are made of, padded texts without their padding."""
    server.run(
        "postgres",
        "CREATE TYPE weather AS ENUM ('wet', 'fine')",
        "CREATE DOMAIN price AS numeric(8,3) CHECK (value >= 0)",
        "CREATE TABLE made (w weather, p price, c char(4), j json, u uuid)",
        "INSERT INTO made VALUES ('fine', 1.5, 'a b', '{\"a\": [1]}', "
        "'55a2bf6b-f4d5-4ec9-a419-63ce7f6fad21'), (NULL, NULL, NULL, NULL, NULL)",
    )
    types = {"w": "VARCHAR", "p": "DECIMAL(8,3)", "c": "VARCHAR", "j": "JSON", "u": "UUID"}
    columns = tuple(FragmentColumn(*one) for one in types.items())
    fragment = Fragment("SELECT w, p, c, j, u FROM public.made", columns, ())
    # A session knows the types that there were at its start.
    with closing(load_connector("postgres").connect({"url": server.url("postgres")})) as fresh:
        found = pa.Table.from_batches(fresh.stream(fragment)).to_pylist()
    value = {
        "w": "fine", "p": Decimal("1.500"), "c": "a b", "j": '{"a": [1]}',
        "u": "55a2bf6b-f4d5-4ec9-a419-63ce7f6fad21",
    }  # fmt: skip
    assert found == [value, dict.fromkeys(types)]


def test_columns_of_embedded(embedded: Sample) -> None:
    """Each column of the rows may be mapped to the type that the rows have."""
    wanted = {row[0]: row[1] for row in embedded.reference.execute("DESCRIBE probe").fetchall()}
    found = {one.name: one for one in embedded.connection.columns(embedded.table)}
    assert list(found) == list(wanted) if embedded.kind != "sqlite" else set(found) == set(wanted)
    for name in set(wanted) - {"h"}:
        assert wanted[name] in found[name].contract_types, name
    assert not embedded.connection.columns("nothing")


@pytest.mark.parametrize(
    ("columns", "rows"), [(0, 65_536), (1, 65_536), (3, 43_008), (16, 8_192), (1000, 2_048)]
)
def test_wide_rows_come_in_fewer_at_once(columns: int, rows: int) -> None:
    assert batch_rows(columns) == rows


def test_decimals_are_the_nearest_doubles() -> None:
    """As means of decimals come by some drivers; the control: Arrow's own are not."""
    chance = Random(20)
    texts = ["0.10000000000000000000", "-2.5", "9999999999.99", "0"]
    texts += [f"{chance.randint(-10**17, 10**17)}e-{chance.randint(0, 20)}" for _ in range(500)]
    given = pa.array([*(Decimal(one).quantize(Decimal("1e-20"), context=_WIDE) for one in texts),
                      None], pa.decimal256(60, 20))  # fmt: skip
    nearest = [None if one is None else float(one) for one in given.to_pylist()]
    assert cast_exactly(given, pa.float64()).to_pylist() == nearest
    assert given.cast(pa.float64()).to_pylist() != nearest
