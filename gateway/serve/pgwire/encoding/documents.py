"""What PostgreSQL has no type for, as JSON: DuckDB writes it.

Takes: a column of a piece of an answer. Gives: a column of bytes. NaN and the infinities, which
DuckDB writes bare, become text, since JSON has no such numbers. Never reads anything but the
column: the databases that write are locked down like those of the merge, hold their memory to a
bound of their own and spill nothing.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from gateway.errors import LimitExceeded

# A piece is a MiB unless one value alone is more.
_MEMORY = "512MB"
_KEPT = 4
_SETTINGS = (
    # Not the machine's own, which is nobody's affair.
    "SET GLOBAL TimeZone = 'UTC'",
    "SET threads = 1",
    f"SET memory_limit = '{_MEMORY}'",
    "SET temp_directory = ''",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)
# A number that JSON has not, in any spelling that DuckDB takes for one.
_BARE = "[+-]?(?:[nN][aA][nN]|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?)"
_STRING = r'"(?:[^"\\]|\\.)*"'
# Each string gets an empty one behind it and each bare word quotes, then the empty ones go again.
_QUOTED = (
    f"regexp_replace(regexp_replace(text, '({_STRING})|({_BARE})', '\\1\"\\2\"', 'g'), "
    f"'({_STRING})(?:\"\")?', '\\1', 'g')"
)
_PROPER = f"CASE WHEN regexp_matches(text, '{_BARE}') THEN {_QUOTED} ELSE text END AS text"
_idle: queue.LifoQueue[duckdb.DuckDBPyConnection] = queue.LifoQueue(_KEPT)


def written(column: pa.Array) -> pa.Array:
    """The column's values as JSON; NULL stays NULL."""
    texts = _made(column, "SELECT to_json(value)::VARCHAR AS text FROM held")
    return pc.if_else(pc.is_valid(column), texts, pa.scalar(None, pa.binary()))


def kept(column: pa.Array) -> pa.Array:
    """Texts of DuckDB's JSON, which are JSON but for bare numbers that it has not."""
    texts = column.cast(pa.string())
    if not pc.any(pc.match_substring_regex(texts, _BARE)).as_py():
        return texts.cast(pa.binary())
    return _made(texts, "SELECT value AS text FROM held")


def _made(column: pa.Array, source: str) -> pa.Array:
    try:
        with _lent() as connection:
            return _texts(connection, column, source)
    except duckdb.OutOfMemoryException:
        raise LimitExceeded(
            "A value of the answer is too large to be written as JSON.",
            hint="Take less of it, or ask over Flight SQL.",
        ) from None


def _texts(connection: duckdb.DuckDBPyConnection, column: pa.Array, source: str) -> pa.Array:
    # What a cursor was given leaves with it.
    with connection.cursor() as cursor:
        cursor.register("held", pa.table({"value": column}))
        found = cursor.sql(f"SELECT {_PROPER} FROM ({source})").to_arrow_table()
        return found.column(0).combine_chunks().cast(pa.binary())


@contextlib.contextmanager
def _lent() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database that nobody else has; one that failed is not kept."""
    try:
        connection = _idle.get_nowait()
    except queue.Empty:
        connection = locked()
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
    try:
        _idle.put_nowait(connection)
    except queue.Full:
        connection.close()


def locked() -> duckdb.DuckDBPyConnection:
    """A new one."""
    connection = duckdb.connect(":memory:")
    for setting in _SETTINGS:
        connection.execute(setting)
    return connection
