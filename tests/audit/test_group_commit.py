"""Requests side by side share a commit; one whose record cannot be committed is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.audit import (
    Audit,
    AuditFinish,
    AuditTicket,
    WriterSettings,
    history,
    verify,
    writer,
)
from gateway.audit.writer import settle
from gateway.errors import InternalError
from gateway.state import audit as rows
from gateway.state.engine import open_state, reading, writing
from tests.audit.requests import NOW, START

SIDE_BY_SIDE = 40
OK = AuditFinish("ok", rows=1)


@contextmanager
def _held_up(state: Engine) -> Iterator[None]:
    """Nobody else can write to the audit for as long as this lasts."""
    with writing(state) as connection:
        if state.dialect.name == "postgresql":
            connection.execute(text("LOCK TABLE audit_records IN ACCESS EXCLUSIVE MODE"))
        yield


def test_requests_side_by_side_share_commits(
    either_state: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit(either_state)
    audit.started(START)
    tickets: list[AuditTicket] = []
    begun, begin = threading.Semaphore(0), audit._writer.begin

    def counted(*records: Any) -> Any:  # noqa: ANN401
        entry = begin(*records)
        begun.release()
        return entry

    monkeypatch.setattr(audit._writer, "begin", counted)

    def ask(number: int) -> None:
        tickets.append(audit.started(replace(START, query_id=f"side-{number}")))

    threads = [threading.Thread(target=ask, args=(one,)) for one in range(SIDE_BY_SIDE)]
    before = audit.commits
    with _held_up(either_state):
        for one in threads:
            one.start()
        assert all(begun.acquire(timeout=60) for _ in threads)
        assert tickets == [], "nobody goes on before his record is committed"
    for one in threads:
        one.join(timeout=60)
    assert len({one.sequence for one in tickets}) == SIDE_BY_SIDE
    # The first one is taken alone or with some; all that waited meanwhile go together.
    assert audit.commits - before <= SIDE_BY_SIDE // 4
    found = verify(either_state, (audit.head,) if audit.head else ())
    assert (found.holds, found.records, found.chains) == (True, SIDE_BY_SIDE + 1, 1)


def test_requests_one_after_another_have_a_commit_each(state: Engine) -> None:
    audit = Audit(state)
    for number in range(5):
        audit.started(replace(START, query_id=str(number)))
    assert audit.commits == 5


def test_both_records_of_a_refusal_share_a_commit(state: Engine) -> None:
    audit = Audit(state)
    audit.refused(START, "parse_error")
    assert (audit.commits, verify(state).records) == (1, 2)


def test_the_end_of_a_request_shares_the_commit_of_the_next_start(
    state: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LINGER_SECONDS", 60.0)
    audit = Audit(state)
    for number in range(5):
        ticket = audit.started(replace(START, query_id=str(number)))
        audit.ended(ticket, OK)
    assert audit.commits == 5
    audit.close()
    found = verify(state, (audit.head,) if audit.head else ())
    assert (audit.commits, found.holds, found.records, found.unknown) == (6, True, 10, 0)


def test_an_end_that_a_crash_took_reads_unknown_in_a_chain_that_holds(
    state: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LINGER_SECONDS", 60.0)
    audit = Audit(state)
    for name in ("first", "second"):
        audit.ended(audit.started(replace(START, query_id=name)), OK)
    # What another process finds when this one is killed now.
    elsewhere = open_state(str(state.url))
    found = verify(elsewhere, (audit.head,) if audit.head else ())
    known = history(elsewhere)
    elsewhere.dispose()
    assert (found.holds, found.records, found.unknown) == (True, 3, 1)
    assert {one.query_id: one.outcome for one in known} == {"first": "ok", "second": "unknown"}
    audit.close()


def test_an_end_that_comes_while_the_audit_closes_is_written(state: Engine) -> None:
    audit = Audit(state)
    tickets = [audit.started(replace(START, query_id=name)) for name in ("first", "second")]
    closing = threading.Thread(target=audit.close)
    with _held_up(state):
        audit.ended(tickets[0], OK)
        time.sleep(0.1)
        closing.start()
        time.sleep(0.1)
        audit.ended(tickets[1], OK)
    closing.join(timeout=60)
    assert not closing.is_alive()
    assert (audit.head and audit.head.sequence, verify(state).unknown) == (4, 0)


def test_an_end_is_committed_by_itself_where_nothing_follows(state: Engine) -> None:
    audit = Audit(state)
    audit.ended(audit.started(START), OK)
    until = time.monotonic() + 60
    while audit.commits < 2 and time.monotonic() < until:
        time.sleep(0.005)
    assert audit.commits == 2


def test_whoever_reads_in_the_process_that_writes_finds_every_end(
    state: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LINGER_SECONDS", 60.0)
    audit = Audit(state)
    audit.ended(audit.started(START), OK)
    assert [one.outcome for one in history(state)] == ["ok"]


def test_an_end_that_cannot_be_written_is_told_and_what_follows_holds(
    state: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit(state)
    ticket = audit.started(START)
    with monkeypatch.context() as broken:
        broken.setattr(rows, "append_records", _fails)
        audit.ended(ticket, OK)
        settle(state)
    audit.started(replace(START, query_id="after"))
    found = verify(state)
    assert (found.holds, found.chains, found.unknown) == (True, 2, 2)
    assert "read unknown" in caplog.text


def _fails(*_: object) -> None:
    raise SQLAlchemyError("no room")


def test_whoever_waits_too_long_is_refused_and_what_follows_holds(state: Engine) -> None:
    audit = Audit(state, lambda: NOW, WriterSettings(wait_seconds=0.3))
    audit.started(START)
    with _held_up(state):
        for name in ("taken", "waiting"):
            with pytest.raises(InternalError, match="was not served"):
                audit.started(replace(START, query_id=name))
    audit.close()
    audit.started(replace(START, query_id="after"))
    found = verify(state, (audit.head,) if audit.head else ())
    with reading(state) as connection:
        known = set(connection.scalars(text("SELECT query_id FROM audit_records")))
    # The one that was being written may be known, as unknown; the one that waited was taken back.
    assert found.holds and "after" in known and "waiting" not in known


def test_what_was_refused_leaves_no_end_behind(state: Engine) -> None:
    audit = Audit(state, lambda: NOW, WriterSettings(wait_seconds=0.3))
    audit.started(START)
    with _held_up(state):
        for name in ("taken", "second", "third"):
            starting = audit.starting(replace(START, query_id=name))
            with pytest.raises(InternalError):
                starting.committed()
            audit.ended(starting, AuditFinish("failed", code="internal"))
        assert not audit._writer._waiting
    audit.close()
    # The control: whose start is there.
    audit.ended(audit.starting(replace(START, query_id="after")), OK)
    audit.close()
    with reading(state) as connection:
        found = connection.scalars(
            text("SELECT query_id FROM audit_records WHERE kind = 'finished'")
        )
        assert set(found) == {"after"}


def test_a_defect_refuses_and_leaves_the_writer_alive(state: Engine) -> None:
    audit = Audit(state)
    audit.started(START)
    with pytest.raises(InternalError):
        audit.note("told", user_name=object())
    audit.started(replace(START, query_id="after"))
    assert verify(state).holds


def test_a_closed_audit_has_written_all_and_may_go_on(state: Engine) -> None:
    audit = Audit(state)
    audit.started(START)
    audit.close()
    assert not any(one.name == "audit" and one.is_alive() for one in threading.enumerate()
                   if one is audit._writer._thread)
    audit.started(replace(START, query_id="q2"))
    assert verify(state).records == 2
