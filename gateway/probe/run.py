"""A whole attack: statements after statements over copies of a mesh, and what they learned.

Takes: a snapshot, principals, grounds to plant in, how many statements. Gives: a `Report`. Never
touches the mesh's own sources, and leaves nothing behind but what it planted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from gateway.probe import coverage
from gateway.probe.arenas import WORLDS, Arena
from gateway.probe.copies import copy_of
from gateway.probe.lots import Lot
from gateway.probe.plant import Ground
from gateway.probe.triples import Tally, Triple, try_triple
from gateway.request import Principal
from gateway.snapshot import Snapshot

_PER_COPY = 200


@dataclass(frozen=True, slots=True)
class Report:
    """What an attack did and found."""

    revision: str
    principals: tuple[str, ...]
    seed: int
    tally: Tally

    @property
    def holds(self) -> bool:
        """Whether nothing was learned and nothing was wrong."""
        return not self.tally.findings

    def as_json(self) -> Mapping[str, object]:
        """The report for programs."""
        return {
            "holds": self.holds,
            "revision": self.revision,
            "principals": list(self.principals),
            "seed": self.seed,
            "tried": self.tally.tried,
            "ran": self.tally.ran,
            "answered": self.tally.answered,
            "outcomes": dict(self.tally.codes),
            "coverage": coverage.as_json(self.tally),
            "findings": [asdict(one) for one in self.tally.findings],
        }


def attack(
    snapshot: Snapshot,
    principals: Sequence[Principal],
    grounds: Mapping[str, Ground],
    count: int,
    seed: int,
) -> Report:
    """Attack copies of a mesh, new rows in each, with `count` statements in all."""
    copies = [
        copy_of(snapshot, principals, seed + number)
        for number in range((count + _PER_COPY - 1) // _PER_COPY)
    ]
    tally = Tally()
    lot = Lot(copies, grounds)
    try:
        for arena in copies:
            for number in range(min(_PER_COPY, count - tally.tried)):
                _try(lot, arena, number, tally)
    finally:
        lot.close()
    names = tuple(one.user for one in principals)
    return Report(snapshot.mesh.revision, names, seed, tally)


def _try(lot: Lot, arena: Arena, number: int, tally: Tally) -> None:
    triple = Triple(arena.seed, number, len(arena.principals))
    if arena.relations(triple.who):
        try_triple(lot, arena, triple, tally)
    else:
        tally.tried += 1


__all__ = ["WORLDS", "Report", "attack"]
