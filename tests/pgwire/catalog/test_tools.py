"""What tools ask when they connect and look around, answered as PostgreSQL answers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.pgwire.catalog.comparing import shown
from tests.pgwire.catalog.conftest import Both, Connection

FILES = sorted(Path(__file__).with_name("tools").glob("*.yaml"))
CASES = [
    pytest.param(case, id=f"{file.stem}-{number}")
    for file in FILES
    for number, case in enumerate(yaml.safe_load(file.read_text(encoding="utf-8")), start=1)
]


@pytest.mark.parametrize("case", CASES)
def test_a_statement(
    both: Both, ours: Connection, theirs: Connection, case: dict[str, Any]
) -> None:
    without = case.get("without", ())
    told = shown(ours, case["sql"], without=without)
    if case.get("order") == "by numbers":
        other = shown(theirs, case["sql"], without=without)
        assert (told[0], sorted(told[1])) == (other[0], sorted(other[1]))
        return
    if case.get("as") != "owner" and "search_path" not in case:
        assert told == shown(theirs, case["sql"], without=without)
        return
    # Keys are shown to everybody who sees their tables, as PostgreSQL shows them to the owner.
    address = both.owners if case.get("as") == "owner" else both.theirs
    with psycopg.connect(address, autocommit=True) as connection:
        if "search_path" in case:
            connection.execute(f"SET search_path = {case['search_path']}")
        assert told == shown(connection, case["sql"], without=without)


def test_the_tools_are_those_that_were_named() -> None:
    names = ["dbeaver", "dbt", "grafana", "metabase", "powerbi", "tableau"]
    assert [one.stem for one in FILES] == names
    assert len(CASES) > 40
