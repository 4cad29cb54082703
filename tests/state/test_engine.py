"""State opens, migrates once, and keeps transactions apart."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

import gateway.state.engine as engine_module
from gateway.audit import (
    Audit,
    AuditFinish,
    AuditStart,
    Redaction,
    history,
    redact,
    verify,
)
from gateway.errors import InvalidConfig, SourceUnavailable
from gateway.state.engine import HEAD, open_state, reading, writing
from gateway.state.tables import METADATA
from tests.fresh_state import written_down

FOLDER = Path(engine_module.__file__).parent / "migrations"


def test_migrations_make_the_declared_tables(state: Engine) -> None:
    with reading(state) as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_head_is_the_newest_migration() -> None:
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(settings).get_current_head() == HEAD


def test_migrations_can_be_taken_back(state: Engine) -> None:
    settings = AlembicConfig()
    settings.set_main_option("script_location", str(FOLDER))
    with writing(state) as connection:
        for one in ScriptDirectory.from_config(settings).walk_revisions():
            with Operations.context(MigrationContext.configure(connection)):
                one.module.downgrade()
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}


def test_many_gateways_may_start_at_once(url: str) -> None:
    engines: list[Engine] = []

    def start() -> None:
        engines.append(open_state(url))

    threads = [threading.Thread(target=start) for _ in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(timeout=60)
    assert len(engines) == len(threads)
    for engine in engines:
        with reading(engine) as connection:
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == HEAD
        engine.dispose()


def test_a_newer_state_is_refused(url: str) -> None:
    engine = open_state(url)
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(InvalidConfig, match="version 9999"):
        open_state(url)


def test_a_failed_write_leaves_nothing(state: Engine) -> None:
    insert = text("INSERT INTO session_tokens VALUES ('h', 'nora', 'v', '2026', '2027')")
    with pytest.raises(RuntimeError), writing(state) as connection:
        connection.execute(insert)
        raise RuntimeError
    with reading(state) as connection:
        assert connection.scalar(text("SELECT count(*) FROM session_tokens")) == 0


def test_readers_do_not_wait_for_a_writer(state: Engine) -> None:
    insert = text("INSERT INTO session_tokens VALUES ('h', 'nora', 'v', '2026', '2027')")
    counted = text("SELECT count(*) FROM session_tokens")
    with writing(state) as writer:
        writer.execute(insert)
        with reading(state) as reader:
            assert reader.scalar(counted) == 0
    with reading(state) as reader:
        assert reader.scalar(counted) == 1


def test_sqlite_is_in_wal_mode_and_private(tmp_path: Path) -> None:
    path = tmp_path / "inner" / "state.sqlite"
    engine = open_state(f"sqlite:///{path}", durable=True)
    with reading(engine) as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
    engine.dispose()
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("url", ["no url", "mysql://host/db", "sqlite://", "duckdb:///x", ""])
def test_other_addresses_are_refused_without_being_shown(url: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        open_state(url)
    assert "host" not in caught.value.message


def test_a_database_that_is_down_is_unavailable_and_its_password_stays_secret() -> None:
    with pytest.raises(SourceUnavailable) as caught:
        open_state("postgresql://u:hidden-word@127.0.0.1:1/none?connect_timeout=2")
    assert "hidden-word" not in caught.value.message + caught.value.remedy


def test_the_audit_keeps_every_text_in_either_database(state: Engine) -> None:
    audit = Audit(state)
    odd = "SELECT '\x00 \ud800 é 😀'"
    start = AuditStart("q", datetime.now(UTC), "nora\x00", odd, client=odd, purpose="p" * 300)
    ticket = audit.started(start)
    audit.finished(ticket, AuditFinish("ok", rows=2**40, timings={"total": 1e-7}))
    assert redact(audit, state, Redaction("q"), by="petra") == 1
    found = verify(state, (audit.head,) if audit.head else ())
    assert (found.holds, found.redacted, found.records) == (True, 1, 3)
    (shown,) = history(state)
    assert (shown.outcome, shown.rows) == ("ok", 2**40)


def test_a_schema_that_is_written_down_is_the_one_that_is_made(tmp_path: Path) -> None:
    """Tests elsewhere open states that were given it at once."""
    made = open_state(f"sqlite:///{tmp_path / 'made.sqlite'}")
    with written_down():
        given = open_state(f"sqlite:///{tmp_path / 'given.sqlite'}")
    found = []
    for engine in (made, given):
        with reading(engine) as connection:
            shown = connection.execute(text("SELECT type, name, sql FROM sqlite_master")).all()
            version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        found.append((sorted(map(tuple, shown), key=str), version))
        engine.dispose()
    assert found[0] == found[1]
