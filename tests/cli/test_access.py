"""`sqluice access`: what is said there is listed, and wrong names are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.keys import VARIABLE
from tests.cli.conftest import Call
from tests.policies.mesh import write_mesh

EXCEPTION = {
    "id": "case-7", "policy": "m", "subjects": [{"users": ["ada"]}], "reason": "a case",
    "from": "2026-01-01", "until": "2026-01-05",
}  # fmt: skip
POLICY = {
    "id": "m", "match": {"domain": "shop"}, "exceptions": {"maxDays": 7}, "effect": {"deny": True},
}  # fmt: skip


def _mesh(folder: Path) -> str:
    write_mesh(folder, {"governance": [POLICY], "exceptions": [EXCEPTION]})
    return str(folder)


def test_revoke_list_restore(call: Call, tmp_path: Path) -> None:
    conf = _mesh(tmp_path / "mesh")
    said = call(
        "access", "revoke", "all", "--user", "ada", "--reason", "left", "--as", "olga",
        "--conf", conf, "--json",
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    assert json.loads(said.output) == {"number": 1, "kind": "revoke", "subject": "all"}
    listed = json.loads(call("access", "list", "--conf", conf, "--json").output)["events"]
    assert [(one["subject"], one["user"], one["actor"]) for one in listed] == [
        ("all", "ada", "olga")
    ]
    assert "ada" in call("access", "list", "--conf", conf).output
    assert call("access", "restore", "all", "--user", "ada", "--conf", conf).exit_code == 0
    assert json.loads(call("access", "list", "--conf", conf, "--json").output) == {"events": []}
    history = json.loads(call("access", "list", "--history", "--conf", conf, "--json").output)
    assert [one["kind"] for one in history["events"]] == ["revoke", "restore"]
    assert call("access", "restore", "all", "--conf", conf).exit_code == 1


def test_approve(call: Call, tmp_path: Path) -> None:
    conf = _mesh(tmp_path / "mesh")
    own = call("access", "approve", "case-7", "--as", "ada", "--conf", conf)
    assert (own.exit_code, "Nobody approves" in own.output + own.stderr) == (4, True)
    assert call("access", "approve", "case-7", "--as", "petra", "--conf", conf).exit_code == 0
    listed = json.loads(call("access", "list", "--conf", conf, "--json").output)["events"]
    assert listed[0]["subject"].startswith("case-7:")


def test_unknown_names(call: Call, tmp_path: Path) -> None:
    conf = _mesh(tmp_path / "mesh")
    for words in (("revoke", "case-7"), ("revoke", "nothing"), ("approve", "m")):
        assert call("access", *words, "--conf", conf).exit_code == 1


def test_keys(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = _mesh(tmp_path / "mesh")
    monkeypatch.delenv(VARIABLE, raising=False)
    assert call("keys", "rotate", "customer", "--conf", conf).exit_code == 1
    monkeypatch.setenv(VARIABLE, "a state key of more than 32 characters")
    assert call("keys", "rotate", "nobody", "--conf", conf).exit_code == 1
    said = call("keys", "rotate", "customer", "--as", "petra", "--conf", conf, "--json")
    assert json.loads(said.output) == {"join_group": "customer", "epoch": 1}
    listed = json.loads(call("keys", "list", "--conf", conf, "--json").output)["keys"]
    assert [(one["epoch"], one["in_force"], one["created_by"]) for one in listed] == [
        (0, False, ""), (1, True, "petra"),
    ]  # fmt: skip
    assert {key for one in listed for key in one} == {
        "join_group", "epoch", "created_at", "created_by", "in_force",
    }  # fmt: skip
    assert "petra" in call("keys", "list", "--conf", conf).output
