"""The corpus file as cases.

Takes: queries.sql. Gives: `Case`s with class, principals, text. Never runs anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

DEFAULT_USERS: tuple[str, ...] = ("nora", "carl")
PURPOSES = {"mara": "loyalty-marketing", "petra": "privacy-review"}


@dataclass(frozen=True, slots=True)
class Case:
    """One statement, the values of its parameters, and who asks it."""

    number: int
    kind: str
    users: tuple[str, ...]
    sql: str
    given: str = ""

    @property
    def values(self) -> tuple[Any, ...]:
        """The values of its parameters."""
        return values_of(self.given)


def values_of(given: str) -> tuple[Any, ...]:
    """Values that are written as DuckDB's expressions."""
    return tuple(duckdb.execute(f"SELECT {given}").fetchall()[0]) if given else ()


def load(path: Path) -> tuple[Case, ...]:
    """All cases in order. A statement is one line that ends with a semicolon.

    `-- who:` and `-- with:` hold for the next one; values are DuckDB's expressions.
    """
    cases: list[Case] = []
    kind = ""
    users = DEFAULT_USERS
    given = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("-- class: "):
            kind = line.removeprefix("-- class: ")
        elif line.startswith("-- who: "):
            users = tuple(line.removeprefix("-- who: ").split())
        elif line.startswith("-- with: "):
            given = line.removeprefix("-- with: ")
        elif line.endswith(";"):
            cases.append(Case(len(cases) + 1, kind, users, line.removesuffix(";"), given))
            users, given = DEFAULT_USERS, ""
    return tuple(cases)


CASES = load(Path(__file__).with_name("queries.sql"))
