"""What a principal may see of a table, worked out a second time, simply.

Takes: raw rows, the rules of their table, a principal. Gives: the visible columns and, for each
raw row, the visible values or None. Conditions run in plain DuckDB over the raw rows, masks are
plain Python. Never imports authorize, guard, masks or anything else that decides in the gateway.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from itertools import compress

import duckdb
import pyarrow as pa

from catalog.model import Mask
from gateway.probe.rules import Given, Rules
from gateway.probe.shapes import Field, Shape
from gateway.request import Principal

Row = tuple[object, ...]
# The rules of a table for one principal; None where there is no such table for him.
View = tuple[Rules | None, Principal]
KEY = hashlib.sha256(b"the key of the probe's one join group").digest()
# The strictest first, as the taxonomy has it unless a mesh says otherwise.
_ORDER = ("hide", "null", "constant", "pseudonym", "partial", "bucket", "expression")


@dataclass(frozen=True, slots=True)
class Seen:
    """The visible columns, and the visible values of each raw row; None where it is hidden."""

    fields: tuple[Field, ...]
    rows: tuple[Row | None, ...]


def seen(shape: Shape, views: Sequence[View], rows: Sequence[Row]) -> tuple[Seen, ...]:
    """What each principal sees of the rows, by the rules that hold for him."""
    connection = _scratch()
    fill(connection, "raw", shape.fields, rows)
    made = tuple(_by_rules(connection, shape, view, rows) for view in views)
    connection.execute("DROP TABLE raw")
    return made


def _by_rules(
    connection: duckdb.DuckDBPyConnection, shape: Shape, view: View, rows: Sequence[Row]
) -> Seen:
    rules, who = view
    if rules is None:
        return Seen((), (None,) * len(rows))
    conditions = [one.condition for one in rules.grants if one.condition] + list(rules.filters)
    truths = _truths(connection, [one.plain(who) for one in conditions])
    return _of_one(shape, rules, rows, (truths, _read(connection, shape, rules)))


@cache
def _scratch() -> duckdb.DuckDBPyConnection:
    """One database for all questions: opening one costs more than all the rest."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _truths(connection: duckdb.DuckDBPyConnection, conditions: list[str]) -> list[Row]:
    """Whether each condition is true, row by row; NULL counts as false."""
    values = ", ".join(f"({one}) IS TRUE" for one in conditions) or "TRUE"
    return connection.execute(f"SELECT {values} FROM raw ORDER BY rowid").fetchall()


def _read(
    connection: duckdb.DuckDBPyConnection, shape: Shape, rules: Rules
) -> list[dict[str, object]]:
    """The values of the masks that are expressions, row by row and by column."""
    masks = {name: _strictest(found) for name, found in rules.masks.items()}
    shown = {
        name: f"CAST({mask.sql} AS {shape.field(name).type})"
        for name, mask in masks.items()
        if mask is not None and mask.kind == "expression"
    }
    text = ", ".join(shown.values()) or "TRUE"
    found = connection.execute(f"SELECT {text} FROM raw ORDER BY rowid").fetchall()
    return [dict(zip(shown, row, strict=False)) for row in found]


def _of_one(
    shape: Shape,
    rules: Rules,
    rows: Sequence[Row],
    found: tuple[list[Row], list[dict[str, object]]],
) -> Seen:
    scoped = [one for one in rules.grants if one.condition]
    masks = {name: _strictest(found) for name, found in rules.masks.items()}
    fields = tuple(
        one
        for one in shape.fields
        if any(grant.columns is None or one.name in grant.columns for grant in rules.grants)
        and not (one.name in masks and masks[one.name] is None)
    )
    shown = [
        (place, one, masks.get(one.name))
        for place, one in enumerate(shape.fields)
        if one in fields
    ]
    covered: dict[tuple[bool, ...], frozenset[str]] = {}
    made: list[Row | None] = []
    for row, truth, read in zip(rows, *found, strict=True):
        told = iter(truth)
        held = tuple(one.condition is None or bool(next(told)) for one in rules.grants)
        if not any(held) or not all(truth[len(scoped) : len(scoped) + len(rules.filters)]):
            made.append(None)
            continue
        if held not in covered:
            covered[held] = _covered(fields, compress(rules.grants, held))
        names = covered[held]
        made.append(
            tuple(
                _value(mask, one, row[place], read) if one.name in names else None
                for place, one, mask in shown
            )
        )
    return Seen(fields, tuple(made))


