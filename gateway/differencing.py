"""Whether an answer, set beside one given before, would show fewer entities than permitted.

Takes: sets of atoms as bitmaps. Gives: yes or no, exactly. An atom is an entity with one
combination of dimensions: since keys and predicates name dimensions only, whatever rows an answer
is made from are a union of atoms, and two answers can be subtracted only to what their atoms do
not share. Never estimates; never knows what an atom stands for (DESIGN 5, rule 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.decision import AggregateRule

# (group, entity, dimensions as text)
Atom = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks what for which purpose, and when. `shape` names the dimensions of the atoms."""

    user: str
    purpose: str | None
    table: str
    query_id: str
    now: datetime
    shape: str


class Ledgers(Protocol):
    """What was answered, for each principal, purpose and table."""

    def admit(self, asked: Asked, rule: AggregateRule, atoms: Iterable[Atom]) -> None:
        """Record the groups of an answer.

        Raises AccessDenied where one group, or all of them together, differs from what was
        answered by fewer entities than the rule wants; LimitExceeded where there are more atoms
        than may be kept. In both cases nothing is recorded.
        """
        ...


@dataclass(frozen=True, slots=True)
class AnsweredSet:
    """The atoms of one answer, by position. `shape` names the dimensions that made them."""

    bits: int
    shape: str


def reveals_few(
    new: AnsweredSet,
    answered: Iterable[AnsweredSet],
    entity_of: Sequence[int],
    minimum: int,
) -> bool:
    """Whether the new set differs from an answered one by fewer than `minimum` entities, not 0.

    Atoms of other dimensions are no common measure: there the entities themselves are compared.
    """
    entities: int | None = None
    for one in answered:
        if one.shape == new.shape:
            if _few(positions(new.bits ^ one.bits), entity_of, minimum):
                return True
            continue
        entities = _entities(new.bits, entity_of) if entities is None else entities
        differing = (entities ^ _entities(one.bits, entity_of)).bit_count()
        if 0 < differing < minimum:
            return True
    return False


def positions(bits: int) -> Iterator[int]:
    """The positions of the ones, lowest first."""
    content = bits.to_bytes((bits.bit_length() + 7) // 8, "little")
    for place, byte in enumerate(content):
        left = byte
        while left:
            lowest = left & -left
            yield place * 8 + lowest.bit_length() - 1
            left ^= lowest


def bitmap(chosen: Iterable[int]) -> int:
    """The bitmap of positions."""
    held = list(chosen)
    if not held:
        return 0
    content = bytearray(max(held) // 8 + 1)
    for one in held:
        content[one // 8] |= 1 << (one % 8)
    return int.from_bytes(content, "little")


def _few(differing: Iterator[int], entity_of: Sequence[int], minimum: int) -> bool:
    seen: set[int] = set()
    for position in differing:
        seen.add(entity_of[position])
        if len(seen) >= minimum:
            return False
    return bool(seen)


def _entities(bits: int, entity_of: Sequence[int]) -> int:
    return bitmap(entity_of[position] for position in positions(bits))
