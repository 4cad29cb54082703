"""The inputs of a merge come into its session.

Takes: a plan, its `Run`, the fetching of its fragments. Gives: tables and views in the merge
session, all fragments side by side. A policy that the gateway applies is a statement of its own.
Never lets the merge read files of a table that is restricted for the caller.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pyarrow as pa

from connectors.base import ConnectorError, FragmentColumn, InPlace, arrow_schema
from connectors.file_states import changed
from gateway.choosing import (
    IN_PLACE,
    Choice,
    Ended,
    Keys,
    Prices,
    choose,
    declared,
    kept_by_range,
    next_ones,
    price_of,
)
from gateway.constants import literal_text
from gateway.differencing import Atom
from gateway.draft import KeySlot, LateSlot, PartSlot, Plan, PlannedFragment, ValueSlot
from gateway.engines.base import MergeSession
from gateway.engines.describing import quoted
from gateway.errors import InternalError, SqluiceError
from gateway.fetching import Fetching, Narrowed, raw_schema, source_error
from gateway.first_rows import are_enough, with_first_keys
from gateway.groups import GroupStatements
from gateway.outwards import Bounds
from gateway.pseudonyms import with_pseudonyms
from gateway.result import Took
from gateway.run import Run
from gateway.side_by_side import closing_batches
from gateway.valuing import bounded_text, bounds_of

# Rows of files that are worth a table of their own when others take keys of them.
_MATERIALISED = 500_000
# To take keys of a larger view is to read it, for nobody knows how many: worth it only for a
# fragment that takes so many times as long.
_WORTH_A_READING = 10
# Seconds after which those that wait are looked at again.
_PATIENCE = 0.05
# A range that keeps more of the rows is not worth a predicate.
_NARROW = 0.75


class Loading:
    """All inputs of one execution."""

    def __init__(self, plan: Plan, run: Run, fetching: Fetching) -> None:
        self._plan = plan
        self._run = run
        self._fetching = fetching
        self._in_place: dict[str, InPlace] = {}
        self._fragments = {one.name: one for one in plan.fragments}
        self._waiting = dict(self._fragments)
        self._ended = Ended()
        self._views: set[str] = set()
        self._prices = {one.name: self._price(one) for one in plan.fragments}

    def _price(self, one: PlannedFragment) -> Prices:
        price = self._run.prices(one.source)
        if price is None:
            abilities = self._run.abilities(one.source)
            price = declared(abilities.prices if abilities is not None else {})
        return price_of(one, price, self._run.link_costs.of(one.source))

    def _most_keys(self, source: str) -> int:
        abilities = self._run.abilities(source)
        return abilities.maximum_keys if abilities is not None else 0

    def folders(self) -> tuple[str, ...]:
        """The folders whose files the session has to read itself."""
        names = {one.name for one in self._plan.fragments}
        taken: dict[str, str] = {}
        for one in self._plan.fragments:
            # What a policy says does not depend on the caller's time zone.
            if one.in_place is None or not (one.in_place.is_view or self._run.timezone == "UTC"):
                continue
            found = self._fetching.in_place(one)
            # Two sources may call different files by one name, which then means the first.
            views = dict(found.views)
            if all(taken.get(name, sql) == sql for name, sql in views.items()) and not (
                names & set(views)
            ):
                taken |= views
                self._in_place[one.name] = found
        return tuple(sorted({one.folder for one in self._in_place.values()}))

    def load(self, session: MergeSession, cancel: Callable[[SqluiceError], None]) -> None:
        """All fragments, side by side but for those that take keys; a failure stops the others."""
        if not self._plan.fragments:
            return
        with ThreadPoolExecutor(len(self._plan.fragments)) as pool:
            failure = self._load_all(session, pool)
            if failure is not None:
                cancel(failure)
        if failure is not None:
            raise self._fetching.reason or failure

    def _load_all(self, session: MergeSession, pool: ThreadPoolExecutor) -> SqluiceError | None:
        """Start what waits for nobody; whoever ends tells the others how many rows there are."""
        waiting = self._waiting
        running: dict[Future[Ended], str] = {}
        while waiting or running:
            self._expect_no_less(running.values())
            choices = {name: self._choice(one, self._ended) for name, one in waiting.items()}
            for name in next_ones(choices, frozenset(running.values())):
                one, choice = waiting.pop(name), choices[name]
                # Whoever may wait for it knows from now on how it runs.
                self._fragments[name] = replace(one, rows=choice.rows, keyed=None)
                task = pool.submit(self._load, session, one, choice, self._ended)
                running[task] = name
            # Who waits is asked again while others bring more than was expected of them.
            patience = _PATIENCE if waiting else None
            done, _ = wait(running, patience, return_when=FIRST_COMPLETED)
            failure = _failure(done)
            if failure is not None:
                return failure
            for task in done:
                running.pop(task)
                self._ended = _both(self._ended, task.result())
                self._spare_views(task.result().rows)
            # The merge is one more step.
            self._run.on_step(len(self._ended.rows) / (len(self._fragments) + 1))
        return None

    def _spare_views(self, ended: Iterable[str]) -> None:
        """A view that has ended gives no keys to who is fetched sooner than it would be read."""
        for view in self._views.intersection(ended):
            for name, one in list(self._waiting.items()):
                spared = sparing(self._fragments[view], one, self._prices[name])
                self._waiting[name] = self._fragments[name] = spared

    def _expect_no_less(self, running: Iterable[str]) -> None:
        """What has come already of fragments that run; not where a policy still leaves rows out."""
        for name in running:
            one, come = self._fragments[name], self._fetching.fetched.get(name, 0)
            if come > one.rows and one.gate is None and one.groups is None:
                self._fragments[name] = replace(one, rows=float(come))

    def _choice(self, one: PlannedFragment, ended: Ended) -> Choice:
        most = self._most_keys(one.source) if one.name not in self._in_place else None
        return choose(one, self._fragments, ended, self._prices, most)

    def _load(
        self, session: MergeSession, one: PlannedFragment, choice: Choice, ended: Ended
    ) -> Ended:
        """One fragment, by what had ended when it was chosen; gives its rows and keys."""
        slots = tuple(slot for slot in choice.slots if slot.provider in ended.rows)
        bounds = self._bounds(session, choice, ended)
        narrowing = Narrowing(slots, choice.ranges, ended.keys, bounds)
        rows = self._loaded_first(session, one, choice.first, ended)
        if rows is None:
            rows = self._loaded(session, one, narrowing)
        is_view = one.name in self._views
        keys = {} if is_view else {
            (one.name, column): Keys(*session.span(one.name, column, kind))
            for column, kind in self._asked_of(one.name).items()
        }  # fmt: skip
        return Ended({one.name: rows}, keys)

    def _loaded_first(
        self, session: MergeSession, one: PlannedFragment, slot: LateSlot | None, ended: Ended
    ) -> int | None:
        """One fragment by the keys of the first rows; None where it has to be fetched otherwise."""
        if slot is None or not set(slot.providers) <= set(ended.rows):
            return None
        given, most = self._run.parameters, self._most_keys(one.source)
        sent = with_first_keys(one, slot, session, given, most)
        if sent is None:
            return None
        with closing_batches(self._fetching.batches(one, sent)) as batches:
            session.load(slot.fetched, raw_schema(one), batches)
        if not are_enough(slot, session, given):
            return None
        rows = session.stream(f"SELECT * FROM {quoted(slot.fetched)}", (), {})
        with closing_batches(rows) as batches:
            session.load(one.name, raw_schema(one), batches)
        return session.count(one.name)

    def _bounds(
        self, session: MergeSession, choice: Choice, ended: Ended
    ) -> Mapping[ValueSlot, Bounds]:
        """What the values of sub-queries leave of columns, where that is known."""
        found = {
            slot: bounds_of(slot, session, self._run.parameters)
            for slot in choice.values
            if set(slot.providers) <= set(ended.rows)
        }
        return {slot: made for slot, made in found.items() if made is not None}

    def _asked_of(self, provider: str) -> Mapping[str, str | None]:
        """Columns of a fragment whose keys those who wait could take; the type of a range."""
        slots = [
            slot
            for one in list(self._waiting.values())
            for slot in (one.keyed.slots if one.keyed is not None else ())
            if slot.provider == provider
        ]
        ranges = {slot.column: slot.range.type for slot in slots if slot.range is not None}
        return {slot.column: ranges.get(slot.column) for slot in slots}

    def _loaded(
        self, session: MergeSession, one: PlannedFragment, narrowing: Narrowing
    ) -> int:
        """One fragment; gives how many rows it has in the merge."""
        slots = narrowing.slots
        if one.name in self._in_place and self._read_in_place(session, one, slots):
            return self._rows_in_place(session, one, bool(slots))
        sent = with_keys_of(one, narrowing, session, self._most_keys(one.source))
        with closing_batches(self._fetching.batches(one, sent)) as raw:
            schema, batches = raw_schema(one), raw
            if one.pseudonyms:
                schema, batches = with_pseudonyms(
                    schema, batches, one.pseudonyms, self._run.key_of
                )
            name = one.name if one.groups is None else one.groups.rows
            if one.gate is None:
                session.load(name, schema, batches)
            else:
                misfits = session.load_gated(name, one.gate, schema, batches)
                if misfits:
                    failure = ConnectorError(f"{misfits} rows hold values that do not fit")
                    raise source_error(failure, one)
        if sent is not None:
            self._fetching.took[one.name].ranges = sent.ranges
        if one.groups is not None:
            self._load_groups(session, one, one.groups)
        rows = session.count(one.name)
        if sent is None:
            self._fetching.kept[one.name] = rows
        return rows

    def _rows_in_place(self, session: MergeSession, one: PlannedFragment, is_keyed: bool) -> int:
        """A table is counted, a view only expected: to count it would be to read it."""
        assert one.in_place is not None
        is_view = one.in_place.is_view and not (is_keyed or self._is_table(one))
        if is_view:
            self._views.add(one.name)
            return int(one.rows)
        rows = session.count(one.name)
        if not is_keyed:
            self._fetching.kept[one.name] = rows
        return rows

    def _is_table(self, one: PlannedFragment) -> bool:
        """Whether it is read at once, beside what is fetched, and not when the merge needs it."""
        is_beside = any(each.name not in self._in_place for each in self._plan.fragments)
        return self._gives_keys(one) or (is_beside and leaves_little(one))

    def _gives_keys(self, one: PlannedFragment) -> bool:
        """Whether somebody else is likely to take keys of it, so that it had better be a table."""
        if one.rows > _MATERIALISED:
            return False
        others = [each for each in self._plan.fragments if each.keyed is not None]
        return any(
            slot.provider == one.name
            for each in others
            if each.name not in self._in_place
            for slot in self._choice(each, Ended()).slots
        ) or any(
            one.name in slot.providers
            for each in others
            for slot in self._choice(each, Ended()).values
        )

    def _read_in_place(
        self, session: MergeSession, one: PlannedFragment, slots: tuple[KeySlot, ...]
    ) -> bool:
        """Whether the session could be let to read the files in exactly the fragment's types."""
        assert one.in_place is not None
        sql = in_place_sql(one, slots)
        if sql is None:
            return False
        views = self._in_place[one.name].views
        is_view = one.in_place.is_view and not (slots or self._is_table(one))
        began = time.perf_counter()
        try:
            could = session.read_in_place(one.name, sql, views, one.columns, is_view)
        except ConnectorError as error:
            raise self._fetching.reason or source_error(error, one) from None
        if could:
            keys_of = tuple(dict.fromkeys(slot.provider for slot in slots))
            spent = time.perf_counter() - began
            took = Took(seconds=spent, keys_of=keys_of, is_in_place=True)
            self._fetching.took[one.name] = took
        return could

    def see_to_files(self) -> None:
        """An error where files that the merge reads are not what they were before."""
        for one in self._plan.fragments:
            held = self._in_place.get(one.name)
            problem = changed(held.states) if held is not None else None
            if problem is not None:
                raise self._fetching.reason or source_error(ConnectorError(problem), one)

    def unreadable(self, error: ConnectorError) -> SqluiceError:
        """The error of files that the merge reads itself, as a caller may see it."""
        first = next(one for one in self._plan.fragments if one.name in self._in_place)
        return self._fetching.reason or source_error(error, first)

    def _load_groups(
        self, session: MergeSession, one: PlannedFragment, groups: GroupStatements
    ) -> None:
        """Of the rows only groups that are large enough, once the guard has admitted them."""
        keys = [pair for pair in one.columns if pair[0] in groups.keys]
        session.load(
            groups.audience,
            _schema_of([*keys, ("number", "BIGINT")]),
            session.stream(groups.audience_sql, groups.values, {}),
        )
        atoms = session.stream(groups.atoms_sql, groups.values, {})
        if self._run.admit is None:
            raise InternalError("No guard knows what was answered before.")
        self._run.admit(one, _atoms(atoms))
        answer = session.stream(groups.answer_sql, groups.values, {})
        session.load(one.name, _schema_of(one.columns), answer)


