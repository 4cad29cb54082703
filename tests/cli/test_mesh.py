"""A mesh from `sqluice init`: it is valid, it answers, and what breaks it is named."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml

from gateway import inprocess
from gateway.config import load_config
from gateway.errors import InvalidConfig
from gateway.publish import Publisher
from gateway.state.engine import open_state
from tests.cli.conftest import Call

CASES = yaml.safe_load((Path(__file__).parent / "broken.yaml").read_text(encoding="utf-8"))
GRANT = "domains/example/grants/staff.yaml"
QUESTION = "SELECT planet, discoverer_email FROM example.planets ORDER BY moons DESC LIMIT 2"


@pytest.fixture
def mesh(call: Call, tmp_path: Path) -> Path:
    """A mesh folder with its example."""
    done = call("init", "mesh", "--user", "ida", "--json")
    assert done.exit_code == 0, done.output
    return tmp_path / "mesh"


@pytest.mark.usefixtures("mesh")
def test_a_new_mesh_is_fine(call: Call) -> None:
    done = call("check", "--conf", "mesh", "--live")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "1 domain, 1 product, 1 policy" in done.stdout
    shown = json.loads(call("check", "--conf", "mesh", "--json").stdout)
    assert (shown["ok"], shown["problems"]) == (True, [])


def test_a_new_mesh_answers_under_its_policy(mesh: Path) -> None:
    opened = inprocess.open(str(mesh), "ida")
    try:
        _, batches, info = opened.execute(QUESTION)
        rows = [row for batch in batches for row in batch.to_pylist()]
    finally:
        opened.close()
    assert [row["planet"] for row in rows] == ["Saturn", "Jupiter"]
    assert info["masked"]


def test_init_tells_the_password_once_and_keeps_only_its_verifier(
    call: Call, tmp_path: Path
) -> None:
    shown = json.loads(call("init", "other", "--json").stdout)
    assert shown["user"] == "ada"
    written = [one.read_text() for one in (tmp_path / "other").rglob("*") if one.is_file()]
    assert not any(shown["password"] in one for one in written)
    assert not any("@USER@" in one or "@VERIFIER@" in one for one in written)
    assert {str(one.relative_to(tmp_path / "other")) for one in (tmp_path / "other").rglob("*")
            if one.is_file()} == set(shown["files"])
    text = call("init", "third").stdout
    assert "sqluice check --conf third --live" in text


@pytest.mark.usefixtures("mesh")
def test_init_never_overwrites(call: Call) -> None:
    done = call("init", "mesh")
    assert done.exit_code == 1
    assert "not empty" in done.stderr
    assert call("init", "new", "--user", "Robert'); --").exit_code == 2
    assert not Path("new").exists()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_is_broken_is_named(case: dict[str, object], mesh: Path, call: Call) -> None:
    path = mesh / str(case["file"])
    before, after = list(case["change"])  # type: ignore[call-overload]  # a pair in every case
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    live = ["--live"] if case.get("live") else []
    done = call("check", "--conf", "mesh", *live)
    assert done.exit_code == 1, done.output
    for words in list(case["says"]):  # type: ignore[call-overload]  # a list in every case
        assert words in done.stderr
    assert str(mesh) not in done.output
    shown = json.loads(call("check", "--conf", "mesh", "--json", *live).stdout)
    if "error" in shown:
        assert shown["error"]["code"] == "invalid_config"
        return
    assert not shown["ok"]
    for problem in shown["problems"]:
        assert problem["file"] != "." and problem["message"] and problem["remedy"]
        assert problem["line"] is not None or live


def test_every_problem_is_named_at_once(mesh: Path, call: Call) -> None:
    for path, before, after in (
        (GRANT, "product: planets", "product: stars"),
        ("domains/example/contracts/planets.odcs.yaml", "[pii.email]", "[other]"),
    ):
        (mesh / path).write_text((mesh / path).read_text().replace(before, after))
    done = call("check", "--conf", "mesh")
    assert "stars" in done.stderr and "'other'" in done.stderr


def test_a_broken_mesh_does_not_open_and_a_broken_reload_does_not_close(mesh: Path) -> None:
    config = load_config(mesh, {})
    engine = open_state(config.state)
    publisher = Publisher(mesh, engine)
    stop = publisher.watch()
    try:
        good = publisher.current()
        text = (mesh / GRANT).read_text()
        (mesh / GRANT).write_text(text.replace("subjects", "subjectz"))
        deadline = time.monotonic() + 60
        while publisher.failure is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "subjectz" in str(publisher.failure) and publisher.current() is good
        with pytest.raises(InvalidConfig, match="subjectz"):
            Publisher(mesh, engine)
        (mesh / GRANT).write_text(text.replace("[staff]", "[nobody]"))
        while publisher.failure is not None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert publisher.current().mesh.grants[0].subjects[0].groups == {"nobody"}
    finally:
        stop()
        engine.dispose()
