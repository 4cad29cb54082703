"""A state of the first version keeps its proof."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlalchemy import text

from gateway.audit import Audit, Head, Redaction, history, redact, verify
from gateway.state.engine import open_state, writing
from tests.audit.requests import START

SCRIPT = Path(__file__).with_name("version_0001.sql").read_text(encoding="utf-8")
HEAD = Head(
    "9e811e95d1d3414d8c3f168f4415b10e", 5,
    "e7eb407f5be20888d1c9de21ba86537306814668b3ba328cc0a70cd95488baba",
)


def test_chains_of_the_first_format_still_hold(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    old = sqlite3.connect(path)
    old.executescript(SCRIPT)
    old.close()
    state = open_state(f"sqlite:///{path}")
    found = verify(state, (HEAD,))
    assert (found.flaws, found.records, found.redacted) == ((), 5, 1)
    assert [one.statement.count("'UA'") for one in history(state)] == [1, 0]
    audit = Audit(state)
    audit.started(START)
    assert redact(audit, state, Redaction("q0"), by="petra") == 1
    found = verify(state, (HEAD, *([audit.head] if audit.head else [])))
    assert (found.flaws, found.chains, found.redacted) == ((), 2, 2)
    with writing(state) as connection:
        connection.execute(text("UPDATE audit_records SET outcome = 'x' WHERE sequence = 2"))
    assert any(one.what == "the record was changed" for one in verify(state, (HEAD,)).flaws)
    state.dispose()