def in_place_sql(one: PlannedFragment, slots: tuple[KeySlot, ...] = ()) -> str | None:
    """The fragment's SQL with its values as literals; None where one has no certain literal.

    Keys are read where they lie: in the merge's own table of their provider.
    """
    assert one.in_place is not None
    texts: list[str] = []
    for piece in one.in_place.pieces:
        if isinstance(piece, str):
            texts.append(piece)
        elif isinstance(piece, KeySlot):
            texts.append(_among(piece) if piece in slots else "TRUE")
        elif isinstance(piece, ValueSlot | LateSlot | PartSlot):
            # The merge applies it while it reads.
            texts.append("TRUE")
        else:
            fragment = one.fragment
            kind = fragment.parameter_types[piece - 1]
            made = literal_text(fragment.parameters[piece - 1], kind)
            if made is None:
                return None
            texts.append(made)
    return "".join(texts)


def leaves_little(one: PlannedFragment) -> bool:
    """Whether a block over files makes few rows of many, so that to keep them costs nothing."""
    read = sum(rows for _, rows in one.apart)
    return one.rows <= _MATERIALISED and one.rows * _WORTH_A_READING <= read


def sparing(view: PlannedFragment, one: PlannedFragment, prices: Prices) -> PlannedFragment:
    """The fragment without places for keys of a view, where they are not worth a reading of it."""
    if one.keyed is None or prices.of(one.rows) >= _WORTH_A_READING * IN_PLACE.of(view.rows):
        return one
    pieces = (
        "TRUE" if isinstance(piece, KeySlot) and piece.provider == view.name else piece
        for piece in one.keyed.pieces
    )
    return replace(one, keyed=replace(one.keyed, pieces=tuple(pieces)))


