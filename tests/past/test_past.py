"""Every audited decision can be computed again from what state recorded."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.audit import Audit, AuditedQuery, Redaction, redact, requests
from gateway.errors import SourceUnavailable, Unauthenticated
from gateway.past import DIFFERS, EQUAL, UNKNOWN, Asked, Past
from gateway.policies.replay import recorded_principal, replay
from gateway.request import Request
from gateway.state.engine import reading, writing
from gateway.state.publications import publications
from tests.past.history import live
from tests.policies.running import Running, running

SEED, REVISIONS, EACH = 7, 10, 20


@dataclass(frozen=True, slots=True)
class Lived:
    """A gateway with a past."""

    gateway: Running
    audited: tuple[AuditedQuery, ...]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """Ten revisions, each with an event about access in its midst."""
    with running(tmp_path_factory.mktemp("past"), {}) as gateway:
        yield Lived(gateway, live(gateway, SEED, REVISIONS, EACH))


def test_every_audited_decision_is_computed_again(lived: Lived) -> None:
    past = Past(lived.gateway.opened.state)
    found = [past.explain_query(one.query_id) for one in lived.audited]
    wrong = [(one.audited, one.why) for one in found if one.comparison != EQUAL]
    assert not wrong
    verdicts = Counter(one.replayed.verdict for one in found)
    assert len(found) == REVISIONS * EACH
    assert verdicts["allowed"] >= 60 and len(verdicts) >= 5, verdicts
    entitled = [one for one in found if one.entitled_at]
    assert len({one.audited.entitled for one in entitled if one.audited}) >= 3
    assert len({one.revision for one in found}) == REVISIONS


def test_the_same_by_time_and_name(lived: Lived) -> None:
    past, found = Past(lived.gateway.opened.state), Counter[str]()
    for one in lived.audited:
        if one.user == "nobody":
            continue
        at = datetime.fromisoformat(one.at)
        made = past.explain(Asked(one.user, one.statement, at, one.purpose))
        assert made.revision == one.revision
        if made.replayed.missing:
            continue
        assert made.audited is not None
        assert (made.audited.query_id, made.comparison) == (one.query_id, EQUAL), made.why
        found[made.replayed.verdict] += 1
    assert found["allowed"] >= 40 and len(found) >= 4, found


def test_the_present_mesh_decides_otherwise(lived: Lived) -> None:
    """Control: a comparison that always agrees would prove nothing."""
    present, differing = lived.gateway.opened.publisher.current(), 0
    for one in lived.audited:
        request = Request(
            sql=one.statement, principal=recorded_principal(one, present.mesh),
            now=datetime.fromisoformat(one.at), query_id="q", purpose=one.purpose,
        )  # fmt: skip
        found = replay(request, present)
        fingerprint = found.decision.fingerprint if found.decision is not None else ""
        old = one.revision != present.mesh.revision
        differing += old and one.decision not in ("", fingerprint)
    decided = [one for one in lived.audited if one.decision]
    assert differing >= 0.8 * len(decided)


def test_redacted_literals_leave_the_decision(lived: Lived) -> None:
    state = lived.gateway.opened.state
    wanted = [one for one in lived.audited if "'" in one.statement or "LIMIT" in one.statement]
    keeper, past, found = Audit(state), Past(state), Counter[str]()
    for one in {each.statement_hash: each for each in wanted}.values():
        assert redact(keeper, state, Redaction(one.query_id), by="petra") == 1
        made = past.explain_query(one.query_id)
        assert made.audited is not None and made.audited.redacted
        found[made.comparison] += 1
    keeper.close()
    assert set(found) == {EQUAL} and found[EQUAL] >= 3


def test_an_earlier_revision_that_comes_back_is_found(tmp_path: Path) -> None:
    with running(tmp_path, {}) as gateway:
        publisher = gateway.opened.publisher
        file = tmp_path / "governance" / "policies" / "late.yaml"
        first = publisher.current().mesh.revision
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            "kind: Policy\nid: late\nmatch: {product: orders}\neffect: {deny: true}\n"
        )
        assert publisher.reload()
        second = publisher.current().mesh.revision
        file.unlink()
        assert publisher.reload() and publisher.reload()
        with reading(gateway.opened.state) as connection:
            logged = publications(connection)[::-1]
        assert [one.revision for one in logged] == [first, second, first]
        assert all(one.process for one in logged)
        past = Past(gateway.opened.state)
        for one, verdict in zip(logged, ("allowed", "unknown_table", "allowed"), strict=True):
            at = datetime.fromisoformat(one.at)
            made = past.explain(Asked("ada", "SELECT id FROM shop.orders", at))
            assert (made.replayed.verdict, made.published_at) == (verdict, one.at)
            assert (made.audited, made.comparison) == (None, "")
        early = datetime.fromisoformat(logged[0].at) - timedelta(seconds=1)
        with pytest.raises(SourceUnavailable, match="no revision"):
            past.explain(Asked("ada", "SELECT 1", early))
        with pytest.raises(Unauthenticated):
            past.explain(Asked("zoe", "SELECT 1", early + timedelta(seconds=2)))


def test_changed_records_are_told(tmp_path: Path) -> None:
    """Control: with another file, or without the values, the record is not confirmed."""
    case = {
        "governance": [{"id": "f", "match": {"product": "orders"},
                        "effect": {"filter": "region IN (entitlement.areas)"}}],
        "entitlements": [{"id": "areas", "table": "staff.people.areas", "subject": "person",
                          "values": ["region"]}],
    }  # fmt: skip
    with running(tmp_path, case) as gateway:
        assert gateway.ask("SELECT id FROM shop.orders")
        state = gateway.opened.state
        (one,) = requests(state)
        assert Past(state).explain_query(one.query_id).comparison == EQUAL
        assert len(one.entitled) == 64
        with writing(state) as connection:
            connection.execute(
                text("UPDATE entitlement_values SET content = :new"),
                {"new": zlib.compress(b'{"areas.region":["US"]}')},
            )
        found = Past(state).explain_query(one.query_id)
        assert (found.comparison, found.replayed.missing) == (UNKNOWN, ("areas.region",))
        with writing(state) as connection:
            hashed = connection.scalar(text(
                "SELECT hash FROM revision_files WHERE path = 'governance/policies/case.yaml'"
            ))  # fmt: skip
            connection.execute(
                text("UPDATE revision_contents SET content = :new WHERE hash = :hash"),
                {"hash": hashed, "new": zlib.compress(
                    b"kind: Policy\nid: f\nmatch: {product: orders}\neffect: {filter: 'id > 1'}\n"
                )},
            )  # fmt: skip
        found = Past(state).explain_query(one.query_id)
        assert found.comparison == DIFFERS and "files" in found.why
        assert found.replayed.decision is not None
        assert found.replayed.decision.fingerprint != one.decision
