"""Revisions of the mesh: rows that are written once.

Takes: a mesh and the files it was read from. Gives: the revision, recorded with the contents of
its files, so that a decision can be computed again later. Never changes a revision.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from catalog.model import Mesh
from gateway.state.tables import REVISION_CONTENTS, REVISION_FILES, REVISIONS


@dataclass(frozen=True, slots=True)
class RevisionRow:
    """A recorded revision."""

    revision: str
    recorded_at: str
    domains: int
    products: int
    policies: int
    grants: int


def record_revision(
    connection: Connection, mesh: Mesh, files: Mapping[str, bytes], recorded_at: str
) -> bool:
    """Record a revision with its files; False where it is known already."""
    known = select(REVISIONS.c.revision).where(REVISIONS.c.revision == mesh.revision)
    if connection.execute(known).first() is not None:
        return False
    row = {"revision": mesh.revision, "recorded_at": recorded_at, "domains": len(mesh.domains)}
    row |= {"products": len(mesh.products), "policies": len(mesh.policies)}
    connection.execute(insert(REVISIONS), {**row, "grants": len(mesh.grants)})
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    _keep_contents(connection, {hashes[path]: content for path, content in files.items()})
    rows = [
        {"revision": mesh.revision, "path": path, "hash": hashed} for path, hashed in hashes.items()
    ]
    if rows:
        connection.execute(insert(REVISION_FILES), rows)
    return True


def revisions(connection: Connection, count: int = 50) -> tuple[RevisionRow, ...]:
    """The newest revisions, newest first."""
    newest = select(REVISIONS).order_by(REVISIONS.c.recorded_at.desc()).limit(count)
    return tuple(RevisionRow(*row) for row in connection.execute(newest))


def files_of(connection: Connection, revision: str) -> Mapping[str, bytes]:
    """The files of a revision by path; empty where it is not known."""
    files = (
        select(REVISION_FILES.c.path, REVISION_CONTENTS.c.content)
        .join(REVISION_CONTENTS, REVISION_CONTENTS.c.hash == REVISION_FILES.c.hash)
        .where(REVISION_FILES.c.revision == revision)
    )
    return {path: zlib.decompress(content) for path, content in connection.execute(files)}


def domains_holding(
    connection: Connection, test: Callable[[bytes], bool]
) -> Mapping[str, frozenset[tuple[str, str]]]:
    """By revision the files, with their hashes, of the domains that have a file which passes."""
    contents = select(REVISION_CONTENTS.c.hash, REVISION_CONTENTS.c.content)
    passing = {
        str(hashed) for hashed, content in connection.execute(contents)
        if test(zlib.decompress(content))
    }  # fmt: skip
    found: dict[str, dict[str, set[tuple[str, str]]]] = {}
    holding: set[tuple[str, str]] = set()
    columns = REVISION_FILES.c
    for revision, path, hashed in connection.execute(
        select(columns.revision, columns.path, columns.hash).where(columns.path.like("domains/%"))
    ):
        domain = path.split("/")[1]
        found.setdefault(revision, {}).setdefault(domain, set()).add((path, hashed))
        if hashed in passing:
            holding.add((revision, domain))
    return {
        revision: frozenset(
            file for domain, files in domains.items() if (revision, domain) in holding
            for file in files
        )
        for revision, domains in found.items()
        if any((revision, domain) in holding for domain in domains)
    }  # fmt: skip


def _keep_contents(connection: Connection, contents: Mapping[str, bytes]) -> None:
    """A file that did not change between revisions is kept once."""
    asked = select(REVISION_CONTENTS.c.hash).where(REVISION_CONTENTS.c.hash.in_(list(contents)))
    known = set(connection.scalars(asked))
    rows = [
        {"hash": hashed, "content": zlib.compress(content)}
        for hashed, content in contents.items()
        if hashed not in known
    ]
    if rows:
        connection.execute(insert(REVISION_CONTENTS), rows)
