"""The merge engine: locked down, reset between queries, errors without values.

Takes: small inputs. Gives: what a merge can and cannot do.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from gateway.engines.duckdb import DuckdbEngine, EngineSettings
from gateway.errors import Cancelled, InternalError, SqluiceError, TypeMismatch
from tests.served import again_and_again

ENDLESS = "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range % 7 = b.range"

SCHEMA = pa.schema([pa.field("x", pa.int64()), pa.field("s", pa.string())])


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckdbEngine]:
    """A small engine."""
    made = DuckdbEngine(EngineSettings(memory="256MB", threads=2, spill=str(tmp_path / "spill")))
    yield made
    made.close()


def _batches(*values: tuple[int, str]) -> Iterator[pa.RecordBatch]:
    yield pa.RecordBatch.from_pylist([{"x": x, "s": s} for x, s in values], schema=SCHEMA)


def test_load_gate_and_merge(engine: DuckdbEngine) -> None:
    """Inputs become tables, a gate filters before the merge sees anything."""
    session = engine.open("UTC")
    session.load("a", SCHEMA, _batches((1, "one"), (2, "two")))
    told = session.load_gated(
        "b", "SELECT x, x = 3 AS told FROM raw WHERE s <> 'x'", SCHEMA,
        _batches((1, "x"), (2, "y"), (3, "x")),
    )
    found = pa.Table.from_batches(
        list(session.stream('SELECT a.s FROM "a" JOIN "b" USING (x) WHERE x > $1', [0], {}))
    )
    session.close()
    assert found.to_pylist() == [{"s": "two"}]
    assert told == 0


def test_a_table_is_counted_as_it_is_made(engine: DuckdbEngine) -> None:
    """No statement more; after a gate what it let through, in an empty table none."""
    session = engine.open("UTC")
    session.load("a", SCHEMA, _batches((1, "one"), (2, "two")))
    gate = "SELECT x, FALSE AS told FROM raw WHERE s <> 'x'"
    session.load_gated("b", gate, SCHEMA, _batches((1, "x"), (2, "y"), (3, "x")))
    session.load("c", SCHEMA, iter(()))
    session.read_in_place("d", "SELECT 1 AS x", (), (("x", "INTEGER"),), False)
    opened = len(session._cursors)
    known = [session.count(name) for name in "abcd"]
    assert len(session._cursors) == opened
    session._rows.clear()
    assert known == [session.count(name) for name in "abcd"] == [2, 1, 0, 1]
    session.close()


def test_a_database_that_made_nothing_serves_again_at_once(engine: DuckdbEngine) -> None:
    """It is not searched for what is to be dropped; one that made something is."""
    found = []
    for _ in range(3):
        session = engine.open("UTC")
        found.append(session._connection)
        assert len(list(session.stream("SELECT 1", [], {}))) == 1
        session.close()
    assert len(set(map(id, found))) == 1 and not engine._awaited
    session = engine.open("UTC")
    session.load("secret", SCHEMA, _batches((1, "one")))
    session.close()
    assert len(engine._awaited) == 1


def test_nothing_is_grouped_before_a_join_that_leaves_most_of_it_out(engine: DuckdbEngine) -> None:
    """DuckDB would make a group of each key of a big input that a small one is joined to."""
    session = engine.open("UTC")
    one = "SELECT range AS k, range % 97 AS v FROM range({})"
    shown = "EXPLAIN WITH big AS ({}), few AS ({}) SELECT few.v, k, sum(big.v) FROM big JOIN few "
    shown += "USING (k) GROUP BY ALL"
    found = list(session.stream(shown.format(one.format(900_000), one.format(100_000)), [], {}))
    session.close()
    assert "EXPORT_STATE" not in str(found[0].to_pylist())


def test_a_returned_database_is_empty(engine: DuckdbEngine) -> None:
    """What one query made, the next one does not find."""
    first = engine.open("UTC")
    first.load("secret", SCHEMA, _batches((1, "one")))
    first.close()
    second = engine.open("UTC")
    with pytest.raises(SqluiceError):
        list(second.stream('SELECT * FROM "secret"', [], {}))
    second.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "COPY (SELECT 1) TO '{folder}/copy'",
        "ATTACH '{folder}/attach.duckdb'",
        "INSTALL httpfs",
        "SET memory_limit = '100GB'",
        "SET enable_external_access = true",
    ],
)
def test_locked_down(engine: DuckdbEngine, sql: str, tmp_path: Path) -> None:
    """No files, no network, no settings, whatever text should ever arrive."""
    session = engine.open("UTC")
    with pytest.raises((SqluiceError, AttributeError)):
        list(session.stream(sql.format(folder=tmp_path), [], {}))
    session.close()
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / "attach.duckdb").exists()


def test_an_error_shows_no_value(engine: DuckdbEngine) -> None:
    """DuckDB's text quotes the value; the caller's does not."""
    session = engine.open("UTC")
    session.load("a", SCHEMA, _batches((1, "SECRET-7")))
    with pytest.raises(TypeMismatch) as caught:
        list(session.stream('SELECT CAST(s AS INTEGER) FROM "a"', [], {}))
    session.close()
    assert "SECRET" not in caught.value.message + caught.value.remedy
    assert "SECRET" in (caught.value.private or "")


def test_an_error_of_an_input_survives(engine: DuckdbEngine) -> None:
    """What an input raises comes out as itself, not as DuckDB's wording of it."""

    def broken() -> Iterator[pa.RecordBatch]:
        yield from _batches((1, "one"))
        raise InternalError("the input broke")

    session = engine.open("UTC")
    with pytest.raises(InternalError, match="the input broke"):
        session.load("a", SCHEMA, broken())
    session.close()


