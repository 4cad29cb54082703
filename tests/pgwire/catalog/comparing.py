"""A statement on the wire and on a real PostgreSQL.

Takes: connections, a statement. Gives: names, types and rows of both, without what is only a
number that each server gives by itself. Never leaves a column out of which nobody said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

# oid, xid, and what PostgreSQL shows of its own relations by number.
_NUMBERS = frozenset({26, 28, 30, 1028})
# The wire sends as text what PostgreSQL calls a registered number, a node tree or an array of any.
_AS_TEXT = {2205: 25, 2206: 25, 24: 25, 4089: 25, 194: 25, 2277: 25, 1043: 1043, 1015: 1009,
            869: 25, 3220: 25, 1186: 25}  # fmt: skip
Shown = tuple[tuple[tuple[str, int], ...], list[tuple[Any, ...]]]


def shown(
    connection: Connection[tuple[Any, ...]],
    sql: str,
    parameters: Sequence[object] | None = None,
    without: Sequence[str] = (),
    binary: bool = False,
) -> Shown:
    """The answer, without columns of numbers."""
    cursor = connection.cursor(binary=binary)
    cursor.execute(sql.encode(), parameters)
    assert cursor.description is not None
    kept = [
        at
        for at, one in enumerate(cursor.description)
        if one.type_code not in _NUMBERS and one.name not in without
    ]
    columns = tuple(
        (cursor.description[at].name, _AS_TEXT.get(cursor.description[at].type_code,
                                                   cursor.description[at].type_code))
        for at in kept
    )  # fmt: skip
    return columns, [tuple(row[at] for at in kept) for row in cursor]
