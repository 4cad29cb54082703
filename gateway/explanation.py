"""What one caller may know of a plan and its run: the one place where that is cut down.

Takes: a plan, what was weighed, what a run took, the sources that the caller answers for. Gives: an
`Explanation`, and the same as a document of `explanation.schema.json`. Every form of EXPLAIN is
made of it, so none can tell what another hides. Never holds a policy's literal, a key, a hidden
name, a host, or for others than a source's owner and operators an estimate of it, what was fetched
of it and how long that took (DESIGN 5, barrier rule 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

import sqlglot
from sqlglot import exp

from connectors.base import Abilities
from gateway.alternatives import Question, Weighed
from gateway.draft import KeySlot, Note, Plan, PlannedFragment
from gateway.hints import hint_for, index_hint
from gateway.passes.push_filters import conjuncts
from gateway.reasons import told
from gateway.result import Result
from gateway.trees import DUCKDB

VERSION = 1
_GUESSED = "declare the table's size in its contract, so that planning need not guess it"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the query: what became of it, why, and what the owner could do about it."""

    kind: str
    part: str
    outcome: str
    reason: str
    why: str
    hint: str


@dataclass(frozen=True, slots=True)
class Edge:
    """Keys that may narrow a fragment. hint: for the owner."""

    column: str
    of: str
    of_column: str
    hint: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What was expected of a fragment. basis: `sizes` that were known, or a `guess`."""

    rows: int
    milliseconds: float
    basis: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a question, with its estimates where the caller may know all it rests on.

    chosen: None where that rests on sizes that are not for him.
    """

    what: str
    chosen: bool | None
    rows: int | None
    keys: int | None
    milliseconds: float | None
    reason: str
    why: str


@dataclass(frozen=True, slots=True)
class Decided:
    """A question and its options, the chosen one first."""

    about: str
    options: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a fragment took. `rows` None: the merge read them in place, uncounted."""

    rows: int | None
    bytes: int | None
    milliseconds: float
    keys: int
    keys_of: tuple[str, ...]
    ranges: int
    in_place: bool


@dataclass(frozen=True, slots=True)
class Step:
    """What the gateway does with a fragment's rows before the merge: pseudonym, groups, gate."""

    what: str
    detail: str
    why: str


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment as the caller may see it.

    is_owner: the caller owns its source, or is an operator; estimate, hints, `decided` and `ran`
    are for him alone.
    """

    name: str
    source: str
    tables: tuple[str, ...]
    sql: str
    in_place: str
    parts: tuple[Part, ...]
    keys: tuple[Edge, ...]
    steps: tuple[Step, ...]
    is_owner: bool
    hints: tuple[str, ...] = ()
    estimate: Estimate | None = None
    decided: tuple[Decided, ...] = ()
    ran: Ran | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """What the gateway runs over the fragments. `sql` None: the one fragment is the answer."""

    sql: str | None
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer; `rows` and `bytes` once it has run."""

    columns: tuple[str, ...]
    masked: tuple[str, ...]
    rows: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan as one caller may see it, and its run where there was one."""

    version: int
    analyzed: bool
    settings: Mapping[str, str]
    fragments: tuple[Fragment, ...]
    merge: Merge
    answer: Answer


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: the sources that he owns or operates, and the settings of his session.

    abilities: what a source can do, by its identity.
    """

    sources: frozenset[str]
    settings: Mapping[str, str]
    abilities: Callable[[str], Abilities]


def explanation(
    plan: Plan, weighed: Mapping[str, Weighed], viewer: Viewer, result: Result | None = None
) -> Explanation:
    """What the viewer may know of a plan; `result`: also of its run."""
    source_of = {one.name: one.source for one in plan.fragments}
    seen = frozenset(name for name, source in source_of.items() if source in viewer.sources)
    fragments = tuple(
        _fragment(one, weighed[one.name], seen, result, viewer.abilities(one.source))
        for one in plan.fragments
    )
    answer = Answer(plan.outputs, plan.masked)
    if result is not None:
        answer = Answer(plan.outputs, plan.masked, result.rows, result.bytes)
    return Explanation(
        VERSION, result is not None, viewer.settings, fragments, _merge(plan), answer
    )


