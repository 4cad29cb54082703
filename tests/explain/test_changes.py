"""What EXPLAIN POLICY asks for is enough, and no part of it is too much.

Takes: changes.yaml. Gives: a failure where the requests, put into the mesh as they are, do not
give the rows, where less than them gives the rows too, or where nothing was refused before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.model import Grant, PolicyException
from gateway.access import AccessEvent
from gateway.errors import SqluiceError
from gateway.policies.compile import approval_of
from tests.policies.running import Running, running

CASES = yaml.safe_load(Path(__file__).with_name("changes.yaml").read_text(encoding="utf-8"))
Documents = list[dict[str, Any]]


class Asked:
    """One case in an open gateway."""

    def __init__(self, case: Mapping[str, Any], gateway: Running) -> None:
        self.case, self.gateway = case, gateway
        self.approves = bool(case.get("approve"))
        self.now = datetime.now(UTC)
        if "now" in case:
            hour, minute = map(int, case["now"].split(":"))
            self.now = self.now.replace(hour=hour, minute=minute)

    def ask(self, sql: str) -> object:
        """The rows of a statement, or the code of its error."""
        more = {name: self.case[name] for name in ("purpose", "domain") if name in self.case}
        try:
            rows = self.gateway.ask(sql, now=self.now, **more)
        except SqluiceError as error:
            return error.code
        return [{key: _plain(value) for key, value in row.items()} for row in rows]

    def lines(self) -> list[dict[str, str]]:
        """EXPLAIN POLICY."""
        found = self.ask(f"EXPLAIN POLICY {self.case['sql']}")
        assert isinstance(found, list), found
        return found

    def requests(self) -> Documents:
        """The documents that it asks for."""
        found = dict.fromkeys(one["request"] for one in self.lines() if one["request"])
        return [yaml.safe_load(one) for one in found]

    def apply(
        self, documents: Documents, approved: frozenset[str] = frozenset({"Grant", "Exception"})
    ) -> None:
        """Put them into the mesh, and approve those kinds of them where that is needed."""
        domain = self.case.get("room", "shop")
        mine = "shop" in self.case
        rooms = {
            "Grant": f"domains/{domain}/grants",
            "Exception": "domains/shop/exceptions" if mine else "governance/exceptions",
        }
        for kind, room in rooms.items():
            file = self.gateway.folder / room / "asked.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            chosen = [one for one in documents if one["kind"] == kind]
            file.write_text(yaml.safe_dump_all(chosen))
        publisher = self.gateway.opened.publisher
        assert publisher.reload(), publisher.failure
        if self.approves:
            mesh = publisher.current().mesh
            names = {one["id"] for one in documents if one["kind"] in approved}
            held: tuple[Grant | PolicyException, ...] = (*mesh.grants, *mesh.exceptions)
            for one in held:
                if one.id in names:
                    publisher._access.tell(AccessEvent("approve", approval_of(one), "", "olga"))
            publisher._followed_at = 0.0


def _plain(value: object) -> object:
    return value if isinstance(value, int | str | None) else str(value)


def _purpose(document: Mapping[str, Any]) -> str | None:
    """The one purpose of a grant or an exception."""
    is_grant = document["kind"] == "Grant"
    found = (document if is_grant else document["subjects"][0]).get("purposes")
    return None if found is None else str(*found)


def less(documents: Documents, case: Mapping[str, Any]) -> Iterator[tuple[str, Documents]]:
    """The documents with one part missing; where a purpose is asked for, each part's turn comes."""
    for number, one in enumerate(documents):
        yield f"without document {number}", documents[:number] + documents[number + 1 :]
        columns = one.get("columns", [])
        if len(columns) > 1 and not case.get("larger"):
            for name in columns:
                yield f"without {name}", _with(documents, number, columns=[
                    other for other in columns if other != name
                ])  # fmt: skip
        if "purpose" not in case:
            continue
        subject = one["subjects"][0]
        yield "another user", _with(documents, number, subjects=[{**subject, "users": ["bob"]}])
        if one.get("purposes"):
            yield "another purpose", _with(documents, number, purposes=["nothing-like-it"])
        if subject.get("purposes"):
            subjects = [{**subject, "purposes": ["service"]}]
            yield "another purpose", _with(documents, number, subjects=subjects)
        past = {"from": "2020-01-01", "until": "2020-01-02"}
        yield "another time", _with(documents, number, **past)


def _with(documents: Documents, number: int, **parts: object) -> Documents:
    made = deepcopy(documents)
    made[number].update(parts)
    if parts.get("purposes") == ["nothing-like-it"]:
        named = {"billing", "fraud", "service"} - set(documents[number]["purposes"])
        made[number]["purposes"] = [sorted(named)[0]]
    return made


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["name"])
def test_what_is_asked_for_is_enough_and_not_too_much(
    case: dict[str, Any], tmp_path: Path
) -> None:
    with running(tmp_path, case) as gateway:
        asked = Asked(case, gateway)
        if "revoked" in case:
            gateway.tell("revoke", case["revoked"])
            gateway.opened.publisher._followed_at = 0.0
        if "first" in case:
            asked.ask(case["first"])
        refused = case.get("refused", case.get("before"))
        assert asked.ask(case["sql"]) == refused
        documents = asked.requests()
        assert [one["kind"] for one in documents] == case["kinds"]
        columns = [sorted(one["columns"]) for one in documents if one["kind"] == "Grant"]
        assert columns == [sorted(one) for one in case.get("asked", [])]
        for one in documents:
            assert one["subjects"][0]["users"] == ["ada"]
            assert _purpose(one) == case.get("purpose", case.get("chosen"))
            start, until = (datetime.fromisoformat(one[key]) for key in ("from", "until"))
            assert until - start == timedelta(days=1)
        for what, fewer in less(documents, case):
            asked.apply(fewer)
            found = asked.ask(case["sql"])
            is_refused = isinstance(found, str)
            assert is_refused if "refused" in case else found != case["after"], what
        asked.apply(documents)
        assert asked.ask(case["sql"]) == case["after"]


def test_a_purpose_is_the_smallest_change(tmp_path: Path) -> None:
    grant = {
        "id": "g", "product": "orders", "purposes": ["service", "fraud"],
        "subjects": [{"all": True}],
    }  # fmt: skip
    case: dict[str, Any] = {"grants": [grant], "sql": "SELECT id FROM shop.orders WHERE id = 1"}
    with running(tmp_path, case) as gateway:
        asked = Asked(case, gateway)
        assert asked.ask(case["sql"]) == "purpose_required"
        lines = asked.lines()
        assert [one["outcome"] for one in lines] == [
            "refused: purpose_required", "required", "needs a purpose",
        ]  # fmt: skip
        assert not any(one["request"] for one in lines)
        assert lines[2]["detail"] == "yours: fraud, service; SET purpose = 'fraud'"
        assert Asked({**case, "purpose": "fraud"}, gateway).ask(case["sql"]) == [{"id": 1}]
