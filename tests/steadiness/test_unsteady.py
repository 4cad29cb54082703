"""What is asked again after a whole run, and what counts as passed then."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unsteady import LAST_FAILED, MOST, refused

CONTENT = """
from pathlib import Path

def test_once():
    count = Path(__file__).with_suffix(".count")
    count.write_text(count.read_text() + "x" if count.exists() else "x")
    assert len(count.read_text()) != {failing}

def test_never():
    assert False
"""


@pytest.mark.parametrize(
    ("failed", "why"),
    [
        ([], "no test"),
        ([f"tests/http/test_a.py::test_{n}" for n in range(MOST + 1)], "6 tests failed"),
        (["tests/http/test_a.py::test_a", "tests/leaks/test_b.py::test_b"], "test_b waits for"),
        (["tests/http/test_a.py"], "waits for nothing"),
        (["tests/test_docs.py::test_a"], "waits for nothing"),
        (["gateway/http/test_a.py::test_a"], "waits for nothing"),
    ],
)
def test_what_is_not_asked_again(failed: list[str], why: str) -> None:
    assert why in refused(failed)


def test_what_waits_is() -> None:
    assert not refused(["tests/http/test_a.py::test_a[one/two]", "tests/flight/test_b.py::test_b"])


@pytest.mark.parametrize(
    ("failing", "tests", "code"),
    [(0, ["once"], 0), (1, ["once"], 1), (2, ["once"], 1), (0, ["once", "never"], 1)],
)
def test_each_must_pass_by_itself_each_time(
    failing: int, tests: list[str], code: int, tmp_path: Path
) -> None:
    place = tmp_path / "tests" / "http" / "test_waits.py"
    place.parent.mkdir(parents=True)
    place.write_text(CONTENT.format(failing=failing))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long\n")
    written = tmp_path / LAST_FAILED
    written.parent.mkdir(parents=True)
    written.write_text(
        json.dumps({f"tests/http/test_waits.py::test_{one}": True for one in tests})
    )
    module = Path(__file__).parent.parent / "unsteady.py"
    ended = subprocess.run(
        [sys.executable, str(module)], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert ("UNSTEADY" in ended.stdout) == (failing == 0)
    assert written.exists() == bool(code)
