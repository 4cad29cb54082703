"""Requests side by side share a commit; one whose record cannot be committed is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from gateway.audit import Audit, AuditTicket, WriterSettings, verify
from gateway.errors import InternalError
from gateway.state.engine import reading, writing
from tests.audit.requests import NOW, START

SIDE_BY_SIDE = 40


@contextmanager
def _held_up(state: Engine) -> Iterator[None]:
    """Nobody else can write to the audit for as long as this lasts."""
    with writing(state) as connection:
        if state.dialect.name == "postgresql":
            connection.execute(text("LOCK TABLE audit_records IN ACCESS EXCLUSIVE MODE"))
        yield


def test_requests_side_by_side_share_commits(either_state: Engine) -> None:
    audit = Audit(either_state)
    audit.started(START)
    tickets: list[AuditTicket] = []

    def ask(number: int) -> None:
        tickets.append(audit.started(replace(START, query_id=f"side-{number}")))

    threads = [threading.Thread(target=ask, args=(one,)) for one in range(SIDE_BY_SIDE)]
    before = audit.commits
    with _held_up(either_state):
        for one in threads:
            one.start()
        for one in threads:
            one.join(timeout=0.01)
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
