"""curl, as a newcomer types it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.served import MANY, Served

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


def curl(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """A call of curl."""
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "20", *arguments],
        input=text, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_a_statement_as_json(gateway: Served) -> None:
    body = json.dumps({"sql": "select carrier from network.reference.airlines order by 1 limit ?",
                       "parameters": [2]})  # fmt: skip
    done = curl("-u", "nora:nora-demo", "--json", body, f"{gateway.http}/v1/query")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["rows"] == [["9E"], ["AA"]]


def test_a_statement_as_csv_into_a_file(gateway: Served, tmp_path: Path) -> None:
    body = json.dumps({"sql": "select carrier, name from network.reference.airlines order by 1"})
    done = curl(
        "-u", "nora:nora-demo", "-H", "Accept: text/csv", "-H", "Content-Type: application/json",
        "-d", body, "-o", str(tmp_path / "airlines.csv"), "-w", "%{http_code} %{content_type}",
        f"{gateway.http}/v1/query",
    )  # fmt: skip
    assert done.stdout.startswith("200 text/csv")
    lines = (tmp_path / "airlines.csv").read_bytes().split(b"\r\n")
    assert lines[0] == b"carrier,name" and len(lines) == 18


def test_a_wrong_password_fails_by_its_status(gateway: Served) -> None:
    done = curl("--fail", "-u", "nora:guessed-it", f"{gateway.http}/v1/products")
    assert done.returncode == 22 and "401" in done.stderr


def test_a_body_that_is_too_large(gateway: Served) -> None:
    body = json.dumps({"sql": "x" * 3_000_000})
    done = curl(
        "-u", "nora:nora-demo", "-H", "Content-Type: application/json", "--data-binary", "@-",
        f"{gateway.http}/v1/query", text=body,
    )  # fmt: skip
    assert json.loads(done.stdout)["error"]["code"] == "limit_exceeded"


def test_who_gives_up_stops_the_source(gateway: Served) -> None:
    done = subprocess.run(
        ["curl", "-s", "--max-time", "2", "-o", "/dev/null", "-u", "nora:nora-demo",
         "--limit-rate", "200k", "--json", json.dumps({"sql": MANY}), f"{gateway.http}/v1/query"],
        timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 28
    assert gateway.is_idle()
