"""What is wrong with the files of a mesh.

Takes: places and words. Gives: `Problem`s, collected in `Problems`. Never stops at the first one:
who corrects files wants to see all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

from catalog.model import Place

_FEW = 12


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file: where, what, what to do. `code` is stable."""

    place: Place
    message: str
    remedy: str = ""
    code: str = "invalid"

    @property
    def path(self) -> str:
        """The path inside the file."""
        return self.place.path

    def __str__(self) -> str:
        """`file:line path: message (remedy)`."""
        return f"{self.place}: {self.message}" + (f" ({self.remedy})" if self.remedy else "")


@dataclass(slots=True)
class Problems:
    """All problems found so far, each once."""

    _found: dict[Problem, None] = field(default_factory=dict)

    def add(self, place: Place | None, code: str, message: str, remedy: str = "") -> None:
        """One more problem."""
        self._found[Problem(place or Place("."), message, remedy, code)] = None

    @property
    def found(self) -> tuple[Problem, ...]:
        """All of them, by file and line."""
        def position(one: Problem) -> tuple[str, int]:
            return one.place.file, one.place.line or 0

        return tuple(sorted(self._found, key=position))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._found)


def close(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` where a known word is close, else nothing."""
    found = get_close_matches(word, sorted({str(one) for one in known}), n=1, cutoff=0.7)
    return f"did you mean {found[0]}?" if found else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` where a known word is close, else what is known, else nothing."""
    names = sorted({str(one) for one in known})
    few = f"known: {', '.join(names)}" if 0 < len(names) <= _FEW else ""
    return close(word, names) or few
