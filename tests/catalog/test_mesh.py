"""A folder becomes a mesh, or all that is wrong with it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.mesh import MeshError, load_mesh
from catalog.problems import Problem
from tests.catalog.changes import SHOP, changed


def _cases(name: str) -> list[dict[str, Any]]:
    text = (Path(__file__).parent / f"{name}.yaml").read_text(encoding="utf-8")
    return list(yaml.safe_load(text))


def _short(problem: Problem) -> str:
    return f"{problem.code} {problem.place}"


@pytest.mark.parametrize("case", _cases("broken"), ids=lambda case: case["name"])
def test_broken(case: dict[str, Any], tmp_path: Path) -> None:
    mesh = changed(case, tmp_path)
    with pytest.raises(MeshError) as caught:
        load_mesh(mesh)
    assert sorted(map(_short, caught.value.problems)) == sorted(case["problems"])
    text = "\n".join(map(str, caught.value.problems))
    for words in case.get("says", []):
        assert words in text
    assert str(tmp_path) not in text
    for problem in caught.value.problems:
        assert problem.message and problem.path == problem.place.path
        assert (mesh / problem.place.file).exists()


@pytest.mark.parametrize("case", _cases("fine"), ids=lambda case: case["name"])
def test_fine(case: dict[str, Any], tmp_path: Path) -> None:
    mesh = load_mesh(changed(case, tmp_path))
    for expression, wanted in case.get("gives", {}).items():
        product = {one.address: one for one in mesh.products}
        names: dict[str, Any] = {
            "mesh": mesh, "orders": product.get("sales.orders"),
            "staff": product.get("people.staff"),
            "policy": {one.id: one for one in mesh.policies},
            "grant": {one.id: one for one in mesh.grants},
            "user": {one.name: one for one in mesh.users},
        }
        # The expressions are this folder's own data.
        assert eval(expression, {"__builtins__": {"sorted": sorted, "str": str}}, names) == wanted


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """One change of each case that does not hide what follows, all in one mesh."""
    mesh = changed({
        "replace": {
            "domains/sales/contracts/orders.odcs.yaml": [
                ["tags: [pii.email]", "tags: [pii.mail]"],
                ["physicalType: text", "physicalType: wide"],
            ],
            "domains/sales/grants/standing.yaml": [["purposes: [service]", "purposes: [fun]"]],
            "domains/people/domain.yaml": [["name: people", "name: folk"]],
            "governance/policies/personal.yaml": [["joinGroup: customer", "joinGroup: client"]],
            "identities.yaml": [["groups: [privacy]", "groups: [privat]"]],
        },
        "write": {"domains/sales/policies/more.yaml": "a: [", "domains/sales/x.yaml": "kind: Wish"},
    }, tmp_path)
    with pytest.raises(MeshError) as caught:
        load_mesh(mesh)
    codes = [one.code for one in caught.value.problems]
    assert sorted(codes) == sorted([
        "unknown_tag", "unknown_type", "unknown_purpose", "misplaced", "unknown_join_group",
        "unknown_group", "invalid_yaml", "unknown_kind",
    ])
    places = [(one.place.file, one.place.line or 0) for one in caught.value.problems]
    assert places == sorted(places)


def test_the_revision_is_that_of_the_contents(tmp_path: Path) -> None:
    first = load_mesh(SHOP).revision
    assert len(first) == 64
    copied = tmp_path / "copied"
    shutil.copytree(SHOP, copied)
    for one in copied.rglob("*"):
        os.utime(one, (1, 1))
    (copied / ".git").mkdir()
    (copied / ".git" / "config.yaml").write_text("a: [")
    (copied / "README.md").write_text("Hello")
    assert load_mesh(copied).revision == first
    for name in ("gateway.toml", "domains/sales/domain.yaml", "governance/tests/new.yaml"):
        path = copied / name
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write("# more\n")
        second = load_mesh(copied).revision
        assert second != first
        first = second
    (copied / "domains/sales/policies/own.yaml").rename(copied / "domains/sales/policies/mine.yaml")
    assert load_mesh(copied).revision != first


def test_the_revision_can_be_computed_by_anybody() -> None:
    digest = hashlib.sha256()
    files = [one for one in SHOP.rglob("*") if one.is_file()]
    names = sorted(one.relative_to(SHOP).as_posix() for one in files)
    for name in names:
        content = (SHOP / name).read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    assert load_mesh(SHOP).revision == digest.hexdigest()


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_no_mesh(name: str, tmp_path: Path) -> None:
    with pytest.raises(MeshError) as caught:
        load_mesh(tmp_path / name)
    assert [one.code for one in caught.value.problems] == ["no_mesh"]
    assert str(tmp_path) not in str(caught.value)


def test_a_mesh_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").touch()
    mesh = load_mesh(tmp_path)
    assert (mesh.domains, mesh.products, mesh.grants) == ((), (), ())


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A link that leads to itself, since nothing is closed to root by its permissions."""
    mesh = changed({}, tmp_path)
    (mesh / "identities.yaml").unlink()
    (mesh / "identities.yaml").symlink_to("identities.yaml")
    with pytest.raises(MeshError) as caught:
        load_mesh(mesh)
    assert [one.code for one in caught.value.problems] == ["unreadable"]


def test_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    mesh = changed({}, tmp_path)
    (mesh / "governance" / "gone.yaml").symlink_to(tmp_path / "nowhere.yaml")
    with pytest.raises(MeshError) as caught:
        load_mesh(mesh)
    assert [_short(one) for one in caught.value.problems] == ["unreadable governance/gone.yaml"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"kind: \x01"])
def test_bytes_that_are_no_text(content: bytes, tmp_path: Path) -> None:
    mesh = changed({}, tmp_path)
    (mesh / "governance" / "purposes.yaml").write_bytes(content)
    with pytest.raises(MeshError) as caught:
        load_mesh(mesh)
    assert {one.code for one in caught.value.problems} == {"invalid_yaml"}


def test_the_mark_that_some_editors_write_first(tmp_path: Path) -> None:
    mesh = changed({}, tmp_path)
    path = mesh / "governance" / "purposes.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [one.name for one in load_mesh(mesh).purposes] == ["service", "fraud"]


def test_the_catalog_loads_nothing_of_the_gateway() -> None:
    forbidden = ("gateway", "connectors", "duckdb", "sqlglot", "pydantic", "flask", "sqlalchemy")
    code = f"import sys, catalog.mesh; print([m for m in {forbidden} if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert answer.stdout.strip() == "[]"
