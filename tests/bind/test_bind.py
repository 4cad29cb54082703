"""What bind makes of a statement is that statement, for those columns that the caller may see.

Takes: golden.sql, same.sql, refused.yaml, hidden.yaml and a small mesh that DuckDB holds as well.
Gives: a failure where the bound form is another one, where DuckDB answers it differently from the
text, where an error says something else, or where a hidden column shows.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from tests.bind.asking import answer, faults
from tests.bind.mesh import bound, database, statements

BEYOND = "beyond DuckDB"

_GOLDEN = list(statements("golden.sql"))
GOLDEN = [
    (text, form, comment)
    for (text, comment), (form, _) in zip(_GOLDEN[::2], _GOLDEN[1::2], strict=True)
]


@pytest.fixture(scope="module")
def tables() -> Iterator[duckdb.DuckDBPyConnection]:
    with database() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def _name(value: object) -> str:
    return str(value)[:60]


@pytest.mark.parametrize(("text", "form", "comment"), GOLDEN, ids=_name)
def test_golden(
    text: str, form: str, comment: str, tables: duckdb.DuckDBPyConnection
) -> None:
    made = bound(text)
    assert made.tree.sql("duckdb") == form
    assert list(faults(made)) == []
    again = bound(form)
    assert again.tree.sql("duckdb") == form
    assert (again.outputs, again.columns) == (made.outputs, made.columns)
    answered = answer(tables, form)
    assert answered is not None
    assert answered.names == made.outputs
    assert answer(tables, text) == (None if comment.startswith(BEYOND) else answered)
