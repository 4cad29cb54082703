"""Constants as they are written for MySQL and MariaDB, which keep less of a cast than DuckDB, and
LIKE as it is written for SQLite, whose own tells no small letters from large ones.

Takes: written.yaml, like.yaml. Gives: each constant's form, and that LIKE asks for the same texts.
That MySQL and MariaDB read the forms as DuckDB reads the constants is shown with the connector.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

import duckdb
import pytest
import sqlglot
import yaml
from sqlglot import exp

from gateway.dialects import written
from gateway.spelling import as_position

CASES = yaml.safe_load(Path(__file__).with_name("written.yaml").read_text(encoding="utf-8"))

LIKE = yaml.safe_load(Path(__file__).with_name("like.yaml").read_text(encoding="utf-8"))
TEXTS = (
    None, "", "a", "A", "ab", "ba", "bAb", "é", "e\u0301", "xéy", "É", "a b", "it's", "a%", "%",
    "_", "\\", "\0a", "x\0a", "a\0", "\U0001f600a", "B", "aB",
)  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), CASES)
def test_written(text: str, wanted: str) -> None:
    """Nothing is written that fails there, or that is another value."""
    made = cast("exp.Expression", sqlglot.parse_one(f"SELECT {text}", read="duckdb"))
    assert written(made, "mysql") == f"SELECT {wanted}"


@pytest.mark.parametrize(("text", "wanted"), LIKE)
def test_like_of_sqlite(text: str, wanted: str | None) -> None:
    """Every text is told alike, also one that holds a NUL; what has no such form is refused."""
    made = cast("exp.Expression", sqlglot.parse_one(f"SELECT {text}", read="duckdb"))
    like = made.find(exp.Like)
    assert like is not None
    assert (as_position(like) is None) == (wanted is None)
    if wanted is None:
        return
    assert written(made, "sqlite") == f"SELECT {wanted}"
    with closing(sqlite3.connect(":memory:")) as there, closing(duckdb.connect()) as here:
        for one in TEXTS:
            found = there.execute(f"SELECT {wanted} FROM (SELECT ? AS s)", (one,)).fetchone()[0]
            asked = here.execute(f"SELECT {text} FROM (SELECT ?::VARCHAR AS s)", [one]).fetchone()
            assert asked is not None
            assert (None if found is None else bool(found)) == asked[0]
