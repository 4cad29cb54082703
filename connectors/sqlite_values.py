"""What SQLite's values are as values of a contract.

Takes: a fragment, and the batches that the driver makes of a statement for it. Gives: two
statements, each of which delivers every column in one type: a plain one, which fails at a value
that is not plainly of its class, and a careful one, which never fails and tells; exact arrays.
Never reads a file.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from connectors.arrow import cast_exactly, scaled
from connectors.base import ConnectorError, Fragment, FragmentColumn, arrow_type, load_tables

TABLES = load_tables("sqlite")
_QUOTED = """'(?:[^']|'')*'|"(?:[^"]|"")*\""""
_DIGITS = 15  # that a float keeps of any decimal
_LARGE = 10**_DIGITS - 1  # by comparison: abs() of the smallest integer is an error
_FLAGS = 32  # columns whose flags one integer holds
_PARTS = ("value", "text")
# Stands for the predicate that a row is of a part of the table; no name or text holds it.
PART = "\x02"
# Where fewer rows are expected, the whole table is not worth a look for its parts.
_WORTH_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class Value:
    """A column in a statement: `name` there.

    fits: SQL, whether a value is of the class that its type needs; false or NULL where it is NULL.
    parts: SQL and storage class of what is read for it.
    """

    name: str
    fits: str
    parts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """What to run for a fragment. `types`: what the driver makes of it.

    Its first row is none of the fragment's: the driver takes the types from it.
    """

    sql: str
    types: tuple[str, ...]
    values: tuple[Value, ...]
    is_careful: bool


@functools.lru_cache(maxsize=256)
def statement(query: str, columns: tuple[FragmentColumn, ...], is_careful: bool) -> Statement:
    """The plain or the careful statement of a fragment's SQL."""
    values = tuple(_value(f'"c{place}"', one, is_careful) for place, one in enumerate(columns))
    shown = [part for one in values for part in one.parts]
    for start in range(0, len(values), _FLAGS) if is_careful else ():
        shown.append((_mask(values[start : start + _FLAGS]), "INTEGER"))
    first = ", ".join(TABLES["first"][stored] for _, stored in shown)
    names = ", ".join(one.name for one in values)
    sql = (
        f"WITH fragment({names}) AS ({query}) SELECT {first} "
        f"UNION ALL SELECT {', '.join(one for one, _ in shown)} FROM fragment"
    )
    types = tuple(TABLES["driven"][stored] for _, stored in shown)
    return Statement(sql, types, values, is_careful)


def with_part(fragment: Fragment) -> str:
    """The fragment's SQL with a mark where its table is cut into parts; empty where it is not.

    What stands after WHERE goes to the end, since nothing is sorted, grouped or limited.
    """
    expected = fragment.expected_rows
    if not fragment.is_by_row or len(fragment.tables) != 1 or PART in fragment.sql:
        return ""
    if expected is not None and expected < _WORTH_PARTS:
        return ""
    table = re.escape('"main"."' + fragment.tables[0].replace('"', '""') + '"')
    found = [
        one
        for one in re.finditer(f"{_QUOTED}|( FROM {table})(?= WHERE |$)", fragment.sql)
        if one[1]
    ]
    if len(found) != 1 or not _reads_once(fragment.sql):
        return ""
    before, after = fragment.sql[: found[0].end()], fragment.sql[found[0].end() :]
    others = f" AND ({after.removeprefix(' WHERE ')})" if after else ""
    return f"{before} WHERE {PART}{others}"


def _reads_once(sql: str) -> bool:
    """Whether there is no second FROM outside of names and texts, but that of a list of keys."""
    words = re.sub(_QUOTED, "''", sql)
    return len(re.findall(r"\bFROM\b(?! json_each\()", words, re.IGNORECASE)) == 1


def _value(name: str, column: FragmentColumn, is_careful: bool) -> Value:
    kind = TABLES["classes"].get(column.type.partition("(")[0].strip(), "")
    if not kind:
        raise ConnectorError(f"SQLite has no values of type {column.type}")
    scale = arrow_type(column.type).scale if kind == "decimal" else 0
    small = max(0, 10 ** max(0, _DIGITS - scale) - 1)
    large = f"{name} BETWEEN -{_LARGE} AND {_LARGE}" if scale else "1"
    fits = TABLES["fits"][kind].format(c=name, large=large)
    plainly = TABLES["plainly"].get(kind, fits).format(c=name, small=small)
    stored = TABLES["stored"][kind]
    if not is_careful:
        return Value(name, fits, ((_plain(name, plainly, stored), stored),))
    if kind != "decimal":
        return Value(name, fits, ((f"CAST({name} AS {stored})", stored),))
    text = f"CASE typeof({name}) WHEN 'real' THEN format('%!.{_DIGITS}g', {name}) "
    text += f"WHEN 'null' THEN NULL ELSE CAST({name} AS TEXT) END"
    text = f"CASE WHEN {plainly} THEN NULL ELSE {text} END"
    return Value(name, fits, ((f"{name} + 0.0", stored), (text, "TEXT")))


