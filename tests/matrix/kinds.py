"""Every type that is served, with extremes, NULLs, unicode, empty and nested values.

Takes: nothing. Gives: DuckDB's statements that make the rows and ask for them. Never random: row n
is the same in every run.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.pgwire import matrix

ROWS = 12
# Column -> its type, and its values in turn; besides those that the PostgreSQL wire is tested with.
_BESIDES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "enormous": ("HUGEINT", ("'99999999999999999999999999999999999999'", "-1", "0")),
    "small_natural": ("USMALLINT", ("0", "65535")),
    "span": (
        "INTERVAL",
        ("INTERVAL '1 year 2 days 3 seconds'", "INTERVAL '-1 month'", "INTERVAL '1 microsecond'"),
    ),
    "seconds": ("TIMESTAMP_S", ("TIMESTAMP '1970-01-01'", "TIMESTAMP '2013-01-02 03:04:05'")),
    "thousandths": ("TIMESTAMP_MS", ("TIMESTAMP '2013-01-02 03:04:05.678'",)),
    "billionths": ("TIMESTAMP_NS", ("'2013-01-02 03:04:05.123456789'", "'1677-09-22 00:00:00'")),
    "level": ("ENUM('low', 'é')", ("'low'", "'é'")),
    "triple": ("INTEGER[3]", ("[1, NULL, 3]", "[0, 0, 0]")),
    "map_of": ("MAP(VARCHAR, INTEGER)", ("MAP {'é': 1, '': NULL}", "MAP([], [])")),
    "deep": (
        "STRUCT(x STRUCT(y DECIMAL(3,1), z TIMESTAMPTZ)[], t TIME)",
        ("{'x': [{'y': 1.5, 'z': TIMESTAMPTZ '2013-01-01 00:00:00+00'}, NULL], 't': NULL}",
         "{'x': [], 't': TIME '23:59:59.999999'}"),
    ),
    "days": ("DATE[]", ("[DATE '0001-01-01', NULL]", "[]")),
    "prices": ("DECIMAL(9,2)[]", ("[1.50, NULL, -0.01]", "[]")),
    "reals": ("DOUBLE[]", ("[0.1, 'NaN'::DOUBLE, '-Infinity'::DOUBLE, NULL]",)),
    # What JSON has no numbers for, wherever it stands.
    "odd_struct": (
        "STRUCT(a DOUBLE, b FLOAT[], c VARCHAR)",
        ("{'a': 'NaN', 'b': ['Infinity'::FLOAT, NULL, 1.5], 'c': '\"NaN\", Infinity'}",
         "{'a': '-Infinity', 'b': [], 'c': 'NaN'}", "{'a': 0.5, 'b': NULL, 'c': 'x'}"),
    ),
    "odd_map": ("MAP(VARCHAR, DOUBLE)", ("MAP {'NaN': '-Infinity'::DOUBLE, '': NULL}",)),
    "odd_list": (
        "STRUCT(x DOUBLE)[]", ("[{'x': 'NaN'::DOUBLE}, NULL, {'x': 'Infinity'::DOUBLE}]", "[]"),
    ),
    "odd_document": ("JSON", ("json_object('a', 'NaN'::DOUBLE, 'b', 'NaN')", "'NaN'", "'1'")),
    "moments": ("TIMESTAMPTZ[]", ("[TIMESTAMPTZ '2013-06-01 12:00:00.5+02', NULL]",)),
    "contents": ("BLOB[]", ("['\\x00\\xFF'::BLOB, NULL, ''::BLOB]",)),
    "codes": ("UUID[]", ("['d3b07384-d9a0-4c9b-8a6d-1d1b1b1b1bff', NULL]",)),
    "flags": ("BOOLEAN[]", ("[true, NULL, false]", "[]")),
    "zoned_clock": ("TIMETZ", ("'00:00:00+00'", "'23:59:59.999999-15:59'", "'12:30:00+05:30'")),
    "bits": ("BIT", ("'0'", "'10101'", "repeat('10', 40)")),
}  # fmt: skip
COLUMNS: Mapping[str, tuple[str, tuple[str, ...]]] = {**matrix.COLUMNS, **_BESIDES}
# What a contract can say; the others are made by expressions.
HELD = (*(one for one in matrix.COLUMNS if one not in matrix.MADE), "enormous")


def _expression(name: str) -> str:
    kind, values = COLUMNS[name]
    cases = " ".join(
        f"WHEN {at} THEN CAST({value} AS {kind})" for at, value in enumerate([*values, "NULL"])
    )
    return f"CASE id % {len(values) + 1} {cases} END AS {name}"


def table_sql() -> str:
    """The query that makes the table of a source."""
    items = ["id", *map(_expression, HELD)]
    return f"SELECT {', '.join(items)} FROM (SELECT i::INTEGER AS id FROM range({ROWS}) AS r(i))"


def statement(table: str, condition: str = "TRUE") -> str:
    """The one statement that asks for all columns."""
    items = [one if one in HELD else _expression(one) for one in COLUMNS]
    return f"SELECT {', '.join(items)} FROM {table} WHERE {condition} ORDER BY id"
