"""Chains cut in sealed segments; old ones move to files and the proof goes on from their seals."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from gateway.audit import (
    Audit,
    AuditFinish,
    Head,
    Redaction,
    WriterSettings,
    check_file,
    drop_old,
    redact,
    seal_all,
    verify,
)
from gateway.errors import InvalidConfig
from gateway.state.engine import reading, writing
from gateway.state.segments import Segment, segments
from tests.audit.requests import NOW, START, some_requests

LATER = NOW + timedelta(days=1)
SMALL = WriterSettings(segment_records=4)


def _segments(state: Engine) -> tuple[Segment, ...]:
    with reading(state) as connection:
        return segments(connection)


def _dropped(state: Engine, folder: Path) -> tuple[Audit, tuple[tuple[Segment, Path], ...]]:
    """Ten requests in segments of four records; the sealed ones moved to files."""
    audit = some_requests(state, 10, SMALL)
    keeper = Audit(state, lambda: NOW)
    return audit, drop_old(keeper, state, LATER, folder)


def _heads(*audits: Audit) -> tuple[Head, ...]:
    return tuple(one.head for one in audits if one.head is not None)


def _run(state: Engine, script: str) -> None:
    with writing(state) as connection:
        for statement in script.split(";"):
            connection.execute(text(statement))


def test_a_segment_is_sealed_by_size(either_state: Engine) -> None:
    audit = some_requests(either_state, 10, SMALL)
    found = _segments(either_state)
    assert [(one.number, one.first) for one in found][:2] == [(1, 1), (2, 5)]
    assert all(one.last - one.first + 1 == 4 for one in found)
    proof = verify(either_state, _heads(audit))
    assert (proof.holds, proof.segments) == (True, len(found)) and len(found) >= 4


def test_a_segment_is_sealed_by_time(state: Engine) -> None:
    moments = [NOW]
    audit = Audit(state, lambda: moments[-1], WriterSettings(segment_hours=1))
    audit.started(START)
    moments.append(NOW + timedelta(minutes=59))
    audit.started(replace(START, query_id="q2"))
    assert _segments(state) == ()
    moments.append(NOW + timedelta(minutes=61))
    audit.started(replace(START, query_id="q3"))
    assert [(one.first, one.last) for one in _segments(state)] == [(1, 2)]
    assert verify(state, _heads(audit)).holds


def test_old_segments_move_to_files_and_the_chain_still_holds(
    either_state: Engine, tmp_path: Path
) -> None:
    audit, moved = _dropped(either_state, tmp_path)
    assert len(moved) >= 4
    proof = verify(either_state, _heads(audit))
    assert (proof.flaws, proof.dropped) == ((), len(moved))
    with reading(either_state) as connection:
        left = connection.scalar(
            text("SELECT min(sequence) FROM audit_records WHERE chain = :chain"),
            {"chain": moved[0][0].chain},
        )
    assert left == moved[-1][0].last + 1
    assert [check_file(either_state, path) for _, path in moved] == [()] * len(moved)
    ticket = audit.started(replace(START, query_id="after"))
    audit.finished(ticket, AuditFinish("ok"))
    assert verify(either_state, _heads(audit)).holds


def test_exported_heads_reach_into_dropped_segments(state: Engine, tmp_path: Path) -> None:
    audit, moved = _dropped(state, tmp_path)
    first = moved[0][0]
    good = Head(first.chain, first.last, first.head)
    assert verify(state, (good, *_heads(audit))).holds
    (flaw,) = verify(state, (replace(good, hash="0" * 64),)).flaws
    assert "does not end with the head that was exported" in flaw.what


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ("UPDATE audit_segments SET head = seal WHERE number = 1", "the seal of segment 1"),
        ("UPDATE audit_segments SET last = last - 1 WHERE number = 1", "the seal of segment 1"),
        ("UPDATE audit_segments SET file_hash = 'x' WHERE number = 1",
         "no record says that it was dropped"),
        ("DELETE FROM audit_segments WHERE number = 2", "the seal of segment 3"),
        ("DELETE FROM audit_segments", "are missing"),
        ("DELETE FROM audit_records WHERE kind = 'dropped'", "no record says that it was dropped"),
        ("UPDATE audit_segments SET dropped_at = NULL", "are missing"),
    ],
)
def test_a_drop_that_was_not_one_is_found(
    change: str, flaw: str, state: Engine, tmp_path: Path
) -> None:
    audit, _ = _dropped(state, tmp_path)
    _run(state, change)
    assert any(flaw in one.what for one in verify(state, _heads(audit)).flaws)


def test_records_deleted_without_a_drop_are_found_by_the_seal(state: Engine) -> None:
    some_requests(state, 10, SMALL)
    last = _segments(state)[-1]
    _run(state, f"DELETE FROM audit_records WHERE sequence > {last.first}")
    assert any("are missing" in one.what for one in verify(state).flaws)


@pytest.mark.parametrize("change", ["text", "cut", "order"])
def test_a_changed_file_is_found(change: str, state: Engine, tmp_path: Path) -> None:
    _, moved = _dropped(state, tmp_path)
    segment, path = moved[0]
    lines = path.read_text().splitlines()
    if change == "text":
        lines[2] = lines[2].replace('"nora"', '"carl"')
    elif change == "cut":
        lines.pop()
    else:
        lines[1], lines[2] = lines[2], lines[1]
    path.write_text("\n".join(lines) + "\n")
    (flaw,) = check_file(state, path)
    assert flaw.sequence == {"text": 3, "cut": 4, "order": 2}[change] + segment.first - 1


def test_a_file_that_is_no_segment_is_told(state: Engine, tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text("no JSON\n")
    with pytest.raises(InvalidConfig, match=r"other\.jsonl"):
        check_file(state, path)
    path.write_text(json.dumps({"chain": "none", "sequence": 1}) + "\n")
    assert "no sealed segment" in check_file(state, path)[0].what


def test_a_tampered_segment_is_not_dropped(state: Engine, tmp_path: Path) -> None:
    some_requests(state, 10, SMALL)
    _run(state, "UPDATE audit_records SET user_name = 'carl' WHERE sequence = 2")
    keeper = Audit(state, lambda: NOW)
    with pytest.raises(InvalidConfig, match="does not hold"):
        drop_old(keeper, state, LATER, tmp_path)
    assert all(one.dropped_at is None for one in _segments(state))


def test_ended_chains_are_sealed_and_records_of_upkeep_stay(
    state: Engine, tmp_path: Path
) -> None:
    some_requests(state, 2).close()
    keeper = Audit(state, lambda: NOW)
    assert redact(keeper, state, Redaction("q1"), by="petra") == 1
    now = datetime.fromisoformat("2027-01-01T00:00:00+00:00")
    sealed = seal_all(keeper, state, timedelta(hours=1), now)
    assert len(sealed) >= 1 and verify(state).holds
    moved = drop_old(keeper, state, now + timedelta(days=400), tmp_path)
    names = {one.chain for one, _ in moved}
    assert keeper.head is not None and keeper.head.chain not in names and len(names) == 1
    assert verify(state, _heads(keeper)).flaws == ()


def test_nothing_young_is_sealed(state: Engine) -> None:
    some_requests(state, 1).close()
    keeper = Audit(state, lambda: NOW)
    assert seal_all(keeper, state, timedelta(hours=24), NOW + timedelta(hours=1)) == ()
