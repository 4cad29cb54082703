"""What PostgreSQL's values are as values of a contract, and how a fragment is put to it.

Takes: a fragment, and what the driver makes of its statement. Gives: a statement that delivers
decimals as integers; the same with its bound values written out, where each can be read in one way
only; exact arrays. Never talks to a server.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connectors.arrow import cast_exactly, number_of, scaled
from connectors.base import (
    ConnectorError,
    Fragment,
    FragmentColumn,
    SourceSize,
    arrow_type,
)
from connectors.key_texts import as_array

_REFUSED = (b"money", b"oid")  # the driver gives bare integers for them
# The first day that PostgreSQL knows; what is before is its infinity, wrapped.
_FIRST_DAY, _DAY = -2_440_588, 86_400_000_000
_INT8_DIGITS = 18  # that every integer of eight bytes has room for
# Types of which no value is another in the contract's; dates and moments have infinities.
_AS_THEY_ARE = frozenset(
    {pa.bool_(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string()}
)
_MARK = MappingProxyType({b"scaled": b""})

# What the driver would bind; no bytes, since the key of a pseudonym is bound as such.
_WRITTEN = MappingProxyType(
    {
        pa.bool_(): "bool", pa.int16(): "int2", pa.int32(): "int4", pa.int64(): "int8",
        pa.float64(): "float8", pa.string(): "text", pa.date32(): "date",
        pa.timestamp("us"): "timestamp", pa.timestamp("us", "UTC"): "timestamptz",
        pa.time64("us"): "time",
    }
)  # fmt: skip
# Nothing here ends, escapes or begins anything, in a text or out of it.
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9 _.,:;#%&@/()+*=<>!?\[\]{}-]*")
_LATIN = r"(?s)^[\x{00}-\x{FF}]*$"
_NOT_PLAIN_SQL = re.compile(r"\\|\$(?!\d)|--|/\*")
# Texts and names are passed over; keys of eight bytes for a column of that type (`keys` and
# `key_types` in postgres.toml); any other parameter.
_PARAMETER = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|"""
    r"""IN \(SELECT DISTINCT unnest\(CAST\(\$(?P<keys>\d+) AS bigint\[\]\)\)\)|\$(?P<value>\d+)"""
)


def wrapped(sql: str, fragment: Fragment, limit: int | None = None) -> str:
    """The statement with its decimals as integers, which the driver reads twice as fast.

    NaN, an infinity and a value with more digits than its type has are errors of the server's.
    """
    names = [f'"c{place}"' for place in range(len(fragment.columns))]
    shown = [_shown(*pair, fragment) for pair in zip(names, fragment.columns, strict=True)]
    if shown == names and limit is None:
        return sql
    bound = "" if limit is None else f" LIMIT {limit}"
    return f"SELECT {', '.join(shown)} FROM ({sql}) AS fragment({', '.join(names)}){bound}"


def _shown(name: str, column: FragmentColumn, fragment: Fragment) -> str:
    if not _is_scaled(column, fragment):
        return name
    scale = arrow_type(column.type).scale
    # No constant: the server would compute that before the first row.
    fail = f"('what is no {column.type}' || left({name}::text, 0))::int8"
    return (
        f"CASE WHEN scale({name}) <= {scale} OR {name} = trunc({name}, {scale}) "
        f"THEN ({name} * {10**scale})::int8 WHEN {name} IS NOT NULL THEN {fail} END"
    )


def _is_scaled(column: FragmentColumn, fragment: Fragment) -> bool:
    """Not where misfits are told: there a value that does not fit fails nothing."""
    kind = arrow_type(column.type)
    is_decimal = column.type.startswith("DECIMAL") and pa.types.is_decimal(kind)
    return bool(not fragment.tells_misfits and is_decimal and kind.precision <= _INT8_DIGITS)


