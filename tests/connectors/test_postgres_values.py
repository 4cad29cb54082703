"""How fragments are put to PostgreSQL: at once, streamed, with values bound or written out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal

import psycopg
import pyarrow as pa
import pytest

from connectors.arrow import BATCH_ROWS, parameters_of
from connectors.base import (
    Connection,
    ConnectorError,
    Fragment,
    FragmentColumn,
    load_abilities,
    load_connector,
)
from connectors.key_texts import as_array
from connectors.postgres import FEW_ROWS, MOST_ROWS
from connectors.postgres_values import written_out
from gateway.demo.postgres import Server

COLUMN = (FragmentColumn("x", "BIGINT"),)
# Asks PostgreSQL whether a statement runs as COPY; what is bound never does.
HOW = "(SELECT left(query, 4) FROM pg_stat_activity WHERE pid = pg_backend_pid())"


@pytest.fixture(scope="module")
def postgres(server: Server) -> Iterator[Connection]:
    """A connection to PostgreSQL."""
    connection = load_connector("postgres").connect({"url": server.url("postgres")})
    yield connection
    connection.close()


def rows(connection: Connection, fragment: Fragment) -> list[dict[str, object]]:
    """All rows of a fragment."""
    return [row for batch in connection.stream(fragment) for row in batch.to_pylist()]


@pytest.mark.parametrize("expected", [None, 1, FEW_ROWS, FEW_ROWS + 1])
@pytest.mark.parametrize("count", [0, 1, MOST_ROWS, MOST_ROWS + 1, BATCH_ROWS + 1])
@pytest.mark.parametrize("values", [(), (0,)])
def test_what_is_expected_decides_nothing_of_what_arrives(
    postgres: Connection, expected: int | None, count: int, values: tuple[int, ...]
) -> None:
    """The same rows in the same order, few or many, as expected or not, in batches."""
    sql = f"SELECT i::int8, (i / 100.0)::numeric FROM generate_series(1, {count}) AS s(i) "
    sql += f"WHERE i > {'$1' if values else '0'} ORDER BY i DESC"
    columns = (*COLUMN, FragmentColumn("m", "DECIMAL(12,2)"))
    types = ("BIGINT",) * len(values)
    fragment = Fragment(sql, columns, (), values, types, expected_rows=expected)
    table = pa.Table.from_batches(postgres.stream(fragment), pa.schema([]) if not count else None)
    if count:
        assert table.column("x").to_pylist() == list(range(count, 0, -1))
        assert table.column("m").cast(pa.float64()).to_pylist()[0] == count / 100
        assert table.column("m").type == pa.decimal128(12, 2)


def test_few_rows_come_without_copy_and_others_with_it(postgres: Connection) -> None:
    """Otherwise the tests above would prove nothing."""
    how = (FragmentColumn("how", "VARCHAR"),)
    for expected, values, wanted in (
        (1, (), "SELE"), (1, (5,), "SELE"), (None, (), "COPY"), (10**6, (5,), "COPY"),
    ):  # fmt: skip
        sql = f"SELECT {HOW}" + " WHERE 5 = $1" * len(values)
        types = ("BIGINT",) * len(values)
        fragment = Fragment(sql, how, (), values, types, expected_rows=expected)
        assert rows(postgres, fragment) == [{"how": wanted}]


def test_an_error_where_few_rows_were_expected(postgres: Connection) -> None:
    """The connection goes on."""
    for sql in ("SELECT nothing FROM nowhere", "SELECT 1 / (1 - 1)", "SELECT 1; SELECT 2"):
        with pytest.raises(ConnectorError):
            rows(postgres, Fragment(sql, COLUMN, (), expected_rows=1))
        fragment = Fragment("SELECT $1", COLUMN, (), (7,), ("BIGINT",), expected_rows=1)
        assert rows(postgres, fragment) == [{"x": 7}]


WRITTEN: list[tuple[object, str]] = [
    (5, "BIGINT"), (-9223372036854775808, "BIGINT"), (-5, "INTEGER"), (-32768, "SMALLINT"),
    (True, "BOOLEAN"), (2.5, "DOUBLE"), (-0.0, "DOUBLE"), (5e-324, "DOUBLE"),
    (1.7976931348623157e308, "DOUBLE"), (0.1 + 0.2, "DOUBLE"), (Decimal("-1.50"), "DECIMAL(12,2)"),
    (10**37, "HUGEINT"), (date(1, 1, 1), "DATE"), (date(9999, 12, 31), "DATE"),
    (datetime(2024, 2, 29, 1, 2, 3, 4), "TIMESTAMP"), (time(23, 59, 59, 999999), "TIME"),
    (datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=UTC), "TIMESTAMP WITH TIME ZONE"),
    ("", "VARCHAR"), ("BUILDING", "VARCHAR"), ("1-URGENT", "VARCHAR"), ("a, {b} c", "VARCHAR"),
    ("NULL", "VARCHAR"), ("f", "VARCHAR"), ([1, -2], "BIGINT[]"), ([], "BIGINT[]"),
    (["a b", "NULL", ""], "VARCHAR[]"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "name"), WRITTEN, ids=str)
def test_what_is_written_out_is_what_would_be_bound(
    postgres: Connection, value: object, name: str
) -> None:
    """The server sees no difference, not even of type."""
    columns = (FragmentColumn("x", name), FragmentColumn("t", "VARCHAR"))
    sql = "SELECT $1, pg_typeof($1)::text"
    # A statement with a remark in it is one that nothing is written into.
    found = [
        rows(postgres, Fragment(text, columns, (), (value,), (name,), expected_rows=expected))
        for text, expected in ((sql, None), (sql, 1), (f"{sql} /* bound */", 1))
    ]
    assert found[0] == found[1] == found[2]
    assert found[0][0]["x"] == value


@pytest.mark.parametrize(
    ("value", "name", "is_bound"),
    [
        (5, "BIGINT", False), (Decimal("1.50"), "DECIMAL(12,2)", False), (True, "BOOLEAN", False),
        (date(2024, 2, 29), "DATE", False), ("5", "VARCHAR", True), (pa.array([5]), "BIGINT", True),
    ],
    ids=str,
)  # fmt: skip
def test_of_few_rows_numbers_are_written_out_and_texts_and_keys_are_bound(
    postgres: Connection, value: object, name: str, is_bound: bool
) -> None:
    """A look-up by a number is one round trip; no text of a caller's is in a statement."""
    shown = f"{HOW.replace('left(query, 4)', 'query')} || left($1::text, 0)"
    fragment = Fragment(
        f"SELECT {shown}", (FragmentColumn("x", "VARCHAR"),), (), (value,), (name,), expected_rows=1
    )
    assert ("$1" in str(rows(postgres, fragment)[0]["x"])) == is_bound


