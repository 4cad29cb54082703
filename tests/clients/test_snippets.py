"""The snippets for notebooks and for great expectations, each page in an environment of its own.

Takes: pages of docs/clients and the sample mesh. Gives: their blocks, run as a reader runs them.
Never installs anything into the environment of the tests.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gateway.serve.flight.server import FlightEndpoint
from tests.docs.blocks import blocks
from tests.environment import environment
from tests.sample import SampleMesh

ROOT = Path(__file__).resolve().parents[2]
IPYTHON = """
import sys
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.instance().run_cell(sys.stdin.read()).raise_error()
"""
NOTEBOOKS = ("ipython", "jupysql==0.11.1", "marimo==0.25.2", "pandas", "polars", "sqlalchemy<3")
EXPECTATIONS = ("great-expectations==1.24.1", "sqlalchemy<3")
PAGES = {
    "notebooks": (NOTEBOOKS, ["EWR", "EWR"]), "tools": (EXPECTATIONS, ['"success": true']),
}  # fmt: skip
pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.mark.parametrize(
    ("page", "packages", "printed"),
    [(page, *known) for page, known in PAGES.items()],
)
def test_a_page(
    sample: SampleMesh, tmp_path: Path, page: str, packages: tuple[str, ...], printed: list[str]
) -> None:
    python = str(environment(tmp_path / "environment", *packages, str(ROOT / "client")))
    endpoint = FlightEndpoint(sample.opened, "127.0.0.1", 0)
    place = f"127.0.0.1:{endpoint.start()}"
    answers = []
    text = (ROOT / "docs" / "clients" / f"{page}.md").read_text(encoding="utf-8")
    for block in blocks(text):
        if block.language not in ("ipython", "py"):
            continue
        code = ["-c", IPYTHON] if block.language == "ipython" else ["-"]
        done = subprocess.run(
            [python, *code], input=block.text.replace("127.0.0.1:7051", place),
            capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        answers.append(done.stdout)
    endpoint.stop()
    for answer, wanted in zip(answers, printed, strict=True):
        assert wanted in answer
