"""How `sqluice serve` begins and ends: what stops a start is one line, Ctrl-C leaves all closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Call

FREE = ("--http-port", "0", "--flight-port", "0", "--pgwire-port", "0")
START = "from sqluice.command import main; main(prog_name='sqluice')"


def serve(**environment: str) -> subprocess.Popen[str]:
    """The command over the mesh in the current folder, as a terminal starts it."""
    return subprocess.Popen(
        [sys.executable, "-c", START, "serve", "--conf", "mesh", *FREE],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_ctrl_c_closes_everything(call: Call) -> None:
    assert call("init", "mesh").exit_code == 0
    with serve() as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready http=")
        os.killpg(process.pid, signal.SIGINT)
        printed, told = process.communicate(timeout=60)
    assert (process.returncode, printed, told) == (0, "", "")
    # SQLite removes its log when the last connection closes; a killed worker leaves it.
    assert [one.name for one in Path("mesh/data/gateway").iterdir()] == ["state.sqlite"]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("SQLUICE_DATA", "/dev/null/nowhere", "source_unavailable"),
        ("SQLUICE_STATE", "nonsense", "invalid_config"),
    ],
)
def test_a_start_that_fails_is_told(name: str, value: str, code: str, call: Call) -> None:
    assert call("init", "mesh").exit_code == 0
    with serve(**{name: value}) as process:
        printed, told = process.communicate(timeout=60)
    assert (process.returncode, printed) == (1, "")
    first, remedy = told.splitlines()
    assert first.startswith(f"{code}: ") and remedy


@pytest.mark.parametrize("option", ["--http-port", "--flight-port", "--pgwire-port"])
@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_that_is_none(option: str, port: str, call: Call) -> None:
    assert call("serve", option, port).exit_code == 2


@pytest.mark.parametrize("words", [("init", "/dev/null/x"), ("demo", "--data", "/dev/null/x")])
def test_a_folder_that_cannot_be_made(words: tuple[str, ...], call: Call) -> None:
    done = call(*words)
    assert done.exit_code == 1
    assert "invalid_config: /dev/null" in done.stderr and "Name what exists" in done.stderr
