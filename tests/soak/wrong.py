"""What is wrong, and how that is told.

Takes: answers and statements that must fail. Gives: nothing, or an error that says what is wrong.
Never holds a whole answer in its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.soak.place import Known


class WrongError(Exception):
    """An answer, or an error, that is none of those due."""


# Statements that fail, with code and SQLSTATE.
FAILING = (
    ("selec 1", "parse_error", "42601"),
    ("select * from nowhere.at_all", "unknown_table", "42P01"),
    ("select nothing from operations.departures", "unknown_column", "42703"),
    ("select * from loyalty.members", "unknown_table", "42P01"),
    ("delete from operations.departures", "unsupported_sql", "25006"),
    ("select cast('x' || flight_id as bigint) from operations.departures", "type_error", "42804"),
    (
        "select case when i < 90000 then i else cast('x' || i as bigint) end as x "
        "from range(0, 100000) as t(i)", "type_error", "42804",
    ),
)  # fmt: skip


def expect_rows(known: Known, found: Iterable[Sequence[object]], by: str) -> None:
    """The answer is the one that is right."""
    rows = tuple(tuple(str(one) for one in row) for row in found)
    if rows != known.rows:
        raise WrongError(
            f"{by}, {known.user}: {len(rows)} rows instead of {len(known.rows)}, or others, "
            f"for {known.sql[:60]}"
        )


def expect(found: object, wanted: object, what: str) -> None:
    """Both are the same."""
    if found != wanted:
        raise WrongError(f"{what}: {str(found)[:200]} instead of {str(wanted)[:100]}")
