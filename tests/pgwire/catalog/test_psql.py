"""psql's backslash commands print what they print on a real PostgreSQL."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from tests.pgwire.catalog.conftest import Both
from tests.pgwire.catalog.oracle import VERSION


def _is_of_the_version() -> bool:
    """Other versions of psql ask, and print, otherwise; the wire says that it is this one."""
    if not shutil.which("psql"):
        return False
    told = subprocess.run(["psql", "--version"], capture_output=True, text=True, check=True)
    return f" {VERSION}." in told.stdout


pytestmark = pytest.mark.skipif(not _is_of_the_version(), reason=f"there is no psql {VERSION}")
COMMANDS = (
    r"\d", r"\dt", r"\dn", r"\dv", r"\df", r"\du", r"\d orders.orders", r"\d customers.customers",
    r"\d+ orders.orders", r"\d+ customers.customers", r"\d+ kinds.kinds", r"\dp", r"\di", r"\ds",
    r"\dT", r"\dx", r"\dn+", r"\dm", r"\db", r"\dD", r"\des", r"\dRp", r"\dg", r"\d orders.*",
    r"\z customers.customers", r"\dt customers.*", r"\dt *.orders", r"\d nothing",
    r"\d customers_pkey", r"\di+ customers_email_key", r"\dT+", r"\dE", r"\dP", r"\dL", r"\dy",
    r"\dX", r"\dO customers.*", r"\ddp", r"\dew", r"\det", r"\deu", r"\dC", r"\dC+ bool", r"\do",
    r"\dO", r"\sf format_type", r"\sf pg_table_is_visible", r"\dx+", r"\dRp+", r"\dRs", r"\dew+",
    r"\des+", r"\dc", r"\dl", r"\da", r"\dA", r"\du+",
)  # fmt: skip
# What no table of psql ends a line with.
_END = "=== told ==="
# Sizes are the server's own.
_SIZE = re.compile(r"\d+ (bytes|kB)")


def psql(address: str, *commands: str) -> str:
    """What psql prints, errors too."""
    done = subprocess.run(
        ["psql", "-X", address, "-f", "-"], input="\n".join(commands), text=True,
        capture_output=True, timeout=60, check=False,
        env={**os.environ, "PGCONNECT_TIMEOUT": "20", "LC_ALL": "C"},
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def told(both: Both) -> tuple[list[str], list[str]]:
    """What each command prints on both sides, in one session each."""
    parts = [piece for one in COMMANDS for piece in (one, rf"\echo {_END}")]
    ours, theirs = (psql(address, *parts) for address in (both.ours, both.theirs))
    return ours.split(f"{_END}\n"), theirs.split(f"{_END}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command(told: tuple[list[str], list[str]], command: str) -> None:
    place = COMMANDS.index(command)
    ours, theirs = told[0][place], told[1][place]
    if "+" in command and "Size" in theirs:
        ours, theirs = (_without_sizes(one) for one in (ours, theirs))
    assert ours == theirs


def _without_sizes(text: str) -> str:
    """A table whose columns may have other widths."""
    lines = [re.sub(r"[-+ ]+", " ", _SIZE.sub("", line)) for line in text.splitlines()]
    return "\n".join(line.strip() for line in lines)


def test_databases(both: Both) -> None:
    ours, theirs = (psql(address, r"\pset format unaligned", r"\l") for address in
                    (both.ours, both.theirs))  # fmt: skip
    wanted = next(line for line in theirs.splitlines() if line.startswith("shop|"))
    assert wanted in ours.splitlines()
    assert "mesh|" in ours, "the gateway's own domain is one of them"


def test_conninfo(both: Both) -> None:
    text = psql(both.ours, r"\conninfo")
    assert 'connected to database "shop" as user "all"' in text


def test_what_is_not_served_is_said(both: Both) -> None:
    shadow = "select * from pg_catalog.pg_shadow;"
    text = psql(both.ours, shadow, r"\dconfig server_encoding")
    assert text.count("ERROR:") == 1
    assert "pg_catalog.pg_shadow of the catalog is not served" in text and "UTF8" in text
