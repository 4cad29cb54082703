"""Statements by pass, with the plans that were reviewed.

Takes: the YAML files beside it, one a pass. Gives: `Pair`s. Never runs anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.differential.corpus import values_of

FOLDER = Path(__file__).parent
NAMES = tuple(sorted(one.stem for one in FOLDER.glob("*.yaml")))


@dataclass(frozen=True, slots=True)
class Pair:
    """A statement of somebody, its values, and what is planned for it."""

    name: str
    number: int
    user: str
    sql: str
    given: str
    planned: str

    @property
    def values(self) -> tuple[Any, ...]:
        """The values of its parameters."""
        return values_of(self.given)


def load(name: str) -> tuple[Pair, ...]:
    """The pairs of one pass."""
    raw = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return tuple(
        Pair(name, number, one["who"], one["sql"], one.get("with", ""), one.get("planned", ""))
        for number, one in enumerate(raw, start=1)
    )


PAIRS = tuple(one for name in NAMES for one in load(name))
