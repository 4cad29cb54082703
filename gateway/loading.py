"""The inputs of a merge come into its session.

Takes: a plan, its `Run`, the fetching of its fragments. Gives: tables and views in the merge
session, all fragments side by side. A policy that the gateway applies is a statement of its own.
Never lets the merge read files of a table that is restricted for the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

import pyarrow as pa

from connectors.base import ConnectorError, FragmentColumn, InPlace, arrow_schema
from gateway.constants import literal_text
from gateway.differencing import Atom
from gateway.draft import Plan, PlannedFragment
from gateway.engines.base import MergeSession
from gateway.errors import InternalError, SqluiceError
from gateway.fetching import Fetching, closing_batches, raw_schema, source_error
from gateway.groups import GroupStatements
from gateway.pseudonyms import with_pseudonyms
from gateway.run import Run


class Loading:
    """All inputs of one execution."""

    def __init__(self, plan: Plan, run: Run, fetching: Fetching) -> None:
        self._plan = plan
        self._run = run
        self._fetching = fetching
        self._in_place: dict[str, InPlace] = {}

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
        """All fragments side by side; the first that fails stops the others."""
        if not self._plan.fragments:
            return
        with ThreadPoolExecutor(len(self._plan.fragments)) as pool:
            tasks = [pool.submit(self._load, session, one) for one in self._plan.fragments]
            done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
            failure = _failure(done)
            if failure is not None:
                cancel(failure)
        if failure is not None:
            raise self._fetching.reason or failure

    def _load(self, session: MergeSession, one: PlannedFragment) -> None:
        if one.name in self._in_place and self._read_in_place(session, one):
            return
        with closing_batches(self._fetching.batches(one)) as raw:
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
        if one.groups is not None:
            self._load_groups(session, one, one.groups)

    def _read_in_place(self, session: MergeSession, one: PlannedFragment) -> bool:
        """Whether the session could be let to read the files in exactly the fragment's types."""
        assert one.in_place is not None
        sql = in_place_sql(one)
        if sql is None:
            return False
        views = self._in_place[one.name].views
        try:
            return session.read_in_place(one.name, sql, views, one.columns, one.in_place.is_view)
        except ConnectorError as error:
            raise self._fetching.reason or source_error(error, one) from error

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


def in_place_sql(one: PlannedFragment) -> str | None:
    """The fragment's SQL with its values as literals; None where one has no certain literal."""
    assert one.in_place is not None
    texts: list[str] = []
    for piece in one.in_place.pieces:
        if isinstance(piece, str):
            texts.append(piece)
            continue
        made = literal_text(
            one.fragment.parameters[piece - 1], one.fragment.parameter_types[piece - 1]
        )
        if made is None:
            return None
        texts.append(made)
    return "".join(texts)


def _failure(tasks: Sequence[Future[None]] | set[Future[None]]) -> SqluiceError | None:
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
