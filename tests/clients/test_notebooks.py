"""The snippets for notebooks, in an environment of their own.

Takes: docs/clients/notebooks.md and the sample mesh. Gives: the blocks, run as a reader runs them.
Never installs anything into the environment of the tests.
"""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

import pytest

from gateway.serve.flight.server import FlightEndpoint
from tests.docs.blocks import blocks
from tests.sample import SampleMesh

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "clients" / "notebooks.md"
IPYTHON = """
import sys
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.instance().run_cell(sys.stdin.read()).raise_error()
"""
pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


def test_notebooks(sample: SampleMesh, tmp_path: Path) -> None:
    venv.create(tmp_path / "environment", with_pip=True)
    python = str(tmp_path / "environment" / "bin" / "python")
    wanted = ["ipython", "jupysql==0.11.1", "marimo==0.25.2", "pandas", "polars", "sqlalchemy<3"]
    subprocess.run(
        [python, "-m", "pip", "install", "-q", *wanted, str(ROOT / "client")],
        check=True, timeout=900,
    )  # fmt: skip
    endpoint = FlightEndpoint(sample.opened, "127.0.0.1", 0)
    place = f"127.0.0.1:{endpoint.start()}"
    ran = 0
    for block in blocks(PAGE.read_text(encoding="utf-8")):
        if block.is_shell:
            continue
        code = ["-c", IPYTHON] if block.language == "ipython" else ["-"]
        text = block.text.replace("127.0.0.1:7051", place)
        done = subprocess.run(
            [python, *code], input=text, capture_output=True, text=True, timeout=120, check=False,
            cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "EWR" in done.stdout, done.stdout
        ran += 1
    endpoint.stop()
    assert ran == 2
