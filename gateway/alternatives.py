"""What a plan chose for each fragment, and what it did not.

Takes: a plan, prices of the sources. Gives: questions with their options: keys or whole, and of
whom; joined, aggregated and cut at the source or in the merge; read in place or fetched. Estimates
are those that planning used. Never decides, never says who may see them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from gateway.choosing import IN_PLACE, Ended, Prices, choose, offers, price_of
from gateway.draft import Note, Plan, PlannedFragment
from gateway.links import LinkCosts

_ABOUT = {
    "block": ("block", "at the source", "in the merge"),
    "join": ("join", "at the source", "in the merge"),
    "aggregate": ("aggregate", "at the source", "in the merge"),
    "limit": ("first rows", "at the source", "in the merge"),
}


@dataclass(frozen=True, slots=True)
class Option:
    """One way: what would have to travel, and how long it was expected to take.

    of: the fragments whose expected rows it rests on. reason: why it could not be had.
    """

    what: str
    is_chosen: bool
    rows: float | None = None
    milliseconds: float | None = None
    keys: float | None = None
    of: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What was to be chosen, with the options; the chosen one first."""

    about: str
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Priced:
    """What the sources of a plan cost.

    prices, most_keys: of a source, by its identity; what runs have taught, else what it declares.
    can_read_in_place: whether the merge could read a source's rows where they lie.
    """

    prices: Callable[[str], Prices]
    most_keys: Callable[[str], int]
    can_read_in_place: Callable[[str], bool]
    link_costs: LinkCosts


@dataclass(frozen=True, slots=True)
class Weighed:
    """A fragment's questions, and what is expected of it: as it was chosen, and without keys."""

    rows: float
    milliseconds: float
    whole_rows: float
    whole_milliseconds: float
    questions: tuple[Question, ...]


def weigh(plan: Plan, priced: Priced) -> Mapping[str, Weighed]:
    """What was weighed for each fragment, by its name."""
    fragments = {one.name: one for one in plan.fragments}
    prices = {
        name: price_of(one, priced.prices(one.source), priced.link_costs.of(one.source))
        for name, one in fragments.items()
    }
    return {name: _weighed(one, fragments, prices, priced) for name, one in fragments.items()}


def _weighed(
    one: PlannedFragment,
    fragments: Mapping[str, PlannedFragment],
    prices: Mapping[str, Prices],
    priced: Priced,
) -> Weighed:
    most = priced.most_keys(one.source) if one.in_place is None else None
    choice = choose(one, fragments, Ended(), prices, most)
    questions = list(_of_keys(one, fragments, prices, most))
    questions += _of_notes(one, prices[one.name])
    questions += _of_place(one, priced)
    return Weighed(choice.rows, choice.keyed, one.rows, choice.plain, tuple(questions))


def _of_keys(
    one: PlannedFragment,
    fragments: Mapping[str, PlannedFragment],
    prices: Mapping[str, Prices],
    most: int | None,
) -> Iterator[Question]:
    """Whole, or narrowed by keys of each of the others that could."""
    choice = choose(one, fragments, Ended(), prices, most)
    chosen = {(slot.provider, slot.column, slot.target) for slot in choice.slots}
    is_whole = not (chosen or choice.values or choice.first)
    options = [Option("whole", is_whole, one.rows, choice.plain, of=(one.name,))]
    options += [
        Option(
            f"{slot.target} by the value of {', '.join(slot.providers)}", slot in choice.values,
            one.rows * slot.share, prices[one.name].of(one.rows * slot.share),
            of=(one.name, *slot.providers),
        )
        for slot in (one.keyed.values if one.keyed is not None else ())
    ]  # fmt: skip
    late = one.keyed.late if one.keyed is not None else None
    if late is not None:
        options.append(Option(
            f"{late.target} of the first {late.taken}", choice.first is not None,
            float(late.taken), None, of=(one.name, *late.providers),
        ))  # fmt: skip
    for offer in offers(one, fragments, prices):
        slot = offer.slot
        options.append(Option(
            f"{slot.target} by keys of {slot.provider}.{slot.column}",
            (slot.provider, slot.column, slot.target) in chosen, offer.rows, offer.keyed,
            offer.keys, (one.name, slot.provider),
            "too_many_keys" if most is not None and offer.keys > most else "",
        ))  # fmt: skip
    stayed = [note for note in one.notes if note.kind == "keys" and note.outcome == "stayed"]
    options += [Option(note.part, False, reason=note.reason) for note in stayed]
    if len(options) > 1:
        yield Question("keys", _chosen_first(options))


def _of_notes(one: PlannedFragment, prices: Prices) -> Iterator[Question]:
    """What went down as a whole, and what did not."""
    seen: set[str] = set()
    for note in one.notes:
        if note.kind not in _ABOUT or note.kind in seen:
            continue
        seen.add(note.kind)
        about, down, up = _ABOUT[note.kind]
        yield Question(about, _chosen_first(list(_either(one, note, prices, (down, up)))))


def _either(
    one: PlannedFragment, note: Note, prices: Prices, words: tuple[str, str]
) -> Iterator[Option]:
    down, up = words
    if note.outcome != "pushed":
        yield Option(down, False, reason=note.reason)
        yield Option(up, True, one.rows, prices.of(one.rows), of=(one.name,))
        return
    yield Option(down, True, one.rows, prices.of(one.rows), of=(one.name,))
    if one.apart:
        rows = sum(each for _, each in one.apart)
        spent = sum(prices.of(each) for _, each in one.apart)
        yield Option(up, False, rows, spent, of=(one.name,))
    else:
        yield Option(up, False)


def _of_place(one: PlannedFragment, priced: Priced) -> Iterator[Question]:
    """Whether the merge reads the rows where they lie."""
    if not priced.can_read_in_place(one.source):
        return
    away = replace(one, in_place=None)
    cost = priced.link_costs.of(one.source)
    fetched = price_of(away, priced.prices(one.source), cost).of(one.rows)
    if one.in_place is None:
        yield Question("place", (
            Option("fetched", True, one.rows, fetched, of=(one.name,)),
            Option("in place", False, reason="restricted"),
        ))  # fmt: skip
        return
    near = IN_PLACE.of(one.rows)
    yield Question("place", (
        Option("in place", True, one.rows, near, of=(one.name,)),
        Option("fetched", False, one.rows, fetched, of=(one.name,)),
    ))  # fmt: skip


def _chosen_first(options: list[Option]) -> tuple[Option, ...]:
    return tuple(sorted(options, key=lambda one: not one.is_chosen))
