"""What a fragment waits for, and whose keys it takes.

Takes: fragments with their expected or counted rows, prices. Gives: for one fragment the slots
that are worth their keys, or the range of them, and which fragments have to end before that is
known. Pure: it is asked again whenever a fragment has ended or brings more than was expected, with
what was counted (DESIGN 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from math import expm1
from types import MappingProxyType

from gateway.awaiting import Awaited, Costs, awaited, late_cost, read_for
from gateway.draft import KeySlot, LateSlot, PlannedFragment, ValueSlot
from gateway.estimates import overlap
from gateway.widths import times_of, width_of

_DEFAULT = {"statement": 1.0, "row": 1.0, "key": 1.0, "byte": 0.0}
_DAY_ZERO = date(1970, 1, 1)
# Less than this share of the cost is not worth waiting for.
_WORTH = 0.75
# As much has to go where the merge would read the rows where they lie: narrowed ones are copied.
_WORTH_A_TABLE = 0.1
# Who gives keys is narrowed where less than so much remains and it costs few milliseconds anyway:
# what follows has fewer keys.
_FEWER, _LITTLE = 0.5, 5.0
# Of what a fragment waits for others, how much counts as lost: they run side by side otherwise.
_WAITING = 0.3
# Who waits for whom is followed so far: a chain of keys over four fragments.
_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Prices:
    """Milliseconds a statement; microseconds a row, a key and a byte."""

    statement: float
    row: float
    key: float
    byte: float = 0.0

    def of(self, rows: float, keys: float = 0.0) -> float:
        """Milliseconds of a fragment, but for its bytes."""
        return self.statement + (rows * self.row + keys * self.key) / 1000

    def for_rows_of(self, width: float, link_cost: str) -> Prices:
        """With rows of so many bytes; dear: each counts twentyfold."""
        row = self.row + self.byte * width
        return Prices(self.statement, row * times_of(link_cost), self.key)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that a column of an ended fragment has: about how many, and between which they lie.

    The bounds are whole numbers or dates; None for other types, and where there are no keys.
    """

    values: int
    low: int | date | None = None
    high: int | date | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What is known of the fragments that have ended: rows by name, keys by name and column."""

    rows: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    keys: Mapping[tuple[str, str], Keys] = field(default_factory=lambda: MappingProxyType({}))


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

    ranges: of the slots those that get the lowest and the highest key in the place of all. values:
    slots that get what sub-queries give. first: where the keys of the first rows alone are sent, if
    they are enough. rows: expected with all of these. plain, keyed: milliseconds expected without
    and with them; keyed counts waiting in part, late as a whole.
    """

    waits: frozenset[str]
    slots: tuple[KeySlot, ...]
    rows: float
    plain: float
    keyed: float
    ranges: frozenset[KeySlot] = frozenset()
    late: float = 0.0
    values: tuple[ValueSlot, ...] = ()
    first: LateSlot | None = None


def declared(given: Mapping[str, float]) -> Prices:
    """The prices that a kind of source declares."""
    found = {**_DEFAULT, **given}
    return Prices(found["statement"], found["row"], found["key"], found["byte"])


# A merge that reads files itself pays little for a row, and nothing to send keys.
IN_PLACE = Prices(statement=1.0, row=0.03, key=0.02)


def price_of(one: PlannedFragment, source: Prices, link_cost: str) -> Prices:
    """The prices of one fragment's rows, by those of its source."""
    if one.in_place is not None:
        return IN_PLACE
    return source.for_rows_of(width_of(one.columns), link_cost)


def choose(
    one: PlannedFragment,
    fragments: Mapping[str, PlannedFragment],
    ended: Ended,
    prices: Mapping[str, Prices],
    most_keys: int | None,
) -> Choice:
    """The best known way to run a fragment. most_keys None: keys stay, so all of them may come."""
    return _chosen(one, _Known(fragments, ended, prices), most_keys, (one.name,))


@dataclass(frozen=True, slots=True)
class _Known:
    """What a choice is made by."""

    fragments: Mapping[str, PlannedFragment]
    ended: Ended
    prices: Mapping[str, Prices]


