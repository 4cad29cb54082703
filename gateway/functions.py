"""The lists of what a statement may hold, and of what a policy may.

Takes: `functions.toml` and `nodes.toml`. Gives: look-ups. Never decides by what a parser knows:
the names of functions are those of the SQL that DuckDB would get.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType


@cache
def _table(name: str) -> Mapping[str, object]:
    path = Path(__file__).with_name(name)
    return MappingProxyType(tomllib.loads(path.read_text(encoding="utf-8")))


@cache
def _names(key: str, file: str = "functions.toml") -> frozenset[str]:
    return frozenset(str(_table(file)[key]).split())


@cache
def _section(key: str, file: str = "functions.toml") -> Mapping[str, object]:
    found = _table(file)[key]
    return MappingProxyType(found if isinstance(found, dict) else {})


@cache
def functions() -> frozenset[str]:
    """Every function that a statement may call."""
    return _names("scalar") | _names("aggregate") | _names("window")


def is_allowed(name: str) -> bool:
    """Whether a statement may call the function."""
    return name.casefold() in functions()


def is_aggregate(name: str) -> bool:
    """Whether the function is an aggregate that a statement may call."""
    return name.casefold() in _names("aggregate")


def is_table_function(name: str) -> bool:
    """Whether the function may stand in FROM."""
    return name.casefold() in _names("table")


def is_total(name: str) -> bool:
    """Whether the function can fail for no argument of a fitting type."""
    return name.casefold() in _names("total")


def is_by_name(name: str) -> bool:
    """Whether the function calls the aggregate that its second argument names."""
    return name.casefold() in _names("by_name")


def is_format(name: str) -> bool:
    """Whether the function's first argument says how wide its text becomes."""
    return name.casefold() in _names("format")


def size_limit(name: str) -> tuple[int, int] | None:
    """Which argument must be a constant (-1: all of them), and how large it may be."""
    found = _section("sized").get(name.casefold())
    return (int(found[0]), int(found[1])) if isinstance(found, list) else None


@cache
def pattern_position(name: str) -> int | None:
    """Which argument of the function is a regular expression."""
    found = _section("patterns").get(name.casefold())
    return found if isinstance(found, int) else None


def is_function_node(name: str) -> bool:
    """Whether a class of nodes is that of functions that may be called."""
    return name in _names("functions", "nodes.toml")


@cache
def parts_of(name: str) -> frozenset[str] | None:
    """The parts that a node of the class may have; None for a class that is not served."""
    found = _section("parts", "nodes.toml").get(name)
    return None if found is None else frozenset(str(found).split())


def name_of(part: str) -> str | None:
    """What the caller would call a class or a part of one."""
    found = _section("names", "nodes.toml").get(part)
    return None if found is None else str(found)


def is_type(name: str) -> bool:
    """Whether a value may be cast to the type, named as sqlglot names it."""
    return name in _names("types", "nodes.toml")


def is_collation(name: str) -> bool:
    """Whether text may be compared by the order, or by several joined with dots."""
    return set(name.casefold().split(".")) <= _names("collations", "nodes.toml")
