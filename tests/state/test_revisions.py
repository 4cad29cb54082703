"""Revisions are recorded once, with their files."""

from __future__ import annotations

from sqlalchemy import Engine, text

from catalog.model import Mesh, Taxonomy
from gateway.state.engine import reading, writing
from gateway.state.revisions import files_of, record_revision, revisions


def _mesh(revision: str) -> Mesh:
    return Mesh(revision, (), (), (), (), (), Taxonomy(), ())


def test_a_revision_is_recorded_once_with_its_files(state: Engine) -> None:
    files = {"gateway.toml": b"", "domains/a/domain.yaml": "größe: 1".encode(), "copy": b""}
    with writing(state) as connection:
        assert record_revision(connection, _mesh("r1"), files, "2026-01-01")
        assert not record_revision(connection, _mesh("r1"), {}, "2026-01-02")
    with reading(state) as connection:
        assert files_of(connection, "r1") == files
        assert files_of(connection, "r2") == {}


def test_unchanged_files_are_kept_once(state: Engine) -> None:
    with writing(state) as connection:
        record_revision(connection, _mesh("r1"), {"a": b"1", "b": b"2"}, "2026-01-01")
        record_revision(connection, _mesh("r2"), {"a": b"1", "b": b"3"}, "2026-01-02")
    with reading(state) as connection:
        assert connection.scalar(text("SELECT count(*) FROM revision_contents")) == 3
        assert files_of(connection, "r2") == {"a": b"1", "b": b"3"}
        assert [one.revision for one in revisions(connection)] == ["r2", "r1"]


def test_a_revision_without_files_is_recorded(state: Engine) -> None:
    with writing(state) as connection:
        assert record_revision(connection, _mesh("empty"), {}, "2026-01-01")