@dataclass(frozen=True, slots=True)
class _Expected:
    """Of a provider, as the choice for itself would have it: its rows, milliseconds to wait."""

    rows: float
    waited: float


def _chosen(
    one: PlannedFragment, known: _Known, most_keys: int | None, asking: tuple[str, ...]
) -> Choice:
    """The choice for a fragment. asking: itself, and before it those that would wait for it."""
    own, ended = known.prices[one.name], known.ended
    plain = own.of(one.rows)
    best = Choice(frozenset(), (), one.rows, plain, plain, late=plain)
    # What the merge reads itself it reads when all others have ended, unless it becomes a table.
    lost, worth, floor = _WAITING, _WORTH, 0.0
    if one.in_place is not None:
        lost, worth, floor = 0.0, _WORTH_A_TABLE, own.statement
    bounded = _bounded(one, known, asking)
    if bounded.values:
        alone = own.of(bounded.rows)
        best = Choice(
            bounded.providers(ended.rows), (), bounded.rows, plain, alone + lost * bounded.waited,
            late=alone + bounded.waited, values=bounded.values,
        )
    slots = one.keyed.slots if one.keyed is not None else ()
    # Whoever would wait for this one gives it nothing.
    providers = {slot.provider for slot in slots} - set(asking)
    expected = {name: _expected(name, known, asking) for name in providers}
    counts = {
        slot: _keys(slot, expected[slot.provider], ended)
        for slot in slots if slot.provider in providers
    }  # fmt: skip
    gives = one.in_place is None and _gives(one.name, known.fragments)
    sent, waited = 0.0, bounded.waited
    for slot in sorted(counts, key=lambda each: counts[each]):
        keys = counts[slot]
        counted = ended.keys.get((slot.provider, slot.column))
        cost = partial(_cost, own, best.rows)
        kept, is_range = _kept(slot, keys, counted, most_keys, cost)
        more = 0.0 if is_range else keys
        is_known = slot.provider in ended.rows
        longest = max(waited, expected[slot.provider].waited)
        rows = best.rows * kept
        alone = own.of(rows, sent + more)
        keyed = alone + lost * longest
        is_cheap = gives and kept < _FEWER and max(plain, keyed) < _LITTLE
        if is_cheap or keyed - floor < (best.keyed - floor) * worth:
            sent, waited = sent + more, longest
            waits = best.waits if is_known else best.waits | {slot.provider}
            ranges = best.ranges | {slot} if is_range else best.ranges
            slots = (*best.slots, slot)
            best = Choice(
                waits, slots, rows, plain, keyed, ranges, alone + longest, bounded.values
            )
    return _late(one, known, asking, best)


def _late(
    one: PlannedFragment, known: _Known, asking: tuple[str, ...], best: Choice
) -> Choice:
    """The best choice, or to wait for the keys of the first rows."""
    slot = one.keyed.late if one.keyed is not None and one.in_place is None else None
    if slot is None or set(slot.providers) & set(asking):
        return best
    own, ended = known.prices[one.name], known.ended
    expected = [_expected(name, known, asking) for name in slot.providers]
    waited = max(each.waited for each in expected)
    alone = late_cost(slot, own.of, sum(each.rows for each in expected))
    keyed = alone + _WAITING * waited
    if keyed >= best.keyed * _WORTH:
        return best
    waits = frozenset(slot.providers) - set(ended.rows)
    # The rest is how it is fetched where these keys are not enough.
    return replace(
        best, waits=waits, rows=float(slot.taken), keyed=keyed, late=alone + waited, first=slot
    )


def _bounded(one: PlannedFragment, known: _Known, asking: tuple[str, ...]) -> Awaited:
    """The values that are worth waiting for; what the merge reads itself it filters itself."""
    own = known.prices[one.name]
    slots = one.keyed.values if one.keyed is not None and one.in_place is None else ()
    free = [slot for slot in slots if not set(slot.providers) & set(asking)]

    def waits(name: str) -> float:
        if name in known.ended.rows:
            return 0.0
        return _expected(name, known, asking).waited + read_for(known.fragments[name])

    return awaited(free, one.rows, waits, Costs(own.of, _WAITING, _WORTH))