def _among(slot: KeySlot) -> str:
    provider, column = quoted(slot.provider), quoted(slot.column)
    return f"{quoted(slot.physical)} IN (SELECT {column} FROM {provider})"


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What narrows a fragment: slots to be filled, which of them by a range, the known keys.

    values: what sub-queries leave of its columns.
    """

    slots: tuple[KeySlot, ...]
    ranges: frozenset[KeySlot] = frozenset()
    keys: Mapping[tuple[str, str], Keys] = field(default_factory=lambda: MappingProxyType({}))
    values: Mapping[ValueSlot, Bounds] = field(default_factory=lambda: MappingProxyType({}))


def with_keys_of(
    one: PlannedFragment, narrowing: Narrowing, session: MergeSession, most: int
) -> Narrowed | None:
    """The fragment narrowed by what is in tables of the session; None where nothing narrows it."""
    if one.keyed is None or not (narrowing.slots or narrowing.values):
        return None
    filled: dict[KeySlot, tuple[int, ...]] = {}
    values, kinds = list(one.fragment.parameters), list(one.fragment.parameter_types)
    bounded: dict[ValueSlot, str] = {}
    for place, made in narrowing.values.items():
        bounded[place], more = bounded_text(place, made, one.keyed.mark, len(values))
        values += more
        kinds += [place.type] * len(more)
    for slot in narrowing.slots:
        kind = slot.type.removesuffix("[]")
        keys = None
        if slot not in narrowing.ranges:
            keys = session.keys(slot.provider, slot.column, kind, most)
        if keys is not None:
            values.append(keys)
            kinds.append(slot.type)
            filled[slot] = (len(values),)
            continue
        ends = _ends(slot, narrowing.keys.get((slot.provider, slot.column)))
        if slot.range is not None and ends:
            values += ends
            kinds += [slot.range.type] * 2
            filled[slot] = (len(values) - 1, len(values))
    if not filled and not bounded:
        return None
    texts = [
        bounded.get(piece, "TRUE") if isinstance(piece, ValueSlot)
        else _piece(piece, one.keyed.mark, filled)
        for piece in one.keyed.pieces
    ]  # fmt: skip
    fragment = replace(
        one.fragment, sql="".join(texts), parameters=tuple(values), parameter_types=tuple(kinds),
        expected_rows=None, ranged="",
    )
    of_values = [name for place in bounded for name in place.providers]
    keys_of = dict.fromkeys([*(slot.provider for slot in filled), *of_values])
    ranges = sum(len(numbers) > 1 for numbers in filled.values()) + len(bounded)
    return Narrowed(fragment, tuple(keys_of), ranges)


def _ends(slot: KeySlot, keys: Keys | None) -> tuple[object, ...]:
    """The lowest and the highest key, where what lies between is not nearly everything."""
    if keys is None or kept_by_range(slot, keys) > _NARROW:
        return ()
    if keys.low is None or keys.high is None:
        return ()
    return keys.low, keys.high


def _piece(
    piece: str | int | KeySlot | LateSlot | PartSlot,
    mark: str,
    filled: Mapping[KeySlot, tuple[int, ...]],
) -> str:
    if isinstance(piece, str):
        return piece
    if isinstance(piece, int):
        return f"{mark}{piece}"
    if isinstance(piece, LateSlot | PartSlot):
        return "TRUE"
    match filled.get(piece):
        case (number,):
            return f"{piece.before}{mark}{number}{piece.after}"
        case (low, high) if piece.range is not None:
            told = piece.range
            return f"{told.before}{mark}{low}{told.between}{mark}{high}{told.after}"
        case _:
            return "TRUE"


def _both(before: Ended, more: Ended) -> Ended:
    return Ended({**before.rows, **more.rows}, {**before.keys, **more.keys})


def _failure(tasks: set[Future[Ended]]) -> SqluiceError | None:
    for task in tasks:
        error = task.exception()
        if isinstance(error, SqluiceError):
            return error
        if error is not None:
            raise error
    return None


def _schema_of(columns: Sequence[tuple[str, str]]) -> pa.Schema:
    return arrow_schema([FragmentColumn(name, kind) for name, kind in columns])


def _atoms(batches: Iterator[pa.RecordBatch]) -> Iterator[Atom]:
    for batch in batches:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
