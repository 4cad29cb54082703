"""What the client does not load: in a process of its own, since here everything is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"duckdb", "sqlglot", "flask", "sqlalchemy", "alembic", "gateway", "connectors", "catalog"}


def loaded_by(statement: str) -> set[str]:
    """Which of the heavy packages a statement loads."""
    text = f"import sys\n{statement}\nprint(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", text], check=True, capture_output=True, text=True, timeout=60
    )
    return {one.split(".", 1)[0] for one in ran.stdout.split()} & HEAVY


@pytest.mark.parametrize(
    "statement",
    ["import sqluice", "import sqluice.flight", "import sqluice.local", "import sqluice.command"],
)
def test_importing_is_light(statement: str) -> None:
    assert loaded_by(statement) == set()


def test_a_connection_is_light() -> None:
    failing = (
        "import sqluice\ntry: sqluice.connect('grpc://127.0.0.1:9', user='a', password='b')\n"
        "except sqluice.OperationalError: pass"
    )
    assert loaded_by(failing) == set()


def test_import_starts_no_driver() -> None:
    text = "import sys, sqluice; print('adbc_driver_manager' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", text], check=True, capture_output=True, text=True, timeout=60
    )
    assert ran.stdout.strip() == "False"
