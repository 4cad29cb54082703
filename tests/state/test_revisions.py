"""Revisions are recorded once, with their files."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import Connection, Engine, text

import gateway.state.engine as engine_module
from catalog.model import Mesh, Taxonomy
from gateway.state.engine import migrate, reading, writing
from gateway.state.publications import (
    in_force,
    past_revisions,
    publication_of,
    publications,
    publish,
)
from gateway.state.revisions import domains_holding, files_of, record_revision, revisions

FOLDER = Path(engine_module.__file__).parent / "migrations"


def _mesh(revision: str) -> Mesh:
    return Mesh(revision, (), (), (), (), (), Taxonomy(), ())


def _before_publications(connection: Connection) -> None:
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(FOLDER))
    settings.attributes["connection"] = connection
    command.downgrade(settings, "0004")


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
    with writing(state) as connection:
        _before_publications(connection)
    with writing(state) as connection:
        for name, at in (("r1", "2026-01-02"), ("r2", "2026-01-01")):
            record_revision(connection, _mesh(name), {}, at)
    migrate(state)
    with reading(state) as connection:
        assert [(one.revision, one.process) for one in publications(connection)] == [
            ("r1", ""), ("r2", ""),
        ]  # fmt: skip


def test_the_newest_publication_is_in_force(state: Engine) -> None:
    with writing(state) as connection:
        assert in_force(connection) is None
        for name, at in (("r1", "2026-01-01"), ("r2", "2026-01-02")):
            record_revision(connection, _mesh(name), {}, at)
            publish(connection, name, at)
        publish(connection, "r1", "2026-01-03")
    with reading(state) as connection:
        assert in_force(connection) == "r1"
        assert past_revisions(connection) == ("r1", "r2")


def test_a_state_from_before_publications_begins_with_the_newest_revision(state: Engine) -> None:
    with writing(state) as connection:
        for name, at in (("r1", "2026-01-01"), ("r2", "2026-01-02")):
            record_revision(connection, _mesh(name), {}, at)
        _before_publications(connection)
    migrate(state)
    with writing(state) as connection:
        assert in_force(connection) == "r2"
        publish(connection, "r1", "2026-01-03")
        assert in_force(connection) == "r1"


def test_files_that_mention_something_are_found_with_their_domain(state: Engine) -> None:
    own = {"domains/a/x.yaml": b"mail", "domains/a/y.yaml": b"1", "domains/b/z.yaml": b"2"}
    with writing(state) as connection:
        record_revision(connection, _mesh("r1"), own, "2026-01-01")
        record_revision(connection, _mesh("r2"), {"domains/b/z.yaml": b"2"}, "2026-01-02")
    with reading(state) as connection:
        found = domains_holding(connection, lambda content: b"mail" in content)
    assert list(found) == ["r1"]
    assert {path for path, _ in found["r1"]} == {"domains/a/x.yaml", "domains/a/y.yaml"}
