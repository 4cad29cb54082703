"""Foreign packages with the names of ours are told before anything runs.

Takes: a folder that Python looks into first. Gives: what an import, the command and a connection
in process say. Never touches the environment of the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(first: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh Python that looks into `first` before anything of ours."""
    path = os.pathsep.join(str(one) for one in (first, ROOT, ROOT / "client"))
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60,
        check=False, cwd=first, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


COMMAND = "from sqluice.command import main; main(prog_name='sqluice')"


@pytest.mark.parametrize("foreign", ["catalog/__init__.py", "connectors.py"])
def test_a_foreign_package_is_named(tmp_path: Path, foreign: str) -> None:
    file = tmp_path / foreign
    file.parent.mkdir(exist_ok=True)
    file.touch()
    shown = str(file.parent if file.name == "__init__.py" else file)
    for code, arguments in (
        ("import gateway.cli.check", ()),
        (COMMAND, ("check",)),
        (COMMAND, ("query", "--conf", str(ROOT / "conf"), "--as", "nora", "SELECT 1")),
    ):
        ran = run(tmp_path, code, *arguments)
        assert ran.returncode == 1
        assert "invalid_config" in ran.stderr and shown in ran.stderr
        assert "PYTHONPATH" in ran.stderr
        assert ("Traceback" in ran.stderr) == (code != COMMAND)


def test_a_foreign_gateway_is_told(tmp_path: Path) -> None:
    (tmp_path / "gateway.py").touch()
    ran = run(tmp_path, COMMAND, "check")
    assert ran.returncode == 1
    assert "invalid_config" in ran.stderr and "Traceback" not in ran.stderr
    helped = run(tmp_path, COMMAND, "query", "--help")
    assert helped.returncode == 0


def test_a_folder_without_a_package_shadows_nothing(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    ran = run(tmp_path, "import gateway.cli.check; print('whole')")
    assert (ran.returncode, ran.stdout) == (0, "whole\n"), ran.stderr
