"""The attacks of the suite of leaks, and what each door answers to them.

Takes: the house, a user. Gives: outcomes that can be compared. Never decides what may be seen: the
gateway in process, which the suite of leaks holds to that, says what every door has to say.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

import sqluice
from tests.matrix.doors import DOORS, Read
from tests.matrix.expected import Reference, expected, in_utc
from tests.matrix.faults import FAULTS
from tests.matrix.house import House

ATTACKS = tuple(
    line
    for line in (Path(__file__).parent.parent / "leaks" / "attacks.sql").read_text().splitlines()
    # What an explanation tells of its run is another each time; what DESCRIBE gives has no types of
    # DuckDB's, and the suite of the PostgreSQL wire compares it.
    if line and not line.startswith(("--", "explain", "describe"))
)
# Rows are hidden in the one, cells in the other.
TABLES = ("stock.people", "stock.cells")
# What nobody may read whom policies restrict.
HIDDEN = ("SECRET", "delta", "2024-02-30")
Outcome = tuple[object, ...]


def statements(attacks: tuple[str, ...]) -> list[str]:
    """The attacks on one table and the other in turn."""
    return [
        one.rstrip(";").replace("{t}", TABLES[place % 2]).replace("{o}", "stock.open")
        .replace("{x}", "kinds.items")
        for place, one in enumerate(attacks)
    ]  # fmt: skip


def in_process(house: House, sql: str, user: str) -> Reference | Outcome:
    """The answer, or code, message, policy and product of the error."""
    try:
        table: pa.Table = house.local(user).execute(sql).fetch_arrow_table()
    except sqluice.Error as error:
        return error.code, error.message, error.policy, error.product
    kinds = tuple((one.metadata or {}).get(b"type", b"").decode() for one in table.schema)
    return Reference(kinds, table)


def through(door: str, house: House, sql: str, user: str, is_error: bool) -> Read | Outcome:
    """The same through a door."""
    if not is_error:
        return DOORS[door](house, sql, user)
    told = FAULTS[door](house, sql, None, user)
    return told.code, told.message, told.policy, told.product


def unordered(outcome: Read | Outcome) -> str:
    """An outcome as text, its rows in one order: few of the attacks ask for any."""
    if not isinstance(outcome, Read):
        return repr(outcome)
    rows = zip(*map(in_utc, outcome.values), strict=True)
    return repr((outcome.types, sorted(map(repr, rows))))


def wanted(door: str, known: Reference | Outcome) -> Read | Outcome:
    """What the door has to give."""
    return expected(door, known) if isinstance(known, Reference) else known
