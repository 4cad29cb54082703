"""The wheels of both distributions, in environments of their own.

Takes: this tree. Gives: proof that what is shipped runs without it. Never imports the tree: every
statement runs in a new environment, in an empty folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.environment import environment, pip

ROOT = Path(__file__).resolve().parents[2]
PINNED = ("-c", str(ROOT / "constraints.txt"))
# One environment for all of them, which stay on one worker.
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment, and an empty folder to run in."""

    folder: Path
    empty: Path

    def run(self, *command: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment; `path` is a folder that Python looks into first."""
        variables = few_variables()
        if path is not None:
            variables["PYTHONPATH"] = str(path)
        return subprocess.run(
            [self.folder / "bin" / command[0], *command[1:]],
            cwd=self.empty, env=variables, capture_output=True, text=True, timeout=600,
            check=False,
        )  # fmt: skip


def few_variables() -> dict[str, str]:
    """What a program of an environment is told of ours."""
    kept = ("PATH", "HOME", "LANG", *(one for one in os.environ if one.startswith("PIP_")))
    return {one: os.environ[one] for one in kept if one in os.environ}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both wheels, by the name of the distribution."""
    folder = tmp_path_factory.mktemp("wheels")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, "./client", "."],
        cwd=ROOT, check=True, timeout=300,
    )  # fmt: skip
    return {one.name.split("-", 1)[0]: one for one in folder.glob("*.whl")}


def made(folder: Path, *wanted: str) -> Environment:
    """A fresh environment with these in it."""
    environment(folder / "environment", *wanted, variables=few_variables())
    (folder / "empty").mkdir()
    return Environment(folder / "environment", folder / "empty")


@pytest.fixture(scope="module")
def server(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Both wheels with what the demo needs."""
    wanted = (str(wheels["sqluice"]), f"{wheels['sqluice_gateway']}[demo]")
    return made(tmp_path_factory.mktemp("server"), *PINNED, *wanted)


@pytest.fixture(scope="module")
def client(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The client's wheel alone."""
    return made(tmp_path_factory.mktemp("client"), *PINNED, str(wheels["sqluice"]))


def test_what_is_in_them(wheels: dict[str, Path]) -> None:
    inside = {name: ZipFile(path).namelist() for name, path in wheels.items()}
    tops = {
        name: {one.split("/", 1)[0] for one in held if ".dist-info/" not in one}
        for name, held in inside.items()
    }
    assert tops == {"sqluice": {"sqluice"}, "sqluice_gateway": {"gateway", "connectors", "catalog"}}
    # The sample mesh has policy cases in folders of this name; they are its own, not the suite's.
    tests = [one for held in inside.values() for one in held if "tests/" in one]
    assert {one.split("/conf/")[0] for one in tests} == {"gateway/demo"}
    assert {Path(one).suffix for one in tests} == {".yaml"}
    needed = {
        "connectors/postgres.toml", "gateway/functions.toml", "gateway/demo/conf/gateway.toml",
        "gateway/demo/conf/identities.yaml", "gateway/cli/template/gateway.toml",
        "gateway/state/migrations/versions/0001_first.py", "gateway/py.typed",
    }  # fmt: skip
    assert needed <= set(inside["sqluice_gateway"])
    licences = [one for held in inside.values() for one in held if one.endswith("LICENSE")]
    assert len(licences) == 2


def test_nothing_that_git_does_not_know(wheels: dict[str, Path]) -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    ).stdout.split("\n")
    known = {one.removeprefix("client/") for one in listed}
    known |= {one.replace("conf/", "gateway/demo/conf/", 1) for one in known if one[:5] == "conf/"}
    unknown = [
        one
        for path in wheels.values()
        for one in ZipFile(path).namelist()
        if ".dist-info/" not in one and one not in known
    ]
    assert unknown == []


def test_the_demo_runs_from_the_wheels(server: Environment) -> None:
    ran = server.run("sqluice", "demo")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for name in ("mara", "petra", "carl"):
        assert name in ran.stdout
    assert "Everything is stopped again" in ran.stdout


def test_a_folder_that_shadows_the_server_is_named(server: Environment, tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "__init__.py").write_text("", encoding="utf-8")
    ran = server.run("python", "-c", "import gateway.cli.check", path=tmp_path)
    assert ran.returncode != 0
    assert "invalid_config" in ran.stderr
    assert str(tmp_path / "catalog") in ran.stderr


def test_the_client_stands_alone(client: Environment) -> None:
    listed = pip(client.folder / "bin" / "python", "list", "--format", "freeze").stdout.lower()
    assert "sqluice==" in listed
    for name in ("duckdb", "sqlglot", "flask", "sqlalchemy", "sqluice-gateway"):
        assert f"{name}==" not in listed
    helped = client.run("sqluice", "--help")
    assert "query" in helped.stdout and "serve" not in helped.stdout
    ran = client.run("sqluice", "query", "--conf", "conf", "--as", "nora", "SELECT 1")
    assert ran.returncode == 1
    assert "install sqluice[gateway]" in ran.stderr


OLD = ("sqlalchemy==1.4.54", "pyarrow==16.1.0", "pandas==2.1.4", "numpy<2")


def test_the_client_beside_old_libraries(
    wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    old = made(tmp_path_factory.mktemp("old"), str(wheels["sqluice"]), *OLD)
    ran = old.run("python", "-c", "import sqluice.flight; print(sqluice.apilevel)")
    assert (ran.stdout.strip(), ran.returncode) == ("2.0", 0), ran.stderr
    code = "import sqlalchemy; print(sqlalchemy.create_engine('sqluice://h/d').dialect.name)"
    ran = old.run("python", "-W", "error", "-c", code)
    assert (ran.stdout.strip(), ran.returncode) == ("sqluice", 0), ran.stderr
