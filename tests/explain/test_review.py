"""What is in the way of a request, told to whoever may know the mesh, and proved by doing it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.policies.review import Step, review, with_request
from tests.cli.conftest import Call, call
from tests.explain.test_changes import Asked, Documents
from tests.policies.mesh import write_mesh
from tests.policies.running import running

__all__ = ["call"]
CASES = yaml.safe_load(Path(__file__).with_name("reviews.yaml").read_text(encoding="utf-8"))


def _asked(asked: Asked) -> Documents:
    snapshot = asked.gateway.opened.publisher.current()
    found = (with_request(snapshot, one) for one in asked.requests())
    return [{key: value for key, value in one.items() if key != "domain"} for one in found]


def _steps(asked: Asked, documents: Documents) -> tuple[Step, ...]:
    """The steps of the request, which stands in the mesh for the look alone."""
    approving, asked.approves = asked.approves, False
    asked.apply(documents)
    snapshot = asked.gateway.opened.publisher.current()
    (grant,) = (one for one in snapshot.mesh.grants if one.id == documents[0]["id"])
    made = review(snapshot, grant, snapshot.index.standing, asked.now)
    asked.apply([])
    asked.approves = approving
    return made.steps


def _do(asked: Asked, documents: Documents, steps: tuple[Step, ...]) -> None:
    """Carry the steps out."""
    restored = [one for one in steps if one.kind == "restore"]
    for _ in restored:
        asked.gateway.tell("restore", asked.case["revoked"], "ada")
        asked.gateway.opened.publisher._followed_at = 0.0
    exceptions = [yaml.safe_load(one.text) for one in steps if one.kind == "exception"]
    asked.approves = any(one.kind in ("approve", "exception") for one in steps)
    is_approved = any(one.kind == "approve" for one in steps)
    approved = frozenset({"Exception", "Grant"} if is_approved else {"Exception"})
    asked.apply([] if restored else [*documents, *exceptions], approved)


def _fewer(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    for number in range(len(steps)):
        yield steps[:number] + steps[number + 1 :]


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["name"])
def test_the_steps_are_enough_and_none_is_too_much(case: dict[str, Any], tmp_path: Path) -> None:
    with running(tmp_path, case) as gateway:
        asked = Asked(case, gateway)
        if "revoked" in case:
            gateway.tell("revoke", case["revoked"], "ada")
            gateway.opened.publisher._followed_at = 0.0
        assert isinstance(asked.ask(case["sql"]), str)
        documents = _asked(asked)
        steps = _steps(asked, documents)
        assert [one.kind for one in steps] == [kind for kind, _ in case["steps"]]
        assert all(part in one.text for one, (_, part) in zip(steps, case["steps"], strict=True))
        if "after" not in case:
            return
        if case["steps"] and "revoked" not in case:
            for fewer in _fewer(steps):
                _do(asked, documents, fewer)
                assert isinstance(asked.ask(case["sql"]), str), fewer
        _do(asked, documents, steps)
        assert asked.ask(case["sql"]) == case["after"]


def test_the_command(call: Call, tmp_path: Path) -> None:
    conf = str(write_mesh(tmp_path / "mesh", CASES[0]))
    request = tmp_path / "request.yaml"
    content = {
        "kind": "Grant", "id": "shop.orders.asked-1", "product": "ORDERS", "columns": ["id"],
        "subjects": [{"users": ["ada"]}], "from": "2026-01-01", "until": "2126-01-01",
    }  # fmt: skip
    request.write_text(yaml.safe_dump(content))
    done = call("access", "review", str(request), "--conf", conf)
    assert done.exit_code == 0, done.output
    made = [one for one in yaml.safe_load_all(done.output) if one]
    assert [(one["kind"], one.get("policy")) for one in made] == [
        ("Exception", "d"), ("Grant", None)
    ]
    assert made[1] == {**content, "product": "orders"}
    told = json.loads(call("access", "review", str(request), "--conf", conf, "--json").output)
    assert [one["kind"] for one in told["reviews"][0]["steps"]] == ["exception"]
    request.write_text(yaml.safe_dump({**content, "columns": ["nope"], "tables": ["orders"]}))
    wrong = call("access", "review", str(request), "--conf", conf)
    assert (wrong.exit_code, "nope" in wrong.output + wrong.stderr) == (1, True)
    request.write_text(yaml.safe_dump({**content, "product": "nope"}))
    assert call("access", "review", str(request), "--conf", conf).exit_code == 1
    request.write_text("kind: Policy\n")
    assert call("access", "review", str(request), "--conf", conf).exit_code == 1
