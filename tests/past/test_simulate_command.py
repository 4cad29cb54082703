"""`sqluice policy simulate`, as a shell calls it, over the shop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.audit import Audit, Redaction, redact, requests
from gateway.errors import RateLimited, SqluiceError
from gateway.state.engine import reading
from gateway.state.publications import publications
from gateway.state.revisions import revisions
from sqluice.command import main
from tests.policies.mesh import write_mesh
from tests.policies.running import Running, running

ENTITLEMENT = {"id": "areas", "table": "staff.people.areas", "subject": "person",
               "values": ["region", "size"]}  # fmt: skip
CASE: Mapping[str, Any] = {
    "governance": [{"id": "f", "match": {"product": "orders"}, "subjects": [{"users": ["bob"]}],
                    "effect": {"filter": "region IN (entitlement.areas.region)"}}],
    "entitlements": [ENTITLEMENT],
}  # fmt: skip
ASKED = (
    ("ada", "SELECT id, email FROM shop.orders WHERE region = 'EU' LIMIT 3"),
    ("ada", "SELECT id, email FROM shop.orders WHERE region = 'US' LIMIT 2"),
    ("bob", "SELECT id FROM shop.orders"),
    ("bob", "SELECT count(*) FROM shop.orders WHERE amount > 10.5"),
    ("olga", "SELECT id FROM shop.orders WHERE email = 'broken"),
    ("olga", "SHOW TABLES"),
)


def _policy(effect: Mapping[str, Any], **more: object) -> str:
    made = {"kind": "Policy", "id": "tried", "match": {"product": "orders"}, "effect": effect}
    return yaml.safe_dump({**made, **more})


@dataclass(frozen=True, slots=True)
class Shop:
    """A gateway that was asked, and a folder for changes of its mesh."""

    gateway: Running
    change: Path

    def simulate(self, *words: str) -> Result:
        """The command."""
        folder = self.gateway.folder
        given = ("policy", "simulate", "--conf", str(folder), "--change", str(self.change))
        environment = {"SQLUICE_DATA": str(folder / "data")}
        return CliRunner().invoke(main, [*given, *words], env=environment)

    def put(self, text: str, path: str = "governance/policies/tried.yaml") -> None:
        """A file of the change."""
        (self.change / path).parent.mkdir(parents=True, exist_ok=True)
        (self.change / path).write_text(text)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """The shop, asked by three."""
    change = tmp_path / "change"
    change.mkdir()
    with running(tmp_path / "mesh", CASE) as gateway:
        for user, sql in ASKED:
            with suppress(SqluiceError):
                gateway.ask(sql, user)
        yield Shop(gateway, change)


def test_nothing_changes(shop: Shop) -> None:
    done = shop.simulate()
    assert (done.exit_code, "changes for 0 of them" in done.output) == (0, True)
    found = json.loads(shop.simulate("--json").output)
    assert (found["statements"], found["requests"], found["changes"]) == (5, 6, [])


def test_a_change_for_people_and_programs(shop: Shop) -> None:
    shop.put(_policy({"mask": {"kind": "null"}}, match={"tags": ["pii.email"]}))
    done = shop.simulate("--days", "2")
    assert done.exit_code == 1
    assert "shop.orders.orders.email" in done.output and "masked: null" in done.output
    assert "EU" not in done.output and "10.5" not in done.output
    found = json.loads(shop.simulate("--json").output)
    (change,) = found["changes"]
    assert (change["user"], change["times"], change["before"]) == ("ada", 2, "allowed")
    assert change["effects"] == [{
        "kind": "masked", "what": "shop.orders.orders.email", "before": "clear",
        "after": "masked: null", "by": ["tried"],
    }]  # fmt: skip
    assert change["masked_after"] == ["shop.orders.orders.email"]
    assert found["totals"]["user"] == {"ada": {"masked": 1}}
    assert found["totals"]["product"] == {"shop.orders": {"masked": 1}}
    assert found["revision"] != found["changed_revision"]


def test_rows_are_counted_and_audited(shop: Shop) -> None:
    shop.put(_policy({"filter": "region = 'EU'"}))
    found = json.loads(shop.simulate("--rows", "--json").output)
    rows = {one["user"]: (one["before"], one["after"]) for one in found["rows"]}
    assert rows == {"ada": (4, 2), "bob": (1, 0)}
    shown = shop.simulate("--rows").output
    assert "rows before" in shown
    counts = [one for one in requests(shop.gateway.opened.state) if one.endpoint == "simulate"]
    assert {one.user for one in counts} == {"ada", "bob"} and len(counts) == 8
    conf = ("--conf", str(shop.gateway.folder))
    # Also what was counted under the mesh that was only tried can be told later.
    for one in counts[:4]:
        done = CliRunner().invoke(main, ["explain", "--query-id", one.query_id, *conf])
        assert (done.exit_code, "equal to" in done.output) == (0, True), done.output


def test_counting_takes_nothing_of_a_quota(shop: Shop) -> None:
    shop.put(_policy({"limit": {"requests": 1, "per": "day"}}))
    for _ in range(2):
        found = json.loads(shop.simulate("--rows", "--json").output)
        assert {one["after"] for one in found["rows"]} == {4, 1}


def test_a_condition_over_other_entitlements(shop: Shop) -> None:
    """Their values come from the audit; those that no decision used are told."""
    other = "region IN (entitlement.areas.region) AND id IN (entitlement.areas.size)"
    policy = {**CASE["governance"][0], "kind": "Policy", "effect": {"filter": other}}
    shop.put(yaml.safe_dump(policy), "governance/policies/case.yaml")
    found = json.loads(shop.simulate("--json").output)
    assert {one["user"] for one in found["changes"]} == {"bob"}
    assert all(one["effects"][0]["kind"] == "changes" for one in found["changes"])


def test_what_is_closed_now_is_tried_at_its_own_hour(shop: Shop) -> None:
    now = datetime.now(UTC)
    start, end = (f"{now - timedelta(hours=hours):%H:%M}" for hours in (3, 1))
    hours = {"hours": {"from": start, "to": end, "zone": "UTC"}}
    limit = {"kind": "Policy", "id": "open", "match": {"product": "orders"},
             "subjects": [{"users": ["olga"]}], "effect": {"limit": hours}}  # fmt: skip
    (shop.gateway.folder / "governance/policies/open.yaml").write_text(yaml.safe_dump(limit))
    assert shop.gateway.opened.publisher.reload()
    shop.gateway.ask("SELECT phone FROM shop.orders", "olga", now=now - timedelta(hours=2))
    with pytest.raises(RateLimited):
        shop.gateway.ask("SELECT phone FROM shop.orders", "olga")
    shop.put(_policy({"mask": {"kind": "null"}}, match={"tags": ["pii.phone"]}))
    (change,) = json.loads(shop.simulate("--json").output)["changes"]
    assert (change["user"], change["before"], change["after"]) == ("olga", "allowed", "allowed")
    assert change["effects"][0]["kind"] == "masked"


def test_redacted_literals(shop: Shop) -> None:
    state = shop.gateway.opened.state
    keeper = Audit(state)
    for user in ("ada", "bob", "olga"):
        redact(keeper, state, Redaction(user=user), by="petra")
    keeper.close()
    shop.put(_policy({"deny": True}, subjects=[{"users": ["ada", "bob", "olga"]}]))
    found = json.loads(shop.simulate("--json").output)
    effects = {(one["user"], one["effects"][0]["kind"]) for one in found["changes"]}
    assert effects == {("ada", "loses"), ("bob", "loses")} and len(found["changes"]) == 3
    assert [one["user"] for one in found["untried"]] == ["olga"]
    assert "a literal was redacted" in shop.simulate().output


def test_a_whole_mesh_and_a_broken_one(shop: Shop) -> None:
    write_mesh(shop.change, {})
    found = json.loads(shop.simulate("--json").output)
    gone = {one["user"]: one["kind"] for one in found["people"]}
    assert gone == {"ada": "loses", "bob": "loses", "olga": "loses"}
    shop.put((shop.gateway.folder / "identities.yaml").read_text(), "identities.yaml")
    found = json.loads(shop.simulate("--json").output)
    assert ({one["user"] for one in found["changes"]}, found["people"]) == ({"bob"}, [])
    shop.put("kind: Policy\nid: broken\n")
    done = shop.simulate("--json")
    assert done.exit_code == 1 and json.loads(done.output)["error"]["code"] == "invalid_config"
    assert shop.simulate("--days", "0").exit_code == 2


def test_a_changed_mesh_is_never_published(shop: Shop) -> None:
    shop.put(_policy({"deny": True}))
    assert shop.simulate("--rows").exit_code == 1
    with reading(shop.gateway.opened.state) as connection:
        assert len(revisions(connection)) == 2
        (only,) = publications(connection)
    assert only.revision == shop.gateway.opened.publisher.current().mesh.revision
    assert shop.gateway.ask("SELECT id FROM shop.orders")
