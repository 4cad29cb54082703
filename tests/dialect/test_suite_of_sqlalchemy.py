"""SQLAlchemy's own suite, on the newest version and on 1.4, over products of a PostgreSQL.

Takes: environments with SQLAlchemy and the client alone. Gives: the suite's verdict; what it leaves
out stands with its reasons in `suite/exclusions.toml`. Never runs the gateway in an old one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.demo.postgres import find_server
from tests.dialect.publishing import publishing
from tests.environment import environment

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OLD = ("sqlalchemy==1.4.54", "pyarrow==16.1.0", "numpy<2", "psycopg2-binary", "pytest")
pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]


def old(folder: Path) -> Path:
    """A Python with SQLAlchemy 1.4 and old libraries, and the client as it lies here."""
    return environment(folder, *OLD, str(ROOT / "client"))


@pytest.mark.parametrize("version", ["newest", "1.4"])
def test_suite(version: str, tmp_path: Path) -> None:
    python = Path(sys.executable) if version == "newest" else old(tmp_path / "old")
    driver = "psycopg" if version == "newest" else "psycopg2"
    with find_server(tmp_path / "postgres") as server:
        server.run("postgres", "CREATE DATABASE suite")
        for schema in ("test_schema", "test_schema_2"):
            server.run("suite", f"CREATE SCHEMA {schema}")
        database = server.url("suite")
        with publishing(tmp_path, database) as published:
            ran = subprocess.run(
                [python, "-m", "pytest", "-c", "setup.cfg", "--rootdir", ".", "-q", "test_suite.py",
                 "--dburi", f"sqluice://{published.url}", "-p", "no:cacheprovider"],
                cwd=HERE / "suite", capture_output=True, text=True, timeout=3000, check=False,
                env={
                    **os.environ,
                    "SUITE_SOURCE": database.replace("postgresql://", f"postgresql+{driver}://"),
                    "SUITE_CONTROL": published.control,
                },
            )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2_000:]
