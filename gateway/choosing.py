"""What a fragment waits for, and whose keys it takes.

Takes: fragments with their expected or counted rows, prices. Gives: for one fragment the slots
that are worth their keys, and which fragments have to end before that is known. Pure: it is asked
again whenever a fragment has ended, with what was counted (DESIGN 6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.draft import KeySlot, PlannedFragment

_DEFAULT = {"statement": 1.0, "row": 1.0, "key": 1.0, "byte": 0.0}
_WIDTHS = {
    "BOOLEAN": 1, "TINYINT": 1, "SMALLINT": 2, "INTEGER": 4, "DATE": 4, "FLOAT": 4, "BIGINT": 8,
    "DOUBLE": 8, "TIME": 8, "TIMESTAMP": 8,
}  # fmt: skip
_TEXT_WIDTH = 24
# Where rows are dear, they travel far.
_DEAR = 20.0
# Less than this share of the cost is not worth waiting for.
_WORTH = 0.75
# Of what a fragment waits for others, how much counts as lost: they run side by side otherwise.
_WAITING = 0.3


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
        return Prices(self.statement, row * (_DEAR if link_cost == "dear" else 1.0), self.key)


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


def declared(given: Mapping[str, float]) -> Prices:
    """The prices that a kind of source declares."""
    found = {**_DEFAULT, **given}
    return Prices(found["statement"], found["row"], found["key"], found["byte"])


# A merge that reads files itself pays little for a row, and nothing to send keys.
IN_PLACE = Prices(statement=1.0, row=0.03, key=0.02)


def width_of(columns: Iterable[tuple[str, str]]) -> float:
    """About how many bytes a row of these columns has."""
    return sum(_WIDTHS.get(kind, _TEXT_WIDTH if kind == "VARCHAR" else 16) for _, kind in columns)


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