def _gives(name: str, fragments: Mapping[str, PlannedFragment]) -> bool:
    """Whether somebody who has not started could take keys of a fragment."""
    return any(
        slot.provider == name
        for each in fragments.values() if each.keyed is not None
        for slot in each.keyed.slots
    )  # fmt: skip


def offers(
    one: PlannedFragment, fragments: Mapping[str, PlannedFragment], prices: Mapping[str, Prices]
) -> Iterator[Offer]:
    """What each slot of a fragment would give by itself, before anything has run."""
    known = _Known(fragments, Ended(), prices)
    for slot in one.keyed.slots if one.keyed is not None else ():
        if slot.provider == one.name:
            continue
        provider = _expected(slot.provider, known, (one.name,))
        keys = _keys(slot, provider, known.ended)
        rows = one.rows * min(1.0, keys * slot.share)
        keyed = prices[one.name].of(rows, keys) + _WAITING * provider.waited
        yield Offer(slot, keys, rows, keyed)


def _kept(
    slot: KeySlot,
    keys: float,
    counted: Keys | None,
    most_keys: int | None,
    cost: Callable[[float, float], float],
) -> tuple[float, bool]:
    """What share of the rows a slot keeps, and whether by the range of its keys alone.

    `cost` is that of a share of the rows and so many keys.
    """
    by_keys = min(1.0, keys * slot.share)
    if most_keys is None:
        return by_keys, False
    by_range = kept_by_range(slot, counted)
    if keys > most_keys:
        return by_range, True
    is_range = by_range < 1.0 and cost(by_range, 0.0) < cost(by_keys, keys)
    return (by_range, True) if is_range else (by_keys, False)


def _cost(own: Prices, rows: float, kept: float, keys: float) -> float:
    return own.of(rows * kept, keys)


def kept_by_range(slot: KeySlot, keys: Keys | None) -> float:
    """What share of the rows lies between the lowest and the highest key; 1 if nobody can tell."""
    told = slot.range
    if told is None:
        return 1.0
    if keys is None:
        return 1.0 if told.kept is None else told.kept
    if keys.low is None or keys.high is None:
        return 1.0
    low, high = _number(keys.low), _number(keys.high)
    # As many values lie between as there is room for, and each keeps its share.
    kept = min(1.0, (high - low + 1) * slot.share)
    if told.low is not None and told.high is not None:
        kept = min(kept, overlap((told.low, told.high), (low, high)))
    return kept


def _number(value: int | date) -> float:
    return float((value - _DAY_ZERO).days if isinstance(value, date) else value)


def next_ones(
    waiting: Mapping[str, Choice], running: frozenset[str]
) -> tuple[str, ...]:
    """Which fragments start now: those that wait for none; if nobody runs, the least one does."""
    ready = tuple(name for name, choice in waiting.items() if not choice.waits)
    if ready or running or not waiting:
        return ready
    return (min(waiting, key=lambda name: (waiting[name].plain, name)),)


def _expected(name: str, known: _Known, asking: tuple[str, ...]) -> _Expected:
    """What a provider will give, narrowed itself where that is worth it, and how late."""
    if name in known.ended.rows:
        return _Expected(float(known.ended.rows[name]), 0.0)
    provider = known.fragments[name]
    if len(asking) == _DEEPEST:
        return _Expected(provider.rows, known.prices[name].of(provider.rows))
    made = _chosen(provider, known, None, (*asking, name))
    return _Expected(made.rows, made.late)


def _keys(slot: KeySlot, provider: _Expected, ended: Ended) -> float:
    """How many keys a provider is expected to have, as far as is known."""
    counted = ended.keys.get((slot.provider, slot.column))
    if counted is not None:
        return float(counted.values)
    if slot.values is None:
        return provider.rows
    # As many of all values as so many rows hit that do not know of each other.
    return min(provider.rows, -slot.values * expm1(-provider.rows / max(slot.values, 1.0)))
