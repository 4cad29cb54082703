"""Files of a mesh become the revision that the gateway serves.

Takes: a mesh folder and state. Gives: the present `Snapshot`, recorded in state before it is
served. Never serves half a revision, and never gives the last good one up for a broken one: the
failure is shown and the last good one stays (DESIGN 5, rule 12).
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

from sqlalchemy import Engine

from catalog.mesh import MeshError, collector_at_rest, load_mesh
from catalog.model import Mesh
from catalog.own_products import with_own_products
from gateway.access import Access, AccessEvent, standing_of
from gateway.advance import Advance, WideningRefusedError
from gateway.decision import Standing
from gateway.errors import InternalError, InvalidConfig, SqluiceError
from gateway.policies.compile import compile_policies
from gateway.repeating import repeat
from gateway.snapshot import Snapshot

log = logging.getLogger("gateway.publish")

WATCH_SECONDS = 0.5
# How old what state says about access may be when a statement begins.
FOLLOW_SECONDS = 0.25
_STALE_SECONDS = 1.0
_TRIES = 3
_PLACE = re.compile(r"[\w@./-]+\.(?:ya?ml|toml)(?::[0-9]+)?")
_SUFFIXES = (".yaml", ".yml", ".toml")

Signature = Mapping[Path, tuple[int, int]]


def build_snapshot(folder: Path) -> Snapshot:
    """Load and compile a mesh folder; raises InvalidConfig that names every problem."""
    with collector_at_rest():
        return _built(folder)


def _built(folder: Path) -> Snapshot:
    try:
        mesh = load_mesh(folder)
    except MeshError as error:
        raise InvalidConfig(
            "\n".join(str(one) for one in error.problems),
            hint="Correct the files named and run `sqluice check`.",
        ) from error
    unknown = unknown_kinds(mesh)
    if unknown:
        raise InvalidConfig("\n".join(unknown), hint="Correct it, or install the connector.")
    whole = with_own_products(mesh)
    return Snapshot(whole, compile_policies(whole))


def unknown_kinds(mesh: Mesh) -> tuple[str, ...]:
    """One line for each source whose connector is not installed."""
    known = {one.name for one in entry_points(group="sqluice.connectors")}
    names = ", ".join(sorted(known))
    return tuple(
        f"{one.place}: there is no connector {one.kind!r}; there are {names}"
        for one in mesh.sources.values()
        if one.kind not in known
    )


class Publisher:
    """Holds the present snapshot of one folder. Every method may be called from any thread.

    The first load raises InvalidConfig where the mesh is broken: a gateway does not start on it.
    Where it widens what nobody approved, the revision that was in force last is served.
    """

    def __init__(
        self, folder: Path, engine: Engine, build: Callable[[Path], Snapshot] = build_snapshot
    ) -> None:
        """Load the folder; raises where it is broken."""
        self._folder = folder
        self._engine = engine
        self._build = build
        self._lock = threading.Lock()
        self._failure: SqluiceError | None = None
        self._signature: Signature = {}
        self._access = Access(engine)
        self._following = threading.Lock()
        self._followed_at = time.monotonic()
        self._standing = standing_of(self._access.events())
        self._heard: list[Callable[[tuple[AccessEvent, ...]], None]] = []
        self._retry = False
        self._advance = Advance(engine, build)
        self._snapshot = self._under(self._start())

    def _start(self) -> Snapshot:
        """The folder's revision; where a domain widens it, the last that was in force.

        A restart must not let in what a reload refuses, nor may one domain stop all others.
        """
        try:
            return self._load()
        except WideningRefusedError as error:
            try:
                last = self._advance.snapshot_of()
            except SqluiceError:
                raise error from None
            self._failed(error)
            return last

    def current(self) -> Snapshot:
        """The snapshot in force; whoever works on it keeps it to the end of his request.

        What state says about access is at most a quarter of a second old. Where state cannot be
        read for a second, nobody is answered: a revocation might stand there.
        """
        if time.monotonic() - self._followed_at >= FOLLOW_SECONDS:
            self._follow()
        return self._snapshot

    def on_access(self, heard: Callable[[tuple[AccessEvent, ...]], None]) -> None:
        """Call back with events about access, once they hold."""
        self._heard.append(heard)

    @property
    def failure(self) -> str | None:
        """Why the newest files are not in force; None where they are."""
        failure = self._failure
        return None if failure is None else failure.message

    def reload(self) -> bool:
        """Read the folder again; False where it is broken and the last good revision stays."""
        with self._lock:
            try:
                snapshot = self._load(self._snapshot)
            except SqluiceError as error:
                return self._failed(error)
            except Exception as error:
                log.exception("a defect in reading the mesh")
                defect = InternalError("The mesh could not be read.", private=repr(error))
                return self._failed(defect)
            self._failure = None
            if snapshot.mesh.revision != self._snapshot.mesh.revision:
                with self._following:
                    self._snapshot = self._under(snapshot)
                log.info("published", extra={"revision": snapshot.mesh.revision})
            return True

    def follow(self, seconds: float = FOLLOW_SECONDS) -> Callable[[], None]:
        """Look for events about access also while nobody asks; gives what stops the looking."""

        def look() -> None:
            try:
                self._follow()
            except SqluiceError as error:
                log.warning("state cannot be read", extra={"code": error.code})

        return repeat(look, seconds, "publish-follow")

    def _follow(self) -> None:
        """Bring the snapshot to what state says now."""
        with self._following:
            began = time.monotonic()
            if began - self._followed_at < FOLLOW_SECONDS / 2:
                return
            try:
                fresh = self._news()
            except SqluiceError:
                if began - self._followed_at > _STALE_SECONDS:
                    raise
                return
            self._followed_at = began
        if fresh:
            for heard in self._heard:
                heard(fresh)

    def _news(self) -> tuple[AccessEvent, ...]:
        if self._access.number() == self._standing.number:
            return ()
        events = self._access.events()
        fresh = tuple(one for one in events if one.number > self._standing.number)
        self._standing = standing_of(events)
        self._snapshot = self._under(self._snapshot)
        if any(one.kind == "approve" and one.subject.startswith("widening:") for one in fresh):
            self._retry = True
        return fresh

    def _under(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot under what state says."""
        if self._standing == Standing():
            return snapshot
        return replace(snapshot, index=snapshot.index.under(self._standing))

    def _lapse(self, mesh: Mesh) -> None:
        """A revocation holds until the file drops the grant."""
        granted = {one.id for one in mesh.grants}
        for name in sorted({grant for grant, _ in self._standing.revoked} - granted):
            self._access.tell(AccessEvent("lapse", name, reason="no file grants it any more"))

    def watch(self, seconds: float = WATCH_SECONDS) -> Callable[[], None]:
        """Reload whenever a file changes; gives what stops the watching."""

        def look() -> None:
            if self._retry or signature_of(self._folder) != self._signature:
                self._retry = False
                self.reload()

        return repeat(look, seconds, "publish-watch")

    def _failed(self, error: SqluiceError) -> bool:
        if self.failure != error.message:
            log.error(
                "the new revision is broken, the last good one stays",
                extra={"event": "reload_failed", "code": error.code, "files": _places(error)},
            )
            for one in error.widenings if isinstance(error, WideningRefusedError) else ():
                log.error("%s", one.named, extra={"event": "widening_refused"})
        self._failure = error
        return False

    def _load(self, known: Snapshot | None = None) -> Snapshot:
        """Build, compare with what is in force, record."""
        snapshot, files = read_at_rest(self._folder, self._build, self._begun)
        self._advance.take(snapshot, files, known)
        self._lapse(snapshot.mesh)
        return snapshot

    def _begun(self, signature: Signature) -> None:
        self._signature = signature


