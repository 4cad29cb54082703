"""Past decisions, computed again from what state recorded (DESIGN 5, rule 13).

Takes: state; a time, a user and a statement, or the id of an audited query. Gives: the decision as
it was, the revision that it rests on, and whether the audit recorded the same. Never asks a
source, never changes anything, and never guesses: what was not recorded is told.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.access import Access, standing_of
from gateway.audit import AuditedQuery, kept_values, request_of
from gateway.audit.reading import earlier_entitled, same_statement
from gateway.errors import InvalidConfig, SourceUnavailable, SqluiceError, Unauthenticated
from gateway.identity import principal_of
from gateway.normalise import cut
from gateway.policies.replay import (
    Replayed,
    Values,
    audited_request,
    recorded_principal,
    replay,
)
from gateway.request import Request
from gateway.restore import snapshot_of
from gateway.snapshot import Snapshot
from gateway.state.audit import statement_hash
from gateway.state.engine import moment_text, reading, writing
from gateway.state.publications import Publication, publication_of, publications
from gateway.state.revisions import files_of, record_revision

EQUAL, DIFFERS, UNKNOWN = "equal", "differs", "unknown"
# Refusals that a decision alone makes; others come from sources, limits and what is counted.
_DECIDED = frozenset({
    "parse_error", "unsupported_sql", "unknown_table", "unknown_column", "ambiguous_name",
    "purpose_required",
})  # fmt: skip
_KEPT_SNAPSHOTS = 8
_NO_VALUES: Values = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement of the past: who asked what, why, from where."""

    user: str
    sql: str
    at: datetime
    purpose: str | None = None
    domain: str | None = None
    dialect: str = "duckdb"
    client: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A past decision. `comparison` is equal, differs or unknown, '' where nothing was audited.

    `why` says more of it. `entitled_at` is when the values of entitlement tables were recorded
    that it uses; '' where it needs none. `request` and `snapshot` are what was decided under which
    policies; None where the statement cannot be read.
    """

    user: str
    at: str
    revision: str
    published_at: str
    replayed: Replayed
    comparison: str = ""
    why: str = ""
    entitled_at: str = ""
    audited: AuditedQuery | None = None
    request: Request | None = None
    snapshot: Snapshot | None = None


@dataclass(frozen=True, slots=True)
class _Then:
    """A revision as it was restored; `is_whole`: its files are those that it was made of."""

    snapshot: Snapshot
    is_whole: bool


@dataclass(slots=True)
class Past:
    """What one state recorded."""

    engine: Engine
    _known: OrderedDict[str, _Then] = field(default_factory=OrderedDict)

    def explain(self, asked: Asked) -> Recomputed:
        """The decision on a statement, as it was at that time."""
        at = moment_text(asked.at)
        published = self._in_force(at)
        then = self._under(published.revision, at, None)
        user = next((one for one in then.snapshot.mesh.users if one.name == asked.user), None)
        if user is None:
            raise Unauthenticated(
                f"There was no user {asked.user!r} then.",
                hint="The identities.yaml of that revision lists the users.",
            )
        principal = replace(principal_of(user), client=asked.client, address=asked.address)
        request = Request(
            sql=asked.sql, principal=principal, now=asked.at, query_id="past",
            purpose=asked.purpose, domain=asked.domain, dialect=asked.dialect,
        )  # fmt: skip
        found = replay(request, then.snapshot)
        entitled_at = ""
        if found.missing:
            values, entitled_at = self._entitled(asked.user, at, found.missing)
            found = replay(request, then.snapshot, values)
        purpose = found.decision.purpose if found.decision is not None else asked.purpose
        hashed = statement_hash(cut(asked.sql, asked.dialect).normalised)
        audited = same_statement(self.engine, asked.user, hashed, purpose, at)
        made = Recomputed(
            asked.user, at, published.revision, published.at, found, entitled_at=entitled_at,
            audited=audited, request=request, snapshot=then.snapshot,
        )  # fmt: skip
        return made if audited is None else _compared(made, audited, then.is_whole)

    def explain_query(self, query_id: str) -> Recomputed:
        """The decision on an audited query, computed again and compared with its record."""
        audited = request_of(self.engine, query_id)
        if audited is None:
            raise InvalidConfig(
                f"The audit has no query {query_id!r}.",
                hint="Its segment may lie in a file by now; `sqluice audit tail` shows ids.",
            )
        then = self._under(audited.revision, audited.at, audited.standing)
        with reading(self.engine) as connection:
            published = publication_of(connection, audited.revision, audited.at)
        principal = recorded_principal(audited, then.snapshot.mesh)
        request = audited_request(audited, principal, datetime.fromisoformat(audited.at))
        values = kept_values(self.engine, audited.entitled) if audited.entitled else _NO_VALUES
        found = Replayed(UNKNOWN)
        if request is not None:
            found = replay(request, then.snapshot, values)
        made = Recomputed(
            audited.user, audited.at, audited.revision, published.at if published else "", found,
            entitled_at=audited.at if audited.entitled else "", audited=audited, request=request,
            snapshot=then.snapshot,
        )  # fmt: skip
        if request is None:
            why = "a literal was redacted that the statement cannot be read without"
            return replace(made, comparison=UNKNOWN, why=why)
        return _compared(made, audited, then.is_whole)

    def _in_force(self, at: str) -> Publication:
        with reading(self.engine) as connection:
            found = publications(connection, until=at, count=1)
        if not found:
            raise SourceUnavailable(
                f"State knows of no revision that was in force at {at}.",
                hint="Name a later time: the first publication is the oldest there is.",
            )
        return found[0]

    def _under(self, revision: str, at: str, standing: int | None) -> _Then:
        """A revision under what had been said about access: up to an event, else up to a time."""
        then = self._restored(revision)
        said = [
            one for one in Access(self.engine).events()
            if (one.at <= at if standing is None else one.number <= standing)
        ]  # fmt: skip
        index = then.snapshot.index.under(standing_of(said)) if said else then.snapshot.index
        return replace(then, snapshot=replace(then.snapshot, index=index))

    def _restored(self, revision: str) -> _Then:
        if revision not in self._known:
            self._known[revision] = self._read(revision)
            while len(self._known) > _KEPT_SNAPSHOTS:
                self._known.popitem(last=False)
        return self._known[revision]

    def _read(self, revision: str) -> _Then:
        try:
            with reading(self.engine) as connection:
                files = files_of(connection, revision)
        except (SQLAlchemyError, ValueError) as error:
            raise _unreadable(revision, error) from error
        if not files:
            raise _unreadable(revision, None)
        try:
            snapshot = snapshot_of(files)
        except SqluiceError as error:
            raise _unreadable(revision, error) from error
        return _Then(snapshot, snapshot.mesh.revision == revision)

    def _entitled(
        self, user: str, at: str, needed: tuple[str, ...]
    ) -> tuple[Values, str]:
        """The newest values up to a time that some decision for the user used."""
        for one in earlier_entitled(self.engine, user, at):
            values = kept_values(self.engine, one.entitled)
            if values is not None and set(needed) <= set(values):
                return values, one.at
        return _NO_VALUES, ""


def record_tried(engine: Engine, snapshot: Snapshot, files: Mapping[str, bytes]) -> None:
    """Record a revision that is tried, so that what is decided under it can be told later."""
    with writing(engine) as connection:
        record_revision(connection, snapshot.mesh, files, moment_text(datetime.now(UTC)))


def _unreadable(revision: str, error: Exception | None) -> SourceUnavailable:
    return SourceUnavailable(
        f"Revision {revision[:12]} cannot be restored from state.",
        hint="Its files are not there, or this version of the gateway does not read them.",
        private=str(error) if error else "",
    )


def _compared(made: Recomputed, audited: AuditedQuery, is_whole: bool) -> Recomputed:
    comparison, why = _comparison(made.replayed, audited)
    if not is_whole:
        comparison, why = DIFFERS, "the files recorded for the revision are not those it is made of"
    return replace(made, comparison=comparison, why=why)


def _comparison(found: Replayed, audited: AuditedQuery) -> tuple[str, str]:
    """Whether a decision is that of the audit, and why if not."""
    if audited.kind == "catalog":
        return UNKNOWN, "a question to PostgreSQL's catalogs is answered without a decision"
    recorded = audited.own_decision
    if recorded:
        if found.missing:
            names = ", ".join(found.missing)
            return UNKNOWN, f"the values of {names} are not recorded any more"
        if found.decision is None:
            return DIFFERS, f"the audit recorded a decision, computed again it is {found.verdict}"
        same = found.decision.fingerprint == recorded
        return (EQUAL, "") if same else (DIFFERS, "another decision than the audit recorded")
    if audited.outcome != "refused":
        return UNKNOWN, "the audit recorded no decision: the statement asked no table"
    if found.verdict == audited.code:
        return EQUAL, ""
    if audited.code in _DECIDED:
        return DIFFERS, f"the audit recorded {audited.code}, computed again it is {found.verdict}"
    return UNKNOWN, f"{audited.code} does not come from the decision alone"