def test_each_character_of_a_text(postgres: Connection) -> None:
    """Written out or bound, a text is that text, whatever it holds."""
    texts = [f"a{chr(one)}{chr(other)}b" for one in range(1, 128) for other in (one, 39, 92)]
    for text in [*texts, "é", "\U0001f600", "$1", "a' OR 'a' = 'a", "\\'; SELECT 1 --"]:
        column = (FragmentColumn("x", "VARCHAR"),)
        fragment = Fragment("SELECT $1", column, (), (text,), ("VARCHAR",))
        assert rows(postgres, fragment) == [{"x": text}]


@pytest.mark.parametrize(
    ("sql", "value", "name"),
    [
        ("SELECT $1", "it's", "VARCHAR"),
        ("SELECT $1", "back\\slash", "VARCHAR"),
        ("SELECT $1", "$1", "VARCHAR"),
        ("SELECT $1", '"', "VARCHAR"),
        ("SELECT $1", "é", "VARCHAR"),
        ("SELECT $1", None, "VARCHAR"),
        ("SELECT $1", None, "BIGINT"),
        ("SELECT $1", b"key", "BLOB"),
        ("SELECT $1", float("inf"), "DOUBLE"),
        ("SELECT $1", float("nan"), "DOUBLE"),
        ("SELECT $1", ["a", "it's"], "VARCHAR[]"),
        ("SELECT $1", [1, None], "BIGINT[]"),
        ("SELECT E'\\'', $1", 5, "BIGINT"),
        ("SELECT $a$ ' $a$, $1", 5, "BIGINT"),
        ("SELECT 1 -- '\n, $1", 5, "BIGINT"),
        ("SELECT 1 /* ' */, $1", 5, "BIGINT"),
    ],
)
def test_what_is_never_written_out(sql: str, value: object, name: str) -> None:
    """A value that would need an escape, a key, a statement that is not read at a glance."""
    values = parameters_of(Fragment(sql, COLUMN, (), (value,), (name,)), as_array)
    assert values is not None
    assert written_out(sql, values) is None


