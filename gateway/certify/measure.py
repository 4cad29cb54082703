"""Bounds and prices of a source, measured on tiny statements without tables.

Takes: a connection and its dialect's data. Gives: how many parameters, list items and keys one
statement really takes, up to what is declared, and milliseconds per statement, row, byte and key.
Never asks for more than a second or two in all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

from connectors.base import Abilities, Connection, ConnectorError, Fragment, FragmentColumn
from gateway.certify.keyed import most_keys, priced_keys, takes_numbers
from gateway.certify.rows import Dialect

_NUMBER = (FragmentColumn("n", "BIGINT"),)
_TEXT = (FragmentColumn("t", "VARCHAR"),)
_TIMES, _ROWS, _WIDE_ROWS, _WIDE, _KEYS, _KEYED = 5, 20_000, 5_000, 200, 500, 1_000


def bounds(connection: Connection, abilities: Abilities) -> Mapping[str, int]:
    """The declared bounds that the source does not keep, with what it does."""

    def parameters(count: int) -> None:
        marks = ", ".join(
            f"${n}" if abilities.parameter_style == "dollar" else f"?{n}"
            for n in range(1, count + 1)
        )
        values = tuple(range(count))
        sql = f"SELECT 1 WHERE 0 IN ({marks})"
        _run(connection, Fragment(sql, _NUMBER, (), values, ("BIGINT",) * count))

    def items(count: int) -> None:
        _run(connection, Fragment(f"SELECT 1 WHERE 0 IN ({_list(count)})", _NUMBER, ()))

    declared: dict[str, tuple[Callable[[int], None], int]] = {
        "maximum_parameters": (parameters, abilities.maximum_parameters),
        "maximum_list": (items, abilities.maximum_list),
    }
    if takes_numbers(abilities):
        declared["maximum_keys"] = most_keys(connection, abilities), abilities.maximum_keys
    found = {name: most_of(ask, most) for name, (ask, most) in declared.items()}
    return {name: most for name, most in found.items() if most < declared[name][1]}


def most_of(ask: Callable[[int], None], most: int) -> int:
    """The largest count that works, at most so many, by halving."""
    if _works(ask, most):
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _works(ask, middle) else (low, middle)
    return low


def _works(ask: Callable[[int], None], count: int) -> bool:
    try:
        ask(count)
    except ConnectorError:
        return False
    return True


def prices(
    connection: Connection, dialect: Dialect, abilities: Abilities
) -> Mapping[str, float]:
    """Milliseconds per statement, row, byte and key; what the dialect can be asked."""
    asks = dialect.asks
    if "unpriced" in asks:
        return {}
    statement = _median(connection, Fragment("SELECT 1", _NUMBER, ()))
    made = {"statement": statement}
    if "series" in asks:
        many = Fragment(asks["series"].format(n=_ROWS), _NUMBER, ())
        made["row"] = max(0.0, _median(connection, many) - statement) / _ROWS
    if "wide" in asks:
        wide = Fragment(asks["wide"].format(n=_WIDE_ROWS), _TEXT, ())
        rest = statement + made.get("row", 0.0) * _WIDE_ROWS
        made["byte"] = max(0.0, _median(connection, wide) - rest) / (_WIDE_ROWS * _WIDE)
    if "series" in asks and takes_numbers(abilities):
        few, several = (priced_keys(abilities, asks["series"], n, _KEYED) for n in (1, _KEYS))
        more = _median(connection, several) - _median(connection, few)
        # What a key costs in an index is not seen here, but declared.
        made["key"] = max(more / _KEYS, abilities.prices.get("key", 0.0) / 1000)
    return {name: round(value, 9) for name, value in made.items()}


def _median(connection: Connection, fragment: Fragment) -> float:
    return median(_seconds(connection, fragment) for _ in range(_TIMES)) * 1000


def _seconds(connection: Connection, fragment: Fragment) -> float:
    began = time.perf_counter()
    _run(connection, fragment)
    return time.perf_counter() - began


def _run(connection: Connection, fragment: Fragment) -> int:
    return sum(batch.num_rows for batch in connection.stream(fragment))


def _list(count: int) -> str:
    return ", ".join(str(number * 7) for number in range(count))
