"""What pools and drivers ask to see whether anybody is there: `SELECT 1` and its like.

Takes: statements that passed the parser. Gives: the row of one that is made of whole numbers alone,
without an engine. Never reads anything of the mesh, and leaves all else to the pipeline.

Such a statement is no request of the mesh: like SET and BEGIN it is answered by whoever holds the
connection, and no endpoint records it in the audit. It counts as a request of whoever sends it.
"""

from __future__ import annotations

import functools

import pyarrow as pa
from sqlglot import exp

from gateway.parse import ParsedStatement
from gateway.request import Request

# More digits may be another type.
_DIGITS, _COLUMNS = 9, 20
_REMEMBERED = 64


def takes_a_row(request: Request) -> bool:
    """Whether a request with no values may have a row."""
    return not request.parameters and request.limits.first != 0


def numbers_of(statement: ParsedStatement) -> pa.Table | None:
    """The row of a SELECT of whole numbers and nothing else; None for any other statement."""
    tree = statement.tree
    if statement.kind != "query" or not isinstance(tree, exp.Select):
        return None
    if any(value for name, value in tree.args.items() if name != "expressions"):
        return None
    found: list[tuple[str, int]] = []
    for one in tree.expressions[: _COLUMNS + 1]:
        number = one.this if isinstance(one, exp.Alias) else one
        if not isinstance(number, exp.Literal) or number.is_string or not is_plain(number.name):
            return None
        found.append((one.alias or number.name, int(number.name)))
    names = {name.casefold() for name, _ in found}
    # What columns of one name are called is the engine's affair.
    return _row(tuple(found)) if 0 < len(names) == len(tree.expressions) else None


def is_plain(text: str) -> bool:
    """Whether a text is a whole number as it is written back, of DuckDB's type INTEGER."""
    return text.isdecimal() and text.isascii() and len(text) <= _DIGITS and str(int(text)) == text


def whole_number(value: int) -> pa.Array:
    """A column with one such number."""
    return pa.array([value], pa.int32())


@functools.lru_cache(maxsize=_REMEMBERED)
def _row(columns: tuple[tuple[str, int], ...]) -> pa.Table:
    fields = [pa.field(name, pa.int32(), True, {"type": "INTEGER"}) for name, _ in columns]
    arrays = [whole_number(one) for _, one in columns]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
