"""One table with every type that is served, its extremes, NULLs, unicode and what is nested.

Takes: a number of rows. Gives: DuckDB's statement that makes them, and the rows as Arrow. Never
random: row n is the same in every run.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pyarrow as pa

# Column -> its type, and its values in turn.
COLUMNS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "flag": ("BOOLEAN", ("true", "false")),
    "tiny": ("TINYINT", ("-128", "127", "0")),
    "small": ("SMALLINT", ("-32768", "32767")),
    "whole": ("INTEGER", ("-2147483648", "2147483647", "0", "7")),
    "big": ("BIGINT", ("-9223372036854775808", "9223372036854775807", "0")),
    "natural": ("UTINYINT", ("0", "255")),
    "wide_natural": ("UINTEGER", ("0", "4294967295")),
    "widest_natural": ("UBIGINT", ("0", "18446744073709551615")),
    "real_number": ("FLOAT", ("0", "-0.1", "3.4028235e38", "1e-5", "'NaN'", "'Infinity'")),
    "double_number": ("DOUBLE", ("0", "0.1", "1.7976931348623157e308", "5e-324", "'-Infinity'")),
    "price": ("DECIMAL(9,2)", ("0.00", "-9999999.99", "1234567.89")),
    "huge": ("DECIMAL(38,10)", ("9999999999999999999999999999.9999999999", "-0.0000000001")),
    "name": ("VARCHAR", ("''", "'é ß 漢字 😀'", "'NULL'", "'a\"b\\{,}'", "e'tab\\tline\\n'")),
    "content": ("BLOB", ("''::BLOB", "'\\x00\\xFFa'::BLOB")),
    "day": ("DATE", ("DATE '0001-01-01'", "DATE '9999-12-31'", "DATE '2013-01-31'")),
    "clock": ("TIME", ("TIME '00:00:00'", "TIME '23:59:59.999999'")),
    "moment": ("TIMESTAMP", ("TIMESTAMP '0001-01-01'", "TIMESTAMP '9999-12-31 23:59:59.999999'")),
    "zoned": ("TIMESTAMPTZ", ("TIMESTAMPTZ '2013-06-01 12:00:00.5+02'",)),
    "code": ("UUID", ("UUID 'd3b07384-d9a0-4c9b-8a6d-1d1b1b1b1bff'",)),
    "document": ("JSON", ("'{\"a\": [1, null]}'::JSON", "'[]'::JSON")),
    "numbers": ("INTEGER[]", ("[1, NULL, -3]", "[]")),
    "names": ("VARCHAR[]", ("['', NULL, 'NULL', 'a b', '{\"}']", "[]")),
    "pair": ("STRUCT(a INTEGER, b VARCHAR)", ("{'a': 1, 'b': 'é\"'}", "{'a': NULL, 'b': ''}")),
    "lists": ("INTEGER[][]", ("[[1], [], NULL, [2, 3]]", "[]")),
}  # fmt: skip

# No contract can say these: they are made by expressions.
MADE = ("natural", "wide_natural", "widest_natural", "pair")


def expression(name: str, row: str) -> str:
    """What makes the column, of the number of a row."""
    kind, values = COLUMNS[name]
    cases = " ".join(
        f"WHEN {at} THEN ({value})::{kind}" for at, value in enumerate([*values, "NULL"])
    )
    return f"CASE {row} % {len(values) + 1} {cases} END AS {name}"


def rows_sql(rows: int) -> str:
    """A query that makes the rows; every fourth value or so is NULL."""
    items = ["i::INTEGER AS id", *(expression(name, "i") for name in COLUMNS)]
    return f"SELECT {', '.join(items)} FROM range({rows}) AS r(i)"


def table_of(rows: int) -> pa.Table:
    """The rows as Arrow, with the types that an answer of the gateway tells."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        relation = connection.sql(rows_sql(rows))
        table = relation.to_arrow_table()
        types = [str(one) for one in relation.types]
    fields = [
        one.with_metadata({"type": kind}) for one, kind in zip(table.schema, types, strict=True)
    ]
    kept = table.cast(pa.schema(fields))
    return kept.drop_columns(["id"])
