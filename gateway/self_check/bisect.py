"""Which ability is at fault where a query's two ways differ.

Takes: a query to run again. Gives: a `Finding`: what to switch off of which source, and the
evidence, which holds no value: statements without their literals, policies by their ids, counts of
rows after the policy. Never blames a source for what another run does not show again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from connectors.base import Abilities
from gateway.ability_names import ALL_BUT_FILTERS, ability_names, without
from gateway.draft import Plan
from gateway.errors import SqluiceError, TimedOut
from gateway.normalise import cut, normalise
from gateway.self_check.compare import Difference, difference
from gateway.self_check.replay import Replay

# They take whole blocks or all filters away, as other names do more narrowly.
_NEVER = frozenset({"barrier", "keyed_hash", "can_filter"})


@dataclass(frozen=True, slots=True)
class Finding:
    """`off` are pairs of source and ability; the rest is evidence."""

    off: tuple[tuple[str, str], ...]
    statement: str
    fragments: Mapping[str, tuple[str, ...]]
    rows: tuple[int, int]
    differ: Difference
    tried: int

    def evidence(self, source: str) -> Mapping[str, object]:
        """What the owner of a source and the operators may read."""
        return {
            "statement": self.statement,
            "fragments": list(self.fragments.get(source, ())),
            "rows pushed": self.rows[0],
            "rows pulled": self.rows[1],
            "only pushed": self.differ.only_pushed,
            "only pulled": self.differ.only_pulled,
            "runs": self.tried,
        }


def find(replay: Replay) -> Finding | None:
    """What is at fault; None where both ways agree, or no difference stays."""
    pushed, pulled = replay.pushed(), replay.pulled()
    if shape_of(pushed) == shape_of(pulled):
        return None
    right, wrong = replay.rows(pulled), replay.rows(pushed)
    if difference(wrong, right) is None:
        return None
    # Rows may have changed between the two.
    again, wrong_again = replay.rows(pulled), replay.rows(pushed)
    found = difference(wrong_again, again)
    if found is None or difference(again, right) or difference(wrong_again, wrong):
        return None
    return Finding(
        off=tuple(_culprits(replay, pushed)),
        statement=normalise(replay.request.sql, replay.request.dialect),
        fragments=_fragments(replay, pushed),
        rows=(wrong.num_rows, right.num_rows),
        differ=found,
        tried=replay.tried,
    )


def shape_of(plan: Plan) -> tuple[object, ...]:
    """What a plan sends and merges, whatever its notes say."""
    fragments = tuple(
        (one.name, one.source, one.fragment, one.gate, one.columns, one.in_place)
        for one in plan.fragments
    )
    return fragments, plan.merge


def _culprits(replay: Replay, pushed: Plan) -> Iterator[tuple[str, str]]:
    """The first single ability without which both ways agree; else whole sources."""
    right = replay.rows(replay.pulled())
    sources = tuple(dict.fromkeys(one.source for one in pushed.fragments))
    tried = {shape_of(pushed)}

    def agrees(less: Mapping[str, Iterable[str]]) -> bool:
        plan = replay.pushed(less)
        shape = shape_of(plan)
        if shape in tried:
            return False
        tried.add(shape)
        try:
            return difference(replay.rows(plan), right) is None
        except TimedOut:
            raise
        except SqluiceError:
            # A plan that fails shows nothing.
            return False

    try:
        for source in sources:
            for name in ability_names(replay.abilities[source]):
                if name not in _NEVER and agrees({source: (name,)}):
                    yield source, name
                    return
        for source in sources:
            for names in _wholes(replay.abilities[source]):
                if agrees({source: names}):
                    yield from ((source, name) for name in names)
                    return
    except TimedOut:
        # What was not tried is not known to be right.
        pass
    for source in sources:
        yield source, ALL_BUT_FILTERS


def _wholes(abilities: Abilities) -> Iterator[tuple[str, ...]]:
    """What is taken away where no single ability explains it; more only where that is not enough.

    Then a comparison itself means something else, as it does under a collation.
    """
    yield (ALL_BUT_FILTERS,)
    for name in ability_names(without(abilities, [ALL_BUT_FILTERS])):
        if name not in _NEVER:
            yield ALL_BUT_FILTERS, name
    yield ALL_BUT_FILTERS, "can_filter"


def _fragments(replay: Replay, pushed: Plan) -> Mapping[str, tuple[str, ...]]:
    """The SQL that each source ran, as a caller may see it, and without his literals."""
    found: dict[str, tuple[str, ...]] = {}
    for one in pushed.fragments:
        text = cut(one.shown, replay.dialect_of(one.source)).text
        found[one.source] = (*found.get(one.source, ()), text)
    return found