def test_cancel_stops_a_merge(engine: DuckdbEngine) -> None:
    """A merge that would run for hours stops."""
    session = engine.open("UTC")
    with again_and_again(session.cancel), pytest.raises(Cancelled):
        list(session.stream(ENDLESS, [], {}))
    session.close()


def test_describe(engine: DuckdbEngine) -> None:
    """The binder's own types, with DuckDB's names in the metadata."""
    shapes = {"a": (("n", "INTEGER"), ("d", "DECIMAL(12,2)"))}
    schema = engine.describe(
        'SELECT sum(n) AS s, avg(d) AS m, sum(d) AS t FROM "a"', shapes, (), "UTC"
    )
    assert [str(one.type) for one in schema] == ["decimal128(38, 0)", "double", "decimal128(38, 2)"]
    assert [(one.metadata or {})[b"type"] for one in schema] == [
        b"HUGEINT",
        b"DOUBLE",
        b"DECIMAL(38,2)",
    ]


def test_describe_refuses_what_does_not_bind(engine: DuckdbEngine) -> None:
    """A type error is the caller's own text, first line only."""
    with pytest.raises(TypeMismatch) as caught:
        engine.describe(
            "SELECT n + DATE '2020-01-01' + n FROM \"a\"", {"a": (("n", "BOOLEAN"),)}, (), "UTC"
        )
    assert "\n" not in caught.value.message


def test_time_zones_are_apart(engine: DuckdbEngine) -> None:
    """Each zone has databases of its own, since the setting is locked."""
    texts = []
    for zone in ("UTC", "America/New_York", "UTC"):
        session = engine.open(zone)
        sql = "SELECT CAST(TIMESTAMPTZ '2013-01-01 00:00:00+00' AS VARCHAR) t"
        texts += pa.Table.from_batches(list(session.stream(sql, [], {}))).column("t").to_pylist()
        session.close()
    assert texts == ["2013-01-01 00:00:00+00", "2012-12-31 19:00:00-05", "2013-01-01 00:00:00+00"]


@pytest.mark.parametrize(
    ("values", "types"),
    [
        ((1, True, 1.0), ("INTEGER", "BOOLEAN", "DOUBLE")),
        ((True, 1.0, 1), ("BOOLEAN", "DOUBLE", "INTEGER")),
        ((Decimal("1.0"), Decimal("1.00"), 1), ("DECIMAL(2,1)", "DECIMAL(3,2)", "INTEGER")),
    ],
)
def test_values_that_python_calls_equal_share_no_schema(
    engine: DuckdbEngine, values: tuple[object, ...], types: tuple[str, ...]
) -> None:
    """What one caller's parameter is must not shape another caller's answer."""
    assert len({hash(one) for one in values}) == 1
    found = []
    for value in values:
        schema = engine.describe("SELECT $1 AS x", {}, [value], "UTC")
        found.append((schema.field("x").metadata or {})[b"type"].decode())
    assert tuple(found) == types


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS a; CREATE MACRO evil() AS 7",
        "CREATE MACRO evil() AS 7; SELECT 1 AS a",
        "CREATE MACRO evil() AS 7",
        "SET threads = 1",
    ],
)
def test_names_are_read_from_one_select(engine: DuckdbEngine, sql: str) -> None:
    """Whatever else a text holds in the eyes of DuckDB's parser, nothing of it runs."""
    assert engine.output_names("SELECT 1 AS a", (), None, []) == ("a",)
    assert engine.output_names(sql, (), None, []) is None
    session = engine.open("UTC")
    with pytest.raises(SqluiceError):
        list(session.stream("SELECT evil()", [], {}))
    session.close()


