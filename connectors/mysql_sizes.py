"""How large a table of MariaDB is, by its server's statistics and the ends of its indices.

Takes: a table's physical name, a way to ask. Gives: about how many rows it has, and of each column
that an index begins with how many values and, of numbers and dates, between which they lie. Never
reads a table where no index answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from connectors.arrow import number_of
from connectors.base import SourceSize
from connectors.mysql_wire import TABLES, literal

# A statement to the rows of its answer.
Ask = Callable[[str], Sequence[tuple[Any, ...]]]
_Known = tuple[float | None, float | None, float | None]
_NUMBERS = frozenset(
    "tinyint smallint mediumint int bigint decimal double date datetime timestamp".split()
)
_MOST_COLUMNS = 20


def size_of(ask: Ask, physical_name: str) -> SourceSize | None:
    """The size of a table; None of a view, and where there is no such table."""
    schema, _, table = physical_name.rpartition(".")
    named = {"schema": literal(schema, "VARCHAR"), "table": literal(table, "VARCHAR")}
    found = ask(TABLES["sql"]["sizes"].format(**named))
    if not found:
        return None
    indexed = [row for row in found if row[1] is not None][:_MOST_COLUMNS]
    ended = [name for _, name, _, kind, has_ends in indexed if has_ends and kind in _NUMBERS]
    ends = _ends(ask, physical_name, ended) if ended else {}
    columns: dict[str, _Known] = {
        name: (number_of(distinct), *ends.get(name, (None, None)))
        for _, name, distinct, *_ in indexed
    }
    return SourceSize(float(found[0][0]), columns)


def _ends(
    ask: Ask, physical_name: str, names: Sequence[str]
) -> dict[str, tuple[float | None, float | None]]:
    """Each is a look into an index."""
    table = ".".join(map(_quoted, physical_name.split(".")))
    shown = ", ".join(f"MIN({one}), MAX({one})" for one in map(_quoted, names))
    (row,) = ask(f"SELECT {shown} FROM {table}")
    values = [number_of(one) for one in row]
    return dict(zip(names, zip(values[::2], values[1::2], strict=True), strict=True))


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