def _plain(name: str, plainly: str, stored: str) -> str:
    """No path of JSON is called like a class, so that is an error, and only where it is met.

    What is no integer is one to the driver. There is a function in every statement, since SQLite
    looks for those when it chooses how to find the rows, and both must find them in one way.
    """
    if stored == "INTEGER":
        return f"coalesce({name}, nullif(typeof({name}), 'null'))"
    fail = f"json_extract('{{}}', typeof({name}))"
    return f"CASE WHEN {plainly} THEN {name} WHEN {name} IS NOT NULL THEN {fail} END"


def _mask(values: Sequence[Value]) -> str:
    """Which of the values do not fit, as one integer."""
    fit = [f"({one.fits} OR {one.name} IS NULL)" for one in values]
    flags = " + ".join(f"(NOT {one}) * {1 << place}" for place, one in enumerate(fit))
    return f"CASE WHEN {' AND '.join(fit)} THEN 0 ELSE {flags} END"


def columns_of(batch: pa.RecordBatch, made: Statement) -> pa.RecordBatch:
    """A driver's batch with one column for each of the fragment's: its parts and its misfits."""
    arrays = list(batch.columns)
    parts = [{name: arrays.pop(0) for name in _PARTS[: len(one.parts)]} for one in made.values]
    for number, one in enumerate(parts if made.is_careful else ()):
        one["misfit"] = _flags(arrays[number // _FLAGS], number % _FLAGS)
    columns = [pa.StructArray.from_arrays(list(one.values()), list(one)) for one in parts]
    return pa.RecordBatch.from_arrays(columns, [one.name for one in made.values])


def _flags(masks: pa.Array, place: int) -> pa.Array:
    if not pc.max(masks).as_py():
        return pa.repeat(False, len(masks))
    return pc.not_equal(pc.bit_wise_and(masks, 1 << place), 0)


def typed(array: pa.StructArray, target: pa.DataType) -> pa.Array:
    """A column in its type; raises where a value does not fit."""
    parts = dict(zip((one.name for one in array.type), array.flatten(), strict=True))
    if "misfit" in parts and pc.any(parts["misfit"]).as_py():
        raise ConnectorError(f"what is no {target}")
    value = parts["value"]
    if pa.types.is_floating(value.type) and pa.types.is_decimal(target):
        return _decimal(value, parts.get("text", pa.nulls(len(value), pa.string())), target)
    if pa.types.is_string(value.type):
        value.validate(full=True)  # SQLite does not look whether text is UTF-8
    if pa.types.is_boolean(target):
        return _boolean(value)
    if pa.types.is_time(target):
        moment = pc.binary_join_element_wise("1970-01-01", value, " ")
        return pc.cast(pc.cast(moment, pa.timestamp("us")), target)
    if pa.types.is_date(target) or pa.types.is_timestamp(target):
        return pc.cast(value, target)
    return cast_exactly(value, target)


def _boolean(value: pa.Array) -> pa.Array:
    bounds = pc.min_max(value)
    if bounds["min"].is_valid and (bounds["min"].as_py() < 0 or bounds["max"].as_py() > 1):
        raise ConnectorError("a number that is neither 0 nor 1")
    return pc.equal(value, 1)


def _decimal(numbers: pa.Array, texts: pa.Array, target: pa.Decimal128Type) -> pa.Array:
    """A float has one shortest decimal; it must be one of so many digits after the point."""
    if texts.null_count < len(texts):
        numbers = pc.if_else(pc.is_null(texts), numbers, pa.scalar(None, numbers.type))
    power = 10.0**target.scale
    whole = pc.round(pc.multiply(numbers, power))
    if pc.any(pc.not_equal(pc.divide(whole, power), numbers)).as_py():
        raise ConnectorError(f"what is no {target}")
    made = scaled(pc.cast(whole, pa.int64()), target)
    if texts.null_count < len(texts):
        made = pc.coalesce(cast_exactly(texts, target), made)
    return made