def document(one: Explanation) -> dict[str, object]:
    """The same as JSON has it: names in camel case."""
    made = _plain(one)
    assert isinstance(made, dict)
    return made


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {_camel(one.name): _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return dict(value) if isinstance(value, Mapping) else value


def _camel(name: str) -> str:
    first, *others = name.removeprefix("is_").split("_")
    return first + "".join(one.title() for one in others)


def _fragment(
    one: PlannedFragment, weighed: Weighed, seen: frozenset[str], result: Result | None,
    abilities: Abilities,
) -> Fragment:  # fmt: skip
    known = abilities if one.name in seen else None
    place = ""
    if one.in_place is not None:
        place = "view" if one.in_place.is_view else "table"
    slots = one.keyed.slots if one.keyed is not None else ()
    made = Fragment(
        name=one.name,
        source=one.source,
        tables=tuple(str(each) for each in one.tables),
        sql=one.shown,
        in_place=place,
        parts=tuple(_part(each, known) for each in one.notes),
        keys=tuple(_edge(each, one, known) for each in slots),
        steps=tuple(_steps(one)),
        is_owner=known is not None,
    )
    return made if known is None else _with_figures(made, one, weighed, seen, result)


def _with_figures(
    made: Fragment, one: PlannedFragment, weighed: Weighed, seen: frozenset[str],
    result: Result | None,
) -> Fragment:  # fmt: skip
    """The fragment with what is for its owner."""
    is_known = one.fragment.expected_rows is not None
    given = {each.name: getattr(made, each.name) for each in fields(made)}
    return Fragment(**{
        **given,
        "hints": () if is_known else (_GUESSED,),
        "estimate": _estimate(weighed, "sizes" if is_known else "guess", seen),
        "decided": tuple(_decided(each, seen) for each in weighed.questions),
        "ran": None if result is None else _ran(result, one.name),
    })  # fmt: skip


def _estimate(weighed: Weighed, basis: str, seen: frozenset[str]) -> Estimate:
    """As it was chosen; without keys where others' sizes had a say in that."""
    if all(set(each.of) <= seen for one in weighed.questions for each in one.options):
        return Estimate(round(weighed.rows), round(weighed.milliseconds, 3), basis)
    return Estimate(round(weighed.whole_rows), round(weighed.whole_milliseconds, 3), basis)


def _part(note: Note, abilities: Abilities | None = None) -> Part:
    """A part; with a hint where the abilities of its source are given."""
    hint = hint_for(note.reason, note.outcome, abilities) if abilities is not None else ""
    return Part(note.kind, note.part, note.outcome, note.reason, told(note.reason), hint)


def _edge(slot: KeySlot, one: PlannedFragment, abilities: Abilities | None) -> Edge:
    hint, tables = "", one.fragment.tables
    if abilities is not None and one.in_place is None and len(tables) == 1:
        kind = slot.type.removesuffix("[]")
        hint = index_hint(tables[0], slot.physical, kind, abilities)
    return Edge(slot.target, slot.provider, slot.column, hint)


def _steps(one: PlannedFragment) -> Iterator[Step]:
    for each in one.pseudonyms:
        why = "computed by the gateway: raw values travel from the source to it and no further"
        if each.is_hashed:
            why = "hashed at the source under a bound key, as every domain agreed: raw values stay"
        detail = f"pseudonym of {each.source_column} (join group {each.join_group})"
        yield Step("pseudonym", detail, why)
    if one.groups is not None:
        why = f"<{one.groups.rule.policy}>: shows groups only, and none that is about few"
        yield Step("groups", f"keys: {', '.join(sorted(one.groups.keys)) or 'none'}", why)
    if one.gate_shown is not None:
        yield Step("gate", one.gate_shown, "a statement of its own")


def _decided(question: Question, seen: frozenset[str]) -> Decided:
    """What was chosen; where it rests on sources of others, without what that tells of them."""
    is_open = all(set(one.of) <= seen for one in question.options)
    options = []
    for one in question.options:
        may_know = is_open or set(one.of) <= seen
        options.append(Choice(
            one.what,
            one.is_chosen if is_open else None,
            _whole(one.rows) if may_know else None,
            _whole(one.keys) if may_know else None,
            round(one.milliseconds, 3) if may_know and one.milliseconds is not None else None,
            one.reason if may_know else "",
            told(one.reason) if may_know else "",
        ))  # fmt: skip
    return Decided(question.about, tuple(options if is_open else sorted(options, key=_by_name)))


def _by_name(one: Choice) -> str:
    return one.what


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _ran(result: Result, name: str) -> Ran | None:
    took = result.took.get(name)
    if took is None:
        return None
    return Ran(
        rows=None if took.is_in_place else result.fetched.get(name, 0),
        bytes=None if took.is_in_place else took.bytes,
        milliseconds=round(took.seconds * 1000, 3),
        keys=took.keys,
        keys_of=took.keys_of,
        ranges=took.ranges,
        in_place=took.is_in_place,
    )


def _merge(plan: Plan) -> Merge:
    """The merge's SQL, what no table is fetched for, and the predicates that are left to it."""
    parts = [_part(one) for one in plan.notes]
    told_of = {note.part for one in plan.fragments for note in one.notes}
    left = _residual(plan.merge) if plan.merge is not None else ()
    parts += [_part(one) for one in left if one.part not in told_of]
    return Merge(plan.merge, tuple(parts))


def _residual(merge: str) -> Iterator[Note]:
    """The predicates of the merge over more than one input, over queries, or over groups."""
    tree = sqlglot.parse_one(merge, dialect=DUCKDB)
    for holder in tree.find_all(exp.Join, exp.Where, exp.Having, exp.Qualify):
        predicate = holder.args.get("on" if isinstance(holder, exp.Join) else "this")
        for one in conjuncts(predicate) if isinstance(predicate, exp.Expression) else ():
            reason = _left_over(one, holder)
            if reason:
                kind = "join" if reason == "reads_several" else "filter"
                yield Note(one.sql(DUCKDB), "stayed", reason, kind)


def _left_over(one: exp.Expression, holder: exp.Expr) -> str:
    if isinstance(holder, exp.Qualify):
        return "window"
    if isinstance(holder, exp.Having):
        return "reads_groups"
    if one.find(exp.Query):
        return "subquery"
    return "reads_several" if len({each.table for each in one.find_all(exp.Column)}) > 1 else ""
