"""The functions that a statement may call, and those that a policy may.

Takes: `functions.toml`. Gives: look-ups. Never decides by what a parser knows: the names are
those of the SQL that DuckDB would get.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType


@cache
def _table() -> Mapping[str, object]:
    path = Path(__file__).with_name("functions.toml")
    return MappingProxyType(tomllib.loads(path.read_text(encoding="utf-8")))


@cache
def _names(key: str) -> frozenset[str]:
    return frozenset(str(_table()[key]).split())


def is_allowed(name: str) -> bool:
    """Whether a statement may call the function."""
    folded = name.casefold()
    return folded in _names("scalar") | _names("aggregate") | _names("window")


def is_table_function(name: str) -> bool:
    """Whether the function may stand in FROM."""
    return name.casefold() in _names("table")


def is_total(name: str) -> bool:
    """Whether the function can fail for no argument of a fitting type."""
    return name.casefold() in _names("total")


def size_limit(name: str) -> tuple[int, int] | None:
    """From which argument on the values must be constants, and how large they may be."""
    sized = _table()["sized"]
    found = sized.get(name.casefold()) if isinstance(sized, dict) else None
    return (found[0], found[1]) if found else None
