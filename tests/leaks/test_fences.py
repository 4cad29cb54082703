"""Nothing inside one DuckDB statement is relied upon as a barrier; a statement of its own is one.

Takes: fences.yaml. Gives: for each construct over each kind of input whether a caller's predicate
met the row that a policy hides. It is why the gate exists (DESIGN 5, barrier rule 3).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

FENCES: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("fences.yaml").read_text(encoding="utf-8")
)
INPUTS = ("arrow", "table", "parquet")
WRONG = (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)
ROWS = """
SELECT i AS id, CASE WHEN i % 2 = 1 THEN 'b' ELSE 'a' END AS tenant,
       CASE WHEN i = 7 THEN 'SECRET-7' ELSE '2013' END AS secret,
       CASE WHEN i = 7 THEN 'SECRET' ELSE 'word' END AS word
FROM range(1, 2001) AS r(i)
"""


def opened(kind: str, folder: Path) -> duckdb.DuckDBPyConnection:
    """A database with the input `raw`."""
    connection = duckdb.connect()
    match kind:
        case "arrow":
            connection.register("raw", connection.sql(ROWS).to_arrow_table())
        case "table":
            connection.execute(f"CREATE TABLE raw AS {ROWS}")
        case _:
            file = folder / "raw.parquet"
            connection.execute(f"COPY ({ROWS}) TO '{file}' (FORMAT parquet)")
            connection.execute(f"CREATE VIEW raw AS SELECT * FROM read_parquet('{file}')")
    return connection


USERS = [
    shape.replace("{probe}", probe)
    for shape in FENCES["shapes"].values()
    for probe in FENCES["probes"].values()
]


def leaks(construct: str, kind: str, folder: Path) -> int:
    """How many attacks fail, as they can on the hidden row only."""
    connection = opened(kind, folder)
    *made, asked = FENCES["constructs"][construct]
    found = 0
    for policy in FENCES["policies"].values():
        for form in made:
            connection.execute(form.replace("{policy}", policy))
        for user in USERS:
            sql = asked.replace("{policy}", policy).replace("{user}", user)
            try:
                connection.execute(sql).fetchall()
            except duckdb.Error as error:
                assert not isinstance(error, WRONG), sql
                found += 1
    connection.close()
    return found


@pytest.mark.parametrize("kind", INPUTS)
def test_a_statement_of_its_own_is_a_barrier(kind: str, tmp_path: Path) -> None:
    assert leaks("statement", kind, tmp_path) == 0


@pytest.mark.parametrize("kind", INPUTS)
def test_the_control_leaks(kind: str, tmp_path: Path) -> None:
    """Where nothing stands between, every attack meets the hidden row."""
    assert leaks("nothing", kind, tmp_path) == len(USERS) * len(FENCES["policies"])


@pytest.mark.long
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("construct", [*FENCES["constructs"]][1:-1])
def test_what_was_measured_of_other_fences_holds(
    construct: str, kind: str, tmp_path: Path
) -> None:
    measured = FENCES["leaks"].get(duckdb.__version__)
    assert measured is not None, "a version that nobody has looked at: measure and add it"
    assert (leaks(construct, kind, tmp_path) > 0) == (kind in measured.get(construct, ()))
