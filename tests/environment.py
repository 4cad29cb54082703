"""A virtual environment of its own, made without waste.

Takes: a folder, and what pip is to install. Gives: the Python of the environment. It has no pip:
the one beside the tests installs into it. Nothing is compiled that nobody imports; both take longer
than all else. Never installs anything into the environment of the tests.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

_INSTALL_SECONDS = 900


def environment(
    folder: Path, *wanted: str, variables: Mapping[str, str] | None = None
) -> Path:
    """A new environment with these in it; `variables` are all that pip is told, else ours."""
    venv.create(folder)
    python = folder / "bin" / "python"
    done = pip(python, "install", "-q", "--no-compile", *wanted, variables=variables)
    assert done.returncode == 0, done.stderr
    return python


def pip(
    python: Path, *words: str, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What our pip says of another Python."""
    return subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), *words],
        env=variables, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False,
    )  # fmt: skip