def _covered(fields: tuple[Field, ...], held: Iterable[Given]) -> frozenset[str]:
    """Rule 2: a cell is visible iff one grant that holds for the row covers its column."""
    found: set[str] = set()
    for one in held:
        found |= {field.name for field in fields} if one.columns is None else one.columns
    return frozenset(found)


def _value(mask: Mask | None, field: Field, raw: object, read: dict[str, object]) -> object:
    if mask is None:
        return raw
    return read[field.name] if mask.kind == "expression" else masked(mask, field, raw)


def _strictest(masks: tuple[Mask | None, ...]) -> Mask | None:
    return min(masks, key=lambda one: _ORDER.index(one.kind if one is not None else "hide"))


def masked(mask: Mask, field: Field, value: object) -> object:
    """The masked form of one value."""
    if mask.kind == "null":
        return None
    if mask.kind == "constant":
        text = mask.value or ""
        return text if field.type == "VARCHAR" else int(text)
    return None if value is None else _MASKS[mask.kind](mask, field, value)


def _pseudonym(mask: Mask, field: Field, value: object) -> object:
    digest = hmac.new(KEY, str(value).encode(), hashlib.sha256).digest()
    return "p_" + base64.b32encode(digest).decode().lower()[:26]


def _partial(mask: Mask, field: Field, value: object) -> object:
    text = str(value)
    kept = mask.keep_first + mask.keep_last
    if len(text) <= kept:
        return mask.fill * len(text)
    end = text[len(text) - mask.keep_last :]
    return text[: mask.keep_first] + mask.fill * (len(text) - kept) + end


def _bucket(mask: Mask, field: Field, value: object) -> object:
    if isinstance(value, datetime):
        start = value.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return start.replace(month=1) if mask.unit == "year" else start
    if isinstance(value, date):
        return value.replace(day=1, month=1) if mask.unit == "year" else value.replace(day=1)
    size = float(mask.size or 1)
    number = float(str(value))
    if not math.isfinite(number):
        return None
    made = math.floor(number / size) * size if abs(number) < 1e300 else number
    if field.type == "DOUBLE":
        return made
    return _within(field, int(made))


_BITS = {"SMALLINT": 15, "INTEGER": 31, "BIGINT": 63}


def _within(field: Field, whole: int) -> object:
    if field.family == "DECIMAL":
        return Decimal(whole) if abs(whole) < 10**8 else None
    bound = 1 << _BITS[field.type]
    return whole if -bound <= whole < bound else None


_MASKS: dict[str, Callable[[Mask, Field, object], object]] = {
    "pseudonym": _pseudonym,
    "partial": _partial,
    "bucket": _bucket,
}


def fill(
    connection: duckdb.DuckDBPyConnection, name: str, fields: Sequence[Field], rows: Sequence[Row]
) -> None:
    """Make a table of the rows in plain DuckDB. `name` comes quoted where it must be."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(fields)
    arrays = [
        pa.array(list(values), arrow_type(field))
        for field, values in zip(fields, columns, strict=True)
    ]
    connection.register("given", pa.table(arrays, names=[one.name for one in fields]))
    shown = ", ".join(f'CAST("{one.name}" AS {one.type}) AS "{one.name}"' for one in fields)
    connection.execute(f"CREATE TABLE {name} AS SELECT {shown} FROM given")
    connection.unregister("given")


def arrow_type(field: Field) -> pa.DataType:
    """What Python's values of a field become on their way; DuckDB casts them to the type."""
    if field.family == "DECIMAL":
        precision, scale = field.type.removeprefix("DECIMAL(").removesuffix(")").split(",")
        return pa.decimal128(int(precision), int(scale))
    return _ARROW.get(field.type, pa.string())


_ARROW = {
    "TINYINT": pa.int64(), "SMALLINT": pa.int64(), "INTEGER": pa.int64(), "BIGINT": pa.int64(),
    "HUGEINT": pa.decimal128(38, 0), "DOUBLE": pa.float64(), "FLOAT": pa.float64(),
    "BOOLEAN": pa.bool_(), "DATE": pa.date32(), "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us"), "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "UTC"),
    "BLOB": pa.binary(), "INTEGER[]": pa.list_(pa.int32()), "VARCHAR[]": pa.list_(pa.string()),
}  # fmt: skip