def test_numbers_inside_quotes_are_no_parameters() -> None:
    """Neither in a text nor in a name."""
    values = parameters_of(Fragment("", COLUMN, (), (5, "x"), ("BIGINT", "VARCHAR")), as_array)
    assert values is not None
    sql = """SELECT '$1', "a $1", '''$1', "b""$2", $2, $1"""
    wanted = """SELECT '$1', "a $1", '''$1', "b""$2", 'x'::text, '5'::int8"""
    assert written_out(sql, values) == wanted


KEYS = "\"x\" IN (SELECT DISTINCT unnest(CAST($1 AS {}[])))"


@pytest.mark.parametrize(
    ("sql", "can_hash", "wanted"),
    [
        (KEYS.format("bigint"), True, "\"x\" = ANY('{1,2}'::bigint[])"),
        # A server that would read the whole array for each row joins them.
        (KEYS.format("bigint"), False, KEYS.format("bigint").replace("$1", "'{1,2}'::text")),
        # So does one whose column is of another type.
        (KEYS.format("int8"), True, KEYS.format("int8").replace("$1", "'{1,2}'::text")),
        (f"SELECT '{KEYS.format('bigint')}', $1", True,
         f"SELECT '{KEYS.format('bigint')}', '{{1,2}}'::text"),
    ],
)  # fmt: skip
def test_how_keys_are_written_out(sql: str, can_hash: bool, wanted: str) -> None:
    keys = Fragment(sql, COLUMN, (), (pa.array([1, 2]),), ("BIGINT[]",))
    values = parameters_of(keys, as_array)
    assert values is not None
    assert written_out(sql, values, can_hash) == wanted


@pytest.mark.parametrize(("column", "name"), [("bigint", "BIGINT"), ("int", "INTEGER")])
def test_the_server_knows_how_many_keys_there_are(
    server: Server, column: str, name: str
) -> None:
    """And hashes them: to look 5,000 up one after the other is never what a plan says."""
    abilities = load_abilities("postgres")
    where = abilities.keys.format(column="x", keys="$1", type=abilities.key_types[name])
    sql = f"EXPLAIN SELECT x FROM (SELECT generate_series(1, 9)::{column} AS x OFFSET 0) AS g"
    sql += f" WHERE {where}"
    fragment = Fragment(sql, COLUMN, (), (pa.array(range(5_000)),), ("BIGINT[]",))
    values = parameters_of(fragment, as_array)
    assert values is not None
    text = written_out(sql, values, can_hash=True)
    assert text is not None
    with psycopg.connect(server.url("postgres")) as connection:
        shown = " ".join(row[0] for row in connection.execute(text).fetchall())
    assert "= ANY" in shown if name == "BIGINT" else "rows=5000" in shown, shown


NUMBERS = (
    "0", "-1.5", "1.50", "1.500000", "99999999999999.99", "100000000000000", "1.005", "'NaN'",
    "'Infinity'", "'-Infinity'", "1e30", "-0.00", "0.000000000000000000000000000001", "NULL",
)  # fmt: skip


@pytest.mark.parametrize("number", NUMBERS)
def test_decimals_as_integers_are_the_decimals(postgres: Connection, number: str) -> None:
    """What fits arrives as by text, which is how told misfits travel; what does not is an error."""
    column = (FragmentColumn("x", "DECIMAL(16,2)"),)
    sql = f"SELECT {number}::numeric AS x"
    by_text = rows(postgres, Fragment(sql, column, (), tells_misfits=True))
    if by_text[0]["misfit of x"]:
        with pytest.raises(ConnectorError):
            rows(postgres, Fragment(sql, column, ()))
    else:
        assert rows(postgres, Fragment(sql, column, ())) == [{"x": by_text[0]["x"]}]


def test_a_misfit_that_the_fragment_filters_out(postgres: Connection) -> None:
    """Only what the fragment delivers is looked at."""
    sql = "SELECT x FROM (VALUES ('NaN'::numeric, 1), (2.5, 2)) AS v(x, i) WHERE i = 2"
    assert rows(postgres, Fragment(sql, (FragmentColumn("x", "DECIMAL(5,1)"),), ())) == [
        {"x": Decimal("2.5")}
    ]
