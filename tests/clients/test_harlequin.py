"""Harlequin over ADBC and over PostgreSQL's protocol, in an environment of its own.

Takes: Harlequin and its two adapters from PyPI, a gateway over the sample mesh. Gives: what its
window is filled with: the catalog, an answer, an error. Never opens the window.
"""

from __future__ import annotations

import json
import subprocess
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.served import Served

PACKAGES = (
    "harlequin==2.17.0", "harlequin-adbc==0.1.2", "harlequin-postgres", "adbc-driver-flightsql",
    "duckdb<1.4",
)  # fmt: skip
# Both adapters give an address, options, and a catalog of labels below labels.
STEPS = """
import json, sys
from importlib.metadata import entry_points

name, address, options, sql = json.loads(sys.stdin.read())
(found,) = entry_points(group="harlequin.adapter", name=name)
connection = found.load()((address,), **options).connect()

def below(items):
    found = {one.label: one.children or getattr(one, "fetch_children", list)() for one in items}
    return {label: below(children) for label, children in found.items()}

def asked(sql):
    cursor = connection.execute(sql)
    rows = cursor.set_limit(100).fetchall()
    rows = rows.to_pylist() if hasattr(rows, "to_pylist") else [list(one) for one in rows]
    return {"columns": cursor.columns(), "rows": rows}

failure = ""
try:
    connection.execute("SELECT nothing FROM operations.departures.flights")
except Exception as error:
    failure = type(error).__name__ + ": " + str(getattr(error, "msg", error))
catalog = below(connection.get_catalog().items)
print(json.dumps({"catalog": catalog, **asked(sql), "failure": failure}))
"""
SQL = "SELECT origin, count(*) AS n FROM departures.flights GROUP BY origin ORDER BY origin"
# As docs/clients/tools.md says them, which tests/docs/test_snippets.py holds against this.
OPTIONS = {"driver_type": "flightsql", "db_kwargs_str": "username=nora;password=nora-demo"}
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@dataclass(frozen=True, slots=True)
class Harlequin:
    """An environment with it, and where it connects."""

    python: str
    gateway: Served

    def asked(self, adapter: str) -> dict[str, Any]:
        """What an adapter gives."""
        if adapter == "adbc":
            address, sql = self.gateway.flight, SQL.replace("departures.", "operations.departures.")
            options = OPTIONS
        else:
            address, sql = self.gateway.pgwire.replace("://", "://nora:nora-demo@"), SQL
            address, options = f"{address}/operations", dict[str, str]()
        done = subprocess.run(
            [self.python, "-c", STEPS], input=json.dumps([adapter, address, options, sql]),
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told


@pytest.fixture(scope="module")
def harlequin(
    gateway: Served, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Harlequin]:
    """It, installed."""
    folder: Path = tmp_path_factory.mktemp("harlequin") / "environment"
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True, timeout=900)
    yield Harlequin(python, gateway)


@pytest.mark.parametrize("adapter", ["adbc", "postgres"])
def test_it_lists_and_asks(harlequin: Harlequin, adapter: str) -> None:
    told = harlequin.asked(adapter)
    schema = told["catalog"]["operations"]["departures"]
    assert "tailnum" in schema["flights"] and "origin" in schema["flights"]
    assert [one[0] for one in told["columns"]] == ["origin", "n"]
    rows = [list(one.values()) if isinstance(one, dict) else one for one in told["rows"]]
    assert [one[0] for one in rows] == ["EWR", "JFK", "LGA"]
    assert told["failure"].startswith("HarlequinQueryError: ")
    assert "nothing" in told["failure"]
