"""Two records a request, one chain, a proof that finds what was changed."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from sqlalchemy import Engine, text

from gateway.audit import (
    Audit,
    AuditFinish,
    Redaction,
    export_on_schedule,
    history,
    read_heads,
    redact,
    verify,
)
from gateway.errors import InternalError, InvalidConfig
from gateway.state.engine import reading, writing
from tests.audit.requests import START, some_requests

CASES = yaml.safe_load((Path(__file__).parent / "tampering.yaml").read_text(encoding="utf-8"))


def _flaws(state: Engine, audit: Audit | None = None) -> list[str]:
    heads = (audit.head,) if audit is not None and audit.head is not None else ()
    return [one.what for one in verify(state, heads).flaws]


def _run(state: Engine, script: str) -> None:
    with writing(state) as connection:
        for statement in script.split(";"):
            connection.execute(text(statement))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_tampering_is_found(case: dict[str, str], state: Engine) -> None:
    audit = some_requests(state)
    assert _flaws(state, audit) == []
    _run(state, case["sql"])
    if case.get("head"):
        assert _flaws(state) == []
    assert any(case["flaw"] in one for one in _flaws(state, audit))


def test_every_column_but_three_is_hashed(state: Engine) -> None:
    audit = some_requests(state)
    with reading(state) as connection:
        names = set(connection.execute(text("SELECT * FROM audit_records LIMIT 0")).keys())
    for name in names - {"chain", "sequence", "salt", "redactable"}:
        where = "FROM audit_records WHERE sequence = 1"
        with reading(state) as connection:
            (kept,) = connection.execute(text(f"SELECT {name} {where}")).one()
        change = text(f"UPDATE audit_records SET {name} = :value WHERE sequence = 1")
        with writing(state) as connection:
            connection.execute(change, {"value": "7"})
        (flaw, *_) = verify(state).flaws
        assert flaw.sequence in (1, 2), name
        with writing(state) as connection:
            connection.execute(change, {"value": kept})
    assert _flaws(state, audit) == []


def test_the_history_tells_both_ends(state: Engine) -> None:
    audit = some_requests(state)
    audit.started(replace(START, query_id="open", user="carl"))
    write = replace(START, query_id="no", statement="DROP TABLE x", user="carl")
    audit.refused(write, "unsupported_sql")
    found = {one.query_id: one for one in history(state)}
    assert (found["q2"].outcome, found["q2"].rows, found["q2"].seconds) == ("ok", 20, 0.25)
    assert found["q2"].statement == START.statement
    assert found["q2"].products == START.products
    assert (found["open"].outcome, found["open"].rows) == ("unknown", None)
    assert (found["no"].outcome, found["no"].code) == ("refused", "unsupported_sql")
    assert {one.query_id for one in history(state, user="carl")} == {"open", "no"}
    assert len(history(state, count=2)) == 2
    assert verify(state).unknown == 1


def test_a_started_record_is_committed_before_the_request_goes_on(state: Engine) -> None:
    Audit(state).started(START)
    with reading(state) as connection:
        assert connection.scalar(text("SELECT kind FROM audit_records")) == "started"


def test_redaction_forgets_literals_and_keeps_the_chain(state: Engine) -> None:
    audit = some_requests(state)
    assert redact(audit, state, Redaction("q1"), by="petra") == 1
    assert redact(audit, state, Redaction("q1"), by="petra") == 0
    found = verify(state, (audit.head,) if audit.head else ())
    assert found.holds and found.redacted == 1
    with reading(state) as connection:
        rows = connection.execute(text("SELECT * FROM audit_records WHERE query_id = 'q1'"))
        stored = json.dumps([list(map(str, one)) for one in rows])
    for literal in ("UA", "O'Hare", "month > 6"):
        assert literal not in stored
    shown = next(one for one in history(state) if one.query_id == "q1")
    assert "carrier = ?" in shown.statement


def test_literals_never_reach_the_hashed_columns(state: Engine) -> None:
    Audit(state).started(START)
    with reading(state) as connection:
        row = connection.execute(text("SELECT * FROM audit_records")).mappings().one()
    hashed = {name: str(value) for name, value in row.items() if name != "redactable"}
    assert not any("UA" in one or "O'Hare" in one for one in hashed.values())


def test_each_process_has_a_chain_of_its_own(state: Engine) -> None:
    first, second = some_requests(state), some_requests(state)
    assert first.head is not None and second.head is not None
    assert first.head.chain != second.head.chain
    found = verify(state, (first.head, second.head))
    assert (found.holds, found.chains, found.records) == (True, 2, 12)


def test_threads_share_one_chain(state: Engine) -> None:
    audit = Audit(state)

    def work(name: int) -> None:
        for number in range(20):
            ticket = audit.started(replace(START, query_id=f"{name}-{number}"))
            audit.finished(ticket, AuditFinish("ok"))

    threads = [threading.Thread(target=work, args=(one,)) for one in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(timeout=60)
    found = verify(state)
    assert (found.holds, found.chains, found.records, found.unknown) == (True, 1, 240, 0)


def test_a_record_that_cannot_be_written_stops_the_request(state: Engine) -> None:
    audit = some_requests(state)
    _run(state, "ALTER TABLE audit_records RENAME TO elsewhere")
    with pytest.raises(InternalError) as caught:
        audit.started(START)
    assert "UA" not in caught.value.message
    _run(state, "ALTER TABLE elsewhere RENAME TO audit_records")
    audit.started(replace(START, query_id="after"))
    found = verify(state)
    assert (found.holds, found.chains) == (True, 2)


def test_statements_that_cannot_be_cut_into_words_are_kept(state: Engine) -> None:
    audit = Audit(state)
    for number, statement in enumerate(("SELECT 'open", "", "\x00", "é 😀 '\ud800'")):
        audit.refused(replace(START, query_id=f"bad{number}", statement=statement), "parse_error")
    assert verify(state).holds


def test_heads_are_exported_and_read_back(state: Engine, tmp_path: Path) -> None:
    path = tmp_path / "heads" / "heads.jsonl"
    audit = Audit(state)
    assert audit.export_head(path) is None
    close = export_on_schedule(lambda: audit.head, lambda _: audit.export_head(path), 0.05)
    audit.started(START)
    deadline = time.monotonic() + 60
    while not path.is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    audit.started(replace(START, query_id="q2"))
    close()
    assert read_heads(path)[-1:] == (audit.head,)
    assert len(path.read_text().splitlines()) == 2
    path.write_text("no head\n")
    with pytest.raises(InvalidConfig, match=r"heads\.jsonl:1"):
        read_heads(path)


def test_a_foreign_head_is_a_flaw(state: Engine) -> None:
    audit = some_requests(state)
    assert audit.head is not None
    assert _flaws(state, audit) == []
    (flaw,) = verify(state, (replace(audit.head, hash="0" * 64),)).flaws
    assert "not the one that was exported" in flaw.what
