"""From the revision in force to a new one.

Takes: a new snapshot with the files it was read from, and state. Gives: what it lets through that
the revision in force did not; records it, or refuses it where a domain widens and nobody approved
that (DESIGN 5, rule 11). Never takes the word of the new files for what the old ones said: the old
ones are built again from state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from catalog.mesh import MeshError, load_mesh
from catalog.model import Mesh
from gateway.access import Access, standing_of
from gateway.errors import Conflict, SourceUnavailable, SqluiceError
from gateway.policies.counterparts import Spot, may_mention
from gateway.policies.tighten import compare
from gateway.policies.widening import Comparison, Widening, unreadable
from gateway.snapshot import Snapshot
from gateway.state.engine import moment_text, reading, writing
from gateway.state.publications import in_force, past_revisions, publish
from gateway.state.revisions import domains_holding, files_of, record_revision
from gateway.unpacked import unpacked

log = logging.getLogger("gateway.advance")

Build = Callable[[Path], Snapshot]
_TRIES = 3
_LOCK = 7_080_705_170_34
T = TypeVar("T")


class WideningRefusedError(Conflict):
    """Widenings that nobody approved; the revision in force stays."""

    def __init__(self, widenings: tuple[Widening, ...]) -> None:
        """Name all of them."""
        count = len(widenings)
        self.widenings = widenings
        super().__init__(
            f"The new revision widens what a domain may not widen by itself ({count}):\n"
            + "\n".join(str(one) for one in widenings),
            hint="Take the change back, or let somebody with the role governance approve each: "
            "sqluice policy approve ID --reason '...'.",
        )


@dataclass(frozen=True, slots=True)
class Step:
    """What a new revision does to the one in force. `base` None: there is none."""

    base: Mesh | None
    comparison: Comparison
    approved: frozenset[str]

    @property
    def refused(self) -> tuple[Widening, ...]:
        """The widenings that nobody approved."""
        return tuple(one for one in self.comparison.widenings if one.id not in self.approved)


def approval_subject(widening: str) -> str:
    """What an approval in state names."""
    return f"widening:{widening}"


class Advance:
    """The revisions of one state. Every method may be called from any thread."""

    def __init__(self, engine: Engine, build: Build) -> None:
        """Rebuild older revisions by `build`."""
        self._engine = engine
        self._build = build

    def step(self, mesh: Mesh, known: Snapshot | None = None) -> Step:
        """What a mesh lets through that the revision in force did not.

        `known` spares building a revision again that is at hand.
        """
        return self._step(mesh, self._in_force(), known)

    def _step(self, mesh: Mesh, last: str | None, known: Snapshot | None) -> Step:
        if last is None or last == mesh.revision:
            base = None if last is None else mesh
            return Step(base, Comparison(), frozenset())
        if known is not None and known.mesh.revision == last:
            base = known.mesh
        else:
            try:
                base = self.snapshot_of(last).mesh
            except SqluiceError as error:
                log.warning(
                    "a revision cannot be built again",
                    extra={"revision": last, "code": error.code},
                )
                widening = unreadable(last, mesh.revision)
                return Step(None, Comparison((widening,)), self._approved((widening,)))
        found = compare(base, mesh, datetime.now(UTC), partial(self._earlier, last))
        return Step(base, found, self._approved(found.widenings))

    def take(
        self, snapshot: Snapshot, files: Mapping[str, bytes], known: Snapshot | None = None,
        actor: str = "",
    ) -> Step:
        """Bring a snapshot into force; raises WideningRefusedError and leaves the old one."""
        for _ in range(_TRIES):
            last = self._in_force()
            step = self._step(snapshot.mesh, last, known)
            if step.refused:
                raise WideningRefusedError(step.refused)
            if self._recorded(snapshot, files, last, actor):
                return step
        raise Conflict("Another revision came into force meanwhile.", hint="Try it once more.")

    def snapshot_of(self, revision: str | None = None) -> Snapshot:
        """A recorded revision, built again from state; without one, that in force."""
        found = revision or self._in_force()
        with unpacked(self._files(found or "")) as folder:
            return self._build(folder)

    def _earlier(self, last: str, spots: tuple[Spot, ...]) -> Iterator[Mesh]:
        """Older revisions that may have known some columns, newest first.

        Of those whose files of the domains in question are the same one is enough. One that this
        version cannot read is left out.
        """

        def mentions(content: bytes) -> bool:
            text = content.decode("utf-8", errors="replace")
            return any(may_mention(text, one) for one in spots)

        found = self._read(lambda connection: domains_holding(connection, mentions))
        seen = set()
        for revision in self._read(past_revisions):
            if revision == last or revision not in found or found[revision] in seen:
                continue
            seen.add(found[revision])
            with unpacked(self._files(revision)) as folder:
                try:
                    mesh = load_mesh(folder)
                except MeshError:
                    log.warning("a revision cannot be read again", extra={"revision": revision})
                    continue
            yield mesh

    def _files(self, revision: str) -> Mapping[str, bytes]:
        return self._read(lambda connection: files_of(connection, revision))

    def _approved(self, widenings: tuple[Widening, ...]) -> frozenset[str]:
        if not widenings:
            return frozenset()
        approved = standing_of(Access(self._engine).events()).approved
        return frozenset(one.id for one in widenings if approval_subject(one.id) in approved)

    def _in_force(self) -> str | None:
        return self._read(in_force)

    def _recorded(
        self, snapshot: Snapshot, files: Mapping[str, bytes], last: str | None, actor: str
    ) -> bool:
        """Record; False where another revision came into force since it was compared."""
        now, revision = moment_text(datetime.now(UTC)), snapshot.mesh.revision
        try:
            with writing(self._engine) as connection:
                if connection.dialect.name == "postgresql":
                    lock = text("SELECT pg_advisory_xact_lock(:key)")
                    connection.execute(lock, {"key": _LOCK})
                if in_force(connection) not in (last, revision):
                    return False
                record_revision(connection, snapshot.mesh, files, now)
                if in_force(connection) != revision:
                    publish(connection, revision, now, actor)
        except IntegrityError:
            # Another gateway records the same revision at the same moment: look again.
            return False
        except SQLAlchemyError as error:
            raise _unrecorded(error) from error
        return True

    def _read(self, ask: Callable[[Connection], T]) -> T:
        try:
            with reading(self._engine) as connection:
                return ask(connection)
        except SQLAlchemyError as error:
            raise _unrecorded(error) from error


def _unrecorded(error: SQLAlchemyError) -> SourceUnavailable:
    return SourceUnavailable(
        "The revision could not be recorded in state.",
        hint="Check SQLUICE_STATE and that its database runs and may be written.",
        private=str(error),
    )
