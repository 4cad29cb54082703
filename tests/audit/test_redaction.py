"""Literals are forgotten for good, and the chain still holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from gateway.audit import Audit, Redaction, history, redact, verify
from gateway.state import audit as rows
from gateway.state.engine import reading
from tests.audit.requests import NOW, START, some_requests

PIN = "4711"
PINNED = replace(START, statement=f"SELECT 1 FROM t WHERE pin = {PIN}", parameters=(), plan="")


def _stored(state: Engine, query_id: str) -> str:
    """Everything that the state holds of a query's records, as text."""
    with reading(state) as connection:
        found = connection.execute(
            text("SELECT * FROM audit_records WHERE query_id = :id"), {"id": query_id}
        )
        return json.dumps([list(map(str, one)) for one in found])


def _commitments(state: Engine) -> tuple[set[str], list[str]]:
    """The commitments of the pinned request, and every salt that state still knows."""
    with reading(state) as connection:
        found = rows.of_query(connection, "q1")
        salts = [one[0] for row in found for one in rows.kept_literals(row) if one is not None]
        (started,) = [one for one in found if one["kind"] == "started"]
        return {one[-1] for one in json.loads(str(started["commitments"]))}, salts


def _guessed(commitments: set[str], salts: list[str]) -> set[str]:
    """The PINs whose commitment is one of these, by trying all under every salt."""
    return {
        f"{pin:04}"
        for salt in salts
        for pin in range(10_000)
        if rows.commitment(salt, f"{pin:04}") in commitments
    }


def test_a_commitment_cannot_be_guessed_back(either_state: Engine) -> None:
    audit = Audit(either_state)
    audit.started(PINNED)
    audit.started(replace(PINNED, query_id="q2"))
    commitments, salts = _commitments(either_state)
    # The control: while the salt is known, trying all PINs finds the right one.
    assert PIN in _guessed(commitments, salts)
    assert redact(audit, either_state, Redaction("q1"), by="petra") == 1
    gone, left = _commitments(either_state)
    assert (gone, left) == (commitments, [])
    with reading(either_state) as connection:
        others = rows.of_query(connection, "q2")
        known = [one[0] for row in others for one in rows.kept_literals(row) if one is not None]
    assert known and _guessed(commitments, [*known, "00" * 16, ""]) == set()
    assert verify(either_state, (audit.head,) if audit.head else ()).holds


def test_equal_literals_have_different_commitments(state: Engine) -> None:
    Audit(state).started(replace(START, statement="SELECT 'x', 'x', 'x'", parameters=(), plan=""))
    with reading(state) as connection:
        (row,) = rows.of_query(connection, "q1")
    assert len({one[-1] for one in json.loads(str(row["commitments"]))}) == 3
    assert len({one[0] for one in rows.kept_literals(row) if one is not None}) == 3


def test_bytes_of_a_redacted_literal_leave_the_files(state: Engine, state_path: Path) -> None:
    audit = Audit(state)
    audit.started(replace(PINNED, statement="SELECT 'ada-lovelace-1815'"))
    for number in range(20):
        audit.started(replace(PINNED, query_id=f"other-{number}"))

    def held() -> bool:
        files = [state_path, state_path.with_name(state_path.name + "-wal")]
        return any(b"ada-lovelace" in one.read_bytes() for one in files if one.is_file())

    assert held()
    redact(audit, state, Redaction("q1"), by="petra")
    assert not held()


def test_the_literals_of_one_user_go(either_state: Engine) -> None:
    audit = some_requests(either_state, 2)
    audit.started(replace(START, query_id="other", user="carl"))
    assert redact(audit, either_state, Redaction(user="nora"), by="petra") == 2
    shown = {one.query_id: one for one in history(either_state)}
    assert "carrier = ? AND month > ?" in shown["q0"].statement
    assert shown["q0"].parameters == (None, None, None) and "?" in shown["q0"].plan
    assert shown["other"].statement == START.statement
    assert shown["other"].parameters == ("O'Hare", "7", None)
    proof = verify(either_state, (audit.head,) if audit.head else ())
    assert (proof.holds, proof.redacted) == (True, 2)


def test_only_the_literals_that_hold_a_text_go(state: Engine) -> None:
    audit = some_requests(state, 2)
    assert redact(audit, state, Redaction(holding="O'Hare"), by="petra") == 2
    assert redact(audit, state, Redaction(holding="O'Hare"), by="petra") == 0
    shown = history(state)[0]
    assert (shown.statement, shown.parameters) == (START.statement, (None, "7", None))
    assert "Hare" not in _stored(state, "q0") and verify(state).holds


_LITERALS = ("dollar", "5a5a5a", "1.5e3", "FEDCBA98", "987654321", "aped", "😀", "never", "comment")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 'a''b', $$dollar$$, x'5a5a5a5a5a', 1.5e3, 0xFEDCBA98, 987654321 -- 'comment'",
        "SELECT E'esc\\'aped', 'é 😀', -7",
        "SELECT 'never closed",
        "",
        "\x00\ud800",
        "select ? , $1, \"identifier 1\", a.b1 from t1",
    ],
)
def test_statements_are_shown_whole_until_they_are_redacted(
    statement: str, state: Engine
) -> None:
    audit = Audit(state, lambda: NOW)
    audit.refused(replace(START, statement=statement, parameters=(), plan=""), "parse_error")
    (shown,) = history(state)
    known = rows.storable(statement)
    assert "".join(shown.statement.split()) == "".join(known.partition("--")[0].split())
    redact(audit, state, Redaction("q1"), by="petra")
    (shown,) = history(state)
    for literal in _LITERALS:
        assert literal not in shown.statement and literal not in _stored(state, "q1")
    assert verify(state).holds


def test_a_name_that_nobody_has_may_be_a_password_and_stays_redactable(state: Engine) -> None:
    audit = Audit(state)
    audit.sign_in_failed("hunter2", "unauthenticated", "http", False)
    audit.sign_in_failed("nora", "unauthenticated", "http", True)
    with reading(state) as connection:
        unknown, known = rows.of_kind(connection, "sign_in")
    assert "hunter2" not in str({**unknown, "redactable": ""})
    assert (unknown["user_name"], known["user_name"]) == (None, "nora")
    assert redact(audit, state, Redaction(holding="hunter2"), by="petra") == 1
    assert verify(state).holds
