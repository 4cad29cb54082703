"""The corpus file as cases.

Takes: queries.sql. Gives: `Case`s with class, principals, text. Never runs anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_USERS: tuple[str, ...] = ("nora", "carl")
PURPOSES = {"mara": "loyalty-marketing", "petra": "privacy-review"}


@dataclass(frozen=True, slots=True)
class Case:
    """One statement and who asks it."""

    number: int
    kind: str
    users: tuple[str, ...]
    sql: str


def load(path: Path) -> tuple[Case, ...]:
    """All cases in order. A statement is one line that ends with a semicolon."""
    cases: list[Case] = []
    kind = ""
    users = DEFAULT_USERS
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("-- class: "):
            kind = line.removeprefix("-- class: ")
        elif line.startswith("-- who: "):
            users = tuple(line.removeprefix("-- who: ").split())
        elif line.endswith(";"):
            cases.append(Case(len(cases) + 1, kind, users, line.removesuffix(";")))
            users = DEFAULT_USERS
    return tuple(cases)


CASES = load(Path(__file__).with_name("queries.sql"))
