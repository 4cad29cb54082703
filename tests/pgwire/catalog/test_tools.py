"""What tools ask when they connect and look around, answered as PostgreSQL answers it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.pgwire.catalog.comparing import Shown, shown
from tests.pgwire.catalog.conftest import Both, Connection
from tests.pgwire.catalog.test_psql import COMMANDS

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
    def told(connection: Connection) -> Shown:
        without = case.get("without", ())
        columns, rows = shown(connection, case["sql"], case.get("parameters"), without=without)
        return columns, sorted(rows, key=str) if case.get("order") == "by numbers" else rows

    if case.get("as") != "owner" and "search_path" not in case:
        assert told(ours) == told(theirs)
        return
    # Keys are shown to everybody who sees their tables, as PostgreSQL shows them to the owner.
    address = both.owners if case.get("as") == "owner" else both.theirs
    with psycopg.connect(address, autocommit=True) as connection:
        if "search_path" in case:
            connection.execute(f"SET search_path = {case['search_path']}")
        assert told(ours) == told(connection)


def test_the_tools_are_those_that_were_named() -> None:
    assert [one.stem for one in FILES] == [
        "datagrip", "dbeaver", "dbt", "go", "grafana", "metabase", "pgadmin", "powerbi", "prisma",
        "rust", "tableau",
    ]  # fmt: skip
    assert len(CASES) > 180


def test_the_page_counts_right() -> None:
    page = Path(__file__).parents[3] / "docs" / "clients" / "postgres.md"
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert len(set(COMMANDS)) == len(COMMANDS)
    assert f"{len(COMMANDS)} commands of psql" in text
    assert f"{len(CASES)} start-up and metadata questions of tools" in text


def test_npgsql_asks_all_of_it_in_one_message(ours: Connection, theirs: Connection) -> None:
    """What it loads when it connects comes as one simple query of four statements."""
    cases = yaml.safe_load(FILES[[one.stem for one in FILES].index("powerbi")].read_text("utf-8"))
    sent = ";\n-- and then\n".join(["SELECT version()", *(one["sql"] for one in cases[1:4])])

    def told(connection: Connection) -> list[tuple[int, list[str]]]:
        result = connection.pgconn.exec_(f"{sent};".encode())
        assert result.status == psycopg.pq.ExecStatus.TUPLES_OK, result.error_message
        cursor = connection.execute(f"{sent};".encode())
        found = []
        while True:
            assert cursor.description is not None
            found.append((cursor.rowcount, [one.name for one in cursor.description]))
            if not cursor.nextset():
                return found

    assert len(told(ours)) == 4
    assert told(ours) == told(theirs)