def read_at_rest(
    folder: Path,
    build: Callable[[Path], Snapshot] = build_snapshot,
    begun: Callable[[Signature], None] = lambda _: None,
) -> tuple[Snapshot, Mapping[str, bytes]]:
    """A snapshot with its files. Files that change meanwhile are read again, so that what is
    recorded is what is served. `begun` hears what is about to be read.
    """
    for _ in range(_TRIES):
        before = signature_of(folder)
        begun(before)
        snapshot = _readable(folder, build)
        files = _contents(folder, before)
        if files is not None and signature_of(folder) == before:
            return snapshot, files
    raise InvalidConfig(
        "The files of the mesh change while they are read.",
        hint="Replace files at one stroke (write beside, then rename), then reload.",
    )


def _readable(folder: Path, build: Callable[[Path], Snapshot]) -> Snapshot:
    try:
        return build(folder)
    except OSError as error:
        raise InvalidConfig(
            f"A file of the mesh cannot be read: {Path(error.filename or '').name}.",
            hint="See that it exists and that the gateway's user may read it.",
            private=str(error),
        ) from error


def _places(error: SqluiceError) -> list[str]:
    """The files that an error names, with their lines; what they hold is not for the log."""
    found = (_PLACE.match(one) for one in error.message.splitlines())
    return list(dict.fromkeys(one.group() for one in found if one is not None))


def signature_of(folder: Path) -> Signature:
    """What tells that a file of the mesh changed: time of change and size, by path."""
    found: dict[Path, tuple[int, int]] = {}
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            if not name.endswith(_SUFFIXES):
                continue
            path = Path(here, name)
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found[path] = (status.st_mtime_ns, status.st_size)
    return found


def _contents(folder: Path, signature: Signature) -> Mapping[str, bytes] | None:
    """The files' contents by their path in the folder; None where one is gone meanwhile."""
    try:
        return {one.relative_to(folder).as_posix(): one.read_bytes() for one in signature}
    except FileNotFoundError:
        return None
