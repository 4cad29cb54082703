"""Revisions are recorded once, with their files."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import Engine, text

import gateway.state.engine as engine_module
from catalog.model import Mesh, Taxonomy
from gateway.state.engine import migrate, reading, writing
from gateway.state.publications import publish
from gateway.state.revisions import (
    files_of,
    publication_of,
    publications,
    record_revision,
    revisions,
)

FOLDER = Path(engine_module.__file__).parent / "migrations"


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


def test_publications_tell_what_was_served_when(state: Engine) -> None:
    with writing(state) as connection:
        for name in ("r1", "r2"):
            record_revision(connection, _mesh(name), {}, "2026-01-01")
        for name, day in (("r1", "01"), ("r2", "03"), ("r1", "05")):
            publish(connection, name, f"2026-01-{day}", "olga")
    with reading(state) as connection:
        assert [one.revision for one in publications(connection)] == ["r1", "r2", "r1"]
        (then,) = publications(connection, until="2026-01-04", count=1)
        assert (then.revision, then.at, then.actor) == ("r2", "2026-01-03", "olga")
        assert then.process
        assert publications(connection, until="2025-12-31") == ()
        earlier = publication_of(connection, "r1", "2026-01-04")
        assert earlier is not None and earlier.at == "2026-01-01"
        assert publication_of(connection, "r2", "2026-01-02") is None


def test_revisions_of_an_older_state_were_published_when_recorded(state: Engine) -> None:
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(FOLDER))
    with writing(state) as connection:
        settings.attributes["connection"] = connection
        command.downgrade(settings, "0004")
    with writing(state) as connection:
        for name, at in (("r1", "2026-01-02"), ("r2", "2026-01-01")):
            record_revision(connection, _mesh(name), {}, at)
    migrate(state)
    with reading(state) as connection:
        assert [(one.revision, one.process) for one in publications(connection)] == [
            ("r1", ""), ("r2", ""),
        ]  # fmt: skip
