"""What a fragment waits for, and whose keys it takes.

Takes: fragments with their expected or counted rows, prices. Gives: for one fragment the slots
that are worth their keys, and which fragments have to end before that is known. Pure: it is asked
again whenever a fragment has ended, with what was counted (DESIGN 6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.draft import KeySlot, PlannedFragment

# A merge that reads files itself pays little for a row, and nothing to send keys.
_IN_PLACE = {"statement": 1.0, "row": 0.03, "key": 0.02}
_DEFAULT = {"statement": 1.0, "row": 1.0, "key": 1.0}
# Where rows are dear, they travel far.
_DEAR = 20.0
# Less than this share of the cost is not worth waiting for.
_WORTH = 0.75
# Of what a fragment waits for others, how much counts as lost: they run side by side otherwise.
_WAITING = 0.3


@dataclass(frozen=True, slots=True)
class Prices:
    """Milliseconds a statement, microseconds a row and a key."""

    statement: float
    row: float
    key: float

    def of(self, rows: float, keys: float = 0.0) -> float:
        """Milliseconds of a fragment."""
        return self.statement + (rows * self.row + keys * self.key) / 1000


@dataclass(frozen=True, slots=True)
class Offer:
    """One slot by itself: how many keys, how many rows they would keep, milliseconds expected."""

    slot: KeySlot
    keys: float
    rows: float
    keyed: float


@dataclass(frozen=True, slots=True)
class Choice:
    """For one fragment: `waits` are fragments to end first, `slots` those to be filled.

    rows: expected with these keys. plain, keyed: milliseconds expected without and with them.
    """

    waits: frozenset[str]
    slots: tuple[KeySlot, ...]
    rows: float
    plain: float
    keyed: float


def prices_of(given: Mapping[str, float], is_in_place: bool, link_cost: str) -> Prices:
    """The prices of a source; dear: each row counts twentyfold."""
    found = {**_DEFAULT, **given} if not is_in_place else _IN_PLACE
    times = _DEAR if link_cost == "dear" and not is_in_place else 1.0
    return Prices(found["statement"], found["row"] * times, found["key"])


def choose(
    one: PlannedFragment,
    fragments: Mapping[str, PlannedFragment],
    counted: Mapping[str, int],
    prices: Mapping[str, Prices],
    most_keys: int,
) -> Choice:
    """The best known way to run a fragment; `counted` are the rows of those that have ended."""
    own = prices[one.name]
    plain = own.of(one.rows)
    best = Choice(frozenset(), (), one.rows, plain, plain)
    if one.keyed is None:
        return best
    for slot in sorted(one.keyed.slots, key=lambda each: _keys(each, fragments, counted)):
        keys = _keys(slot, fragments, counted)
        if keys > most_keys or slot.provider == one.name:
            continue
        kept = min(1.0, keys * slot.share)
        rows = best.rows * kept
        sent = sum(_keys(each, fragments, counted) for each in best.slots) + keys
        is_known = slot.provider in counted
        waited = 0.0 if is_known else prices[slot.provider].of(fragments[slot.provider].rows)
        keyed = own.of(rows, sent) + _WAITING * waited
        if keyed < best.keyed * _WORTH:
            waits = best.waits if is_known else best.waits | {slot.provider}
            best = Choice(waits, (*best.slots, slot), rows, plain, keyed)
    return best


def offers(
    one: PlannedFragment, fragments: Mapping[str, PlannedFragment], prices: Mapping[str, Prices]
) -> Iterator[Offer]:
    """What each slot of a fragment would give by itself, before anything has run."""
    for slot in one.keyed.slots if one.keyed is not None else ():
        if slot.provider == one.name:
            continue
        keys = _keys(slot, fragments, {})
        rows = one.rows * min(1.0, keys * slot.share)
        waited = prices[slot.provider].of(fragments[slot.provider].rows)
        yield Offer(slot, keys, rows, prices[one.name].of(rows, keys) + _WAITING * waited)


def next_ones(
    waiting: Mapping[str, Choice], running: frozenset[str]
) -> tuple[str, ...]:
    """Which fragments start now: those that wait for none; if nobody runs, the least one does."""
    ready = tuple(name for name, choice in waiting.items() if not choice.waits)
    if ready or running or not waiting:
        return ready
    return (min(waiting, key=lambda name: (waiting[name].plain, name)),)


def _keys(
    slot: KeySlot, fragments: Mapping[str, PlannedFragment], counted: Mapping[str, int]
) -> float:
    """How many keys a provider has at most, as far as is known."""
    known = counted.get(slot.provider)
    if known is not None:
        return float(known)
    provider = fragments[slot.provider]
    rows = provider.rows
    for each in provider.keyed.slots if provider.keyed is not None else ():
        # What narrows the provider itself, if it is narrowed.
        if each.provider in counted:
            rows = min(rows, provider.rows * min(1.0, counted[each.provider] * each.share))
        elif each.provider != slot.provider:
            other = fragments[each.provider].rows
            rows = min(rows, provider.rows * min(1.0, other * each.share))
    return rows
