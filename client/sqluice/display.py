"""Answers as people and programs read them in a terminal.

Takes: a cursor that has executed. Gives: a table, JSON or CSV as lines of text. Never lets a
control character of a value reach the terminal; NULL never looks like a text.
"""

from __future__ import annotations

import datetime
import json
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from sqluice.cursor import Cursor, Row
from sqluice.types import DATETIME, NUMBER, Described

NULL = "∅"
MASKED = "*"
_LONGEST_CELL = 80
# The longest word of a plan is `milliseconds` or `expected rows`.
_WHAT = 14
_LONG_INTEGERS = frozenset({"BIGINT", "UBIGINT", "HUGEINT"})


def table(cursor: Cursor, rows: Sequence[Row]) -> Iterator[str]:
    """A header with types, and the rows; numbers stand at the right, long texts are cut."""
    columns = cursor.description or ()
    names = [clean(one[0]) + (MASKED if is_masked(cursor, one) else "") for one in columns]
    types = [one[1].lower() for one in columns]
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(names, types, *cells, strict=True)]
    right = [one[1] == NUMBER and one[1] != "BOOLEAN" for one in columns]
    yield _line(names, widths, right)
    yield _line(types, widths, right)
    yield "  ".join("─" * one for one in widths)
    for row in cells:
        yield _line(row, widths, right)


def plan(rows: Iterable[Row]) -> Iterator[str]:
    """EXPLAIN as people read it: each step with where it runs, then its parts and reasons."""
    before = None
    for step, where, what, detail, why in rows:
        if step != before:
            yield f"{step} at {where}"
            before = step
        yield f"  {what:<{_WHAT}}{clean(str(detail))}"
        if why:
            yield f"  {'':<{_WHAT}}{clean(str(why))}"


def json_document(cursor: Cursor, rows: Iterable[Row], is_truncated: bool) -> str:
    """One document in the form of the HTTP API: long integers and decimals are text."""
    columns = cursor.description or ()
    document = {
        "columns": [
            {"name": one[0], "type": one[1], "masked": is_masked(cursor, one)} for one in columns
        ],
        "rows": [
            [_json(value, one[1]) for value, one in zip(row, columns, strict=True)] for row in rows
        ],
        "query_id": cursor.query_id,
        "truncated": is_truncated,
        "masked": list(cursor.masked),
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)


def csv_lines(cursor: Cursor, rows: Iterable[Row]) -> Iterator[str]:
    """A header and the rows; NULL is an empty field, the empty text a quoted one."""
    yield ",".join(_csv(one[0]) for one in cursor.description or ())
    for row in rows:
        yield ",".join("" if value is None else _csv(_plain(value)) for value in row)


def is_masked(cursor: Cursor, column: Described) -> bool:
    """Whether a policy changed a column's values; it is named alone or behind its table."""
    return any(one == column[0] or one.endswith(f".{column[0]}") for one in cursor.masked)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, is_right in zip(cells, widths, right, strict=True):
        space = " " * (width - _width(cell))
        padded.append(space + cell if is_right else cell + space)
    return "  ".join(padded).rstrip()


def _cell(value: object) -> str:
    if value is None:
        return NULL
    text = clean(_plain(value))
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"


def _plain(value: object) -> str:
    """A value as text that the gateway would read back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, list | tuple | dict):
        return json.dumps(_json(value, ""), ensure_ascii=False)
    return str(value)


def _json(value: object, type_name: str) -> object:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value) if type_name in _LONG_INTEGERS else value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(name): _json(one, "") for name, one in value.items()}
    if isinstance(value, list):
        return [_json(one, "") for one in value]
    if isinstance(value, Decimal):
        return str(value)
    if type_name == DATETIME and isinstance(value, datetime.datetime):
        return value.isoformat()
    return _plain(value) if not isinstance(value, tuple) else [_json(one, "") for one in value]


def _csv(text: str) -> str:
    needs_quotes = text == "" or any(one in text for one in ',"\r\n')
    doubled = text.replace('"', '""')
    return f'"{doubled}"' if needs_quotes else text


def clean(text: str) -> str:
    """Text whose control and format characters are written out."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF")
        for one in text
    )
