"""`sqluice apply`, `check` and `policy approve` against the revision in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import inprocess
from gateway.audit import history, state_of, verify
from gateway.config import load_config
from tests.cli.conftest import Call
from tests.policies.mesh import write_mesh
from tests.publish.test_widenings import CONTRACT, EMAIL, POLICY, edit

PEOPLE = "identities.yaml"


@pytest.fixture
def conf(tmp_path: Path) -> str:
    """The shop, with somebody of the governance group, and its owner who is one of them too."""
    folder = write_mesh(tmp_path / "mesh", {"governance": [POLICY]})
    users = {"petra": {"roles": ["governance"]}, "olga": {"roles": ["governance"]}, "ada": {}}
    (folder / PEOPLE).write_text(yaml.safe_dump({"kind": "Identities", "users": users}))
    return str(folder)


def shown(call: Call, *words: str, exit_code: int = 0) -> dict[str, Any]:
    """The JSON of a command."""
    done = call(*words, "--json")
    assert done.exit_code == exit_code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_from_the_first_revision_to_an_approved_widening(call: Call, conf: str) -> None:
    dry = shown(call, "apply", "--dry-run", "--conf", conf)
    assert (dry["applied"], dry["in_force"]) == (False, None)
    assert not (Path(conf).parent / ".state").exists()
    first = shown(call, "apply", "--conf", conf)
    assert (first["applied"], first["changes"]["policies"]["added"]) == (True, ["g.email"])
    again = shown(call, "apply", "--dry-run", "--conf", conf)
    assert again["in_force"] == first["revision"] == again["revision"]
    assert again["changes"]["policies"] == {"added": [], "removed": [], "changed": []}

    edit(Path(conf), EMAIL, "")
    refused = shown(call, "apply", "--conf", conf, exit_code=4)
    assert (refused["ok"], refused["applied"]) == (False, False)
    assert refused["changes"]["products"]["changed"] == ["shop.orders@1"]
    (wide,) = refused["widenings"]
    assert (wide["policy"], wide["column"], wide["approved"]) == ("g.email", "email", False)
    told = call("apply", "--dry-run", "--conf", conf)
    assert told.exit_code == 4
    assert f"REFUSED: {wide['place']}" in told.stdout
    assert "policy approve" in told.stderr
    (problem,) = shown(call, "check", "--conf", conf, exit_code=1)["problems"]
    assert (problem["code"], problem["file"]) == ("conflict", CONTRACT)
    assert wide["id"] in problem["message"]

    said = shown(call, "policy", "approve", wide["id"][:8], "--reason", "agreed", "--as", "petra",
                 "--conf", conf)  # fmt: skip
    assert said["widening"]["id"] == wide["id"]
    assert shown(call, "check", "--conf", conf)["ok"]
    done = shown(call, "apply", "--conf", conf)
    assert (done["applied"], done["widenings"][0]["approved"]) == (True, True)
    listed = shown(call, "access", "list", "--conf", conf)["events"]
    assert [(one["subject"], one["actor"], one["reason"]) for one in listed] == [
        (f"widening:{wide['id']}", "petra", "agreed")
    ]
    state = state_of(load_config(Path(conf)))
    assert verify(state).flaws == ()
    with state.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT user_name, content FROM audit_records WHERE kind = 'approved'"
        ).all()
    assert [(name, json.loads(content)["reason"]) for name, content in rows] == [
        ("petra", "agreed")
    ]
    assert list(history(state)) == []
    state.dispose()


def test_who_may_approve_stands_in_the_revision_in_force(call: Call, conf: str) -> None:
    assert call("apply", "--conf", conf).exit_code == 0
    edit(Path(conf), EMAIL, "")
    users = {"ada": {"roles": ["governance"]}}
    (Path(conf) / PEOPLE).write_text(yaml.safe_dump({"kind": "Identities", "users": users}))
    (wide,) = shown(call, "apply", "--conf", conf, exit_code=4)["widenings"]
    words = ("policy", "approve", wide["id"], "--reason", "r", "--conf", conf, "--as")
    for name, why in (("ada", "has not the role governance"), ("olga", "owns shop")):
        done = call(*words, name)
        assert (done.exit_code, why in done.stderr) == (4, True), done.output
    assert call(*words, "petra").exit_code == 0
    wrong = call("policy", "approve", "0" * 32, "--reason", "r", "--conf", conf, "--as", "petra")
    assert (wrong.exit_code, "apply --dry-run" in wrong.stderr) == (1, True)


def test_loosenings_and_tightenings_are_told(call: Call, conf: str) -> None:
    assert call("apply", "--conf", conf).exit_code == 0
    folder = Path(conf)
    edit(folder, "kind: pseudonym", "kind: 'null'", "governance/policies/case.yaml")
    edit(folder, "    joinGroup: customer\n", "", "governance/policies/case.yaml")
    told = call("apply", "--dry-run", "--conf", conf)
    assert told.exit_code == 0
    assert "tightens g.email" in told.stdout
    assert "~ policies: g.email" in told.stdout
    assert "nothing was recorded" in told.stdout
    (folder / "governance/policies/case.yaml").unlink()
    loose = call("apply", "--conf", conf)
    assert (loose.exit_code, loose.stderr) == (0, "")
    assert "the governance group loosens g.email" in loose.stdout
    assert "it is in force" in loose.stdout


def test_a_broken_mesh_is_not_applied(call: Call, conf: str) -> None:
    (Path(conf) / "governance" / "purposes.yaml").write_text("kind: [")
    done = call("apply", "--conf", conf, "--json")
    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (1, "invalid_config")


def _emails(mesh: Path) -> list[str]:
    opened = inprocess.open(str(mesh), "ida")
    try:
        _, batches, _ = opened.execute("SELECT discoverer_email FROM example.planets")
        return [str(row["discoverer_email"]) for batch in batches for row in batch.to_pylist()]
    finally:
        opened.close()


def test_what_somebody_sees_before_and_after_the_approval(call: Call, tmp_path: Path) -> None:
    """The rows themselves: a refused revision shows nothing, an approved one does."""
    assert call("init", "mesh", "--user", "ida", "--json").exit_code == 0
    mesh = tmp_path / "mesh"
    people = mesh / PEOPLE
    people.write_text(f"{people.read_text()}  petra: {{roles: [governance]}}\n")
    masked = _emails(mesh)
    assert masked
    assert not any("@" in one for one in masked)
    contract = mesh / "domains/example/contracts/planets.odcs.yaml"
    contract.write_text(contract.read_text().replace("tags: [pii.email]", "tags: []"))
    assert _emails(mesh) == masked
    (wide,) = shown(call, "apply", "--conf", "mesh", exit_code=4)["widenings"]
    assert _emails(mesh) == masked
    call("policy", "approve", wide["id"], "--reason", "r", "--as", "petra", "--conf", "mesh")
    assert any("@" in one for one in _emails(mesh))