@pytest.mark.parametrize(
    ("sql", "kinds"),
    [
        ('SELECT n AS x FROM "a"', ["INTEGER"]),
        ('WITH b AS (SELECT n + 1 AS n FROM "a") SELECT n, NULL FROM b', ["INTEGER", '"NULL"']),
        ('with recursive b AS (SELECT 1 AS n UNION ALL SELECT b.n + 1 FROM b, "a" WHERE b.n < 3) '
         "SELECT n FROM b", ["INTEGER"]),
        ('(SELECT n FROM "a") UNION (SELECT 1.5) ORDER BY 1', ["DECIMAL(11,1)"]),
        ('SELECT (SELECT max(d) FROM "a" AS i WHERE i.n = o.n) AS m FROM "a" AS o',
         ["DECIMAL(12,2)"]),
        ("VALUES (1, DATE '2020-01-01')", ["INTEGER", "DATE"]),
        ('SELECT {\'f\': n, \'g "x"\': [d]} AS s FROM "a"',
         ['STRUCT(f INTEGER, "g ""x""" DECIMAL(12,2)[])']),
        ("SELECT CAST(n AS HUGEINT), CAST(n AS VARCHAR)::JSON, n::BIT, uuid(), "
         "TIMETZ '10:00:00+01' FROM \"a\"",
         ["HUGEINT", "JSON", "BIT", "UUID", "TIME WITH TIME ZONE"]),
    ],
)  # fmt: skip
def test_what_is_described_is_what_arrives(
    engine: DuckdbEngine, sql: str, kinds: list[str]
) -> None:
    """The schema of a query over nothing is that of the query over rows."""
    shapes = {"a": (("n", "INTEGER"), ("d", "DECIMAL(12,2)"))}
    described = engine.describe(sql, shapes, (), "America/New_York")
    assert [(one.metadata or {})[b"type"].decode() for one in described] == kinds
    session = engine.open("America/New_York")
    rows = pa.schema([pa.field("n", pa.int32()), pa.field("d", pa.decimal128(12, 2))])
    one = pa.RecordBatch.from_pylist([{"n": 1, "d": Decimal("1.50")}], schema=rows)
    session.load("a", rows, iter([one]))
    try:
        batches = list(session.stream(sql, [], {}))
    finally:
        session.close()
    assert [one.type for one in batches[0].schema] == [one.type for one in described]


def test_names_are_asked_of_the_tables_that_are_visible_now(engine: DuckdbEngine) -> None:
    """A database is used again for the very same tables only, and what fails leaves nothing."""
    narrow = ((("s", "p", "t"), (("a", "INTEGER"),)),)
    wide = ((("s", "p", "t"), (("a", "INTEGER"), ("b", "INTEGER"))),)
    broken = ((("s", "p", "t"), (("a", "NO SUCH TYPE"),)),)
    for _ in range(2):
        for text, catalog, domain, names in (
            ("SELECT sum(a), * FROM s.p.t GROUP BY ALL", narrow, None, ("sum(a)", "a")),
            ("SELECT max(a), * FROM s.p.t GROUP BY ALL", wide, None, ("max(a)", "a", "b")),
            ("SELECT min(a) FROM p.t", narrow, "s", ("min(a)",)),
            ("SELECT min(a) FROM p.t", narrow, None, None),
            ("SELECT min(b) FROM s.p.t", narrow, None, None),
            ("SELECT a FROM s.p.t", broken, None, None),
            ("DROP TABLE s.p.t", narrow, None, None),
        ):
            assert engine.output_names(text, catalog, domain, ()) == names
            assert engine.output_names(f"{text} ", catalog, domain, ()) == names