def marked(batch: pa.RecordBatch, fragment: Fragment) -> pa.RecordBatch:
    """A batch of a wrapped statement, with a mark at what is a decimal without its point."""
    if batch.num_columns != len(fragment.columns):
        return batch
    if not any(one.type.startswith("DECIMAL") for one in fragment.columns):
        return batch
    fields = [
        field.with_metadata(dict(_MARK)) if _is_scaled(column, fragment) else field
        for field, column in zip(batch.schema, fragment.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(batch.columns, schema=pa.schema(fields))


def array_for(is_latin: bool) -> Callable[[pa.Array], str]:
    """How keys are written for a database in LATIN1 or in UTF8."""
    return _latin_array if is_latin else as_array


def _latin_array(keys: pa.Array) -> str:
    """Texts with other letters match nothing there."""
    if pa.types.is_string(keys.type) or pa.types.is_large_string(keys.type):
        keys = keys.filter(pc.match_substring_regex(keys, _LATIN))
    return as_array(keys)


def is_as_it_is(source: pa.Field, target: pa.DataType) -> bool:
    """Whether `typed` gives every array of a column back as it came."""
    told = source.metadata or {}
    kind = told.get(b"POSTGRESQL:type")
    if b"scaled" in told or kind in (*_REFUSED, b"bpchar"):
        return False
    return source.type in _AS_THEY_ARE and source.type.equals(target)


def typed(array: pa.Array, source: pa.Field, target: pa.DataType) -> pa.Array:
    """A column in its type, char(n) without its padding; raises where a value does not fit."""
    told = source.metadata or {}
    if b"scaled" in told:
        return scaled(array, target)
    kind = told.get(b"POSTGRESQL:type")
    if kind in _REFUSED:
        raise ConnectorError(f"the source's type is {kind.decode()}")
    if pa.types.is_string(array.type) and pa.types.is_decimal(target):
        raise ConnectorError("a text")
    _refuse_infinity(array)
    return cast_exactly(pc.utf8_rtrim(array, " ") if kind == b"bpchar" else array, target)


def _refuse_infinity(array: pa.Array) -> None:
    if pa.types.is_list(array.type):
        _refuse_infinity(array.flatten())
    day = pa.types.is_date(array.type)
    if not (day or pa.types.is_timestamp(array.type)):
        return
    low = pc.min(array.view(pa.int32() if day else pa.int64())).as_py()
    if low is not None and low < _FIRST_DAY * (1 if day else _DAY):
        raise ConnectorError("an infinite or too distant date")


def written_out(sql: str, values: pa.RecordBatch, can_hash: bool = False) -> str | None:
    """The statement with its values in it; None where one of them could be read in another way.

    COPY is the only way to stream that PostgreSQL runs side by side, and it takes no parameters.
    can_hash: the server looks a number up in a constant array without reading all of it, which is
    less work than to join the keys, and lets it use an index for many of them.
    """
    if _NOT_PLAIN_SQL.search(sql):
        return None
    literals: list[str] = []
    for column in values.columns:
        literal = _literal(column.type, column[0].as_py())
        if literal is None:
            return None
        literals.append(literal)

    def written(found: re.Match[str]) -> str:
        keys, value = found["keys"], found["value"]
        if value:
            return literals[int(value) - 1]
        if not keys:
            return found[0]
        literal = literals[int(keys) - 1]
        if can_hash:
            return f"= ANY({literal.removesuffix('::text')}::bigint[])"
        return found[0].replace(f"${keys}", literal)

    return _PARAMETER.sub(written, sql)


def with_numbers(
    sql: str, values: pa.RecordBatch | None
) -> tuple[str, pa.RecordBatch | None]:
    """What to ask: the statement with its values in it, where all are numbers, moments or truths.

    What is bound is prepared first, which is one more round trip. Texts stay bound, and so do keys,
    which are put as one.
    """
    types = pa.types
    if values is None or any(
        types.is_string(kind) or types.is_list(kind) for kind in values.schema.types
    ):
        return sql, values
    plain = written_out(sql, values)
    return (sql, values) if plain is None else (plain, None)


def _literal(kind: pa.DataType, value: object) -> str | None:
    is_list = pa.types.is_list(kind)
    element = kind.value_type if is_list else kind
    name = "numeric" if pa.types.is_decimal(element) else _WRITTEN.get(element)
    texts = [_text(one) for one in value] if isinstance(value, list) else [_text(value)]
    if name is None or None in texts:
        return None
    if not is_list:
        return f"'{texts[0]}'::{name}"
    inside = ",".join(f'"{one}"' for one in texts)
    return f"'{{{inside}}}'::{name}[]"


def _text(value: object) -> str | None:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else None
        case Decimal():
            return format(value, "f")
        case datetime():
            return (value.astimezone(UTC) if value.tzinfo else value).isoformat(" ")
        case date() | time():
            return value.isoformat()
        case str():
            return value if _PLAIN_TEXT.fullmatch(value) else None
    return None


def size_of(rows: Sequence[tuple[Any, ...]]) -> SourceSize:
    """A table's size by the server's statistics: rows, and a row for each column it knows of."""
    columns = {
        column: (_distinct(distinct, total), number_of(low), number_of(high))
        for total, column, distinct, low, high, _ in rows
        if column is not None
    }
    indexed = frozenset(row[1] for row in rows if row[1] is not None and row[-1])
    return SourceSize(rows[0][0], columns, indexed)


def _distinct(told: float | None, rows: float) -> float | None:
    """Below zero it is a share of the rows."""
    return told if told is None or told >= 0 else -told * rows


def names_of(physical_name: str) -> pa.RecordBatch:
    """Schema and table of a physical name, to be bound."""
    schema, _, table = physical_name.rpartition(".")
    return pa.record_batch({"1": [schema], "2": [table]})
