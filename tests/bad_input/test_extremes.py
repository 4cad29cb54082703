"""Constants and parameters that fit nowhere: an answer, or an error that says so.

Takes: the cases of extremes.yaml over SQLite and DuckDB, in several dialects and time zones. Gives:
the code of each. Never `internal`, and where there is an answer it is the one without push-down.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
import yaml

from gateway.errors import SqluiceError
from gateway.opening import OpenGateway
from tests.small_mesh import SmallMesh, answer, opened_mesh

DATA = yaml.safe_load(Path(__file__).with_name("extremes.yaml").read_text(encoding="utf-8"))
COLUMNS = {
    "id": "BIGINT", "day": "DATE", "moment": "TIMESTAMP", "zoned": "TIMESTAMP WITH TIME ZONE",
    "amount": "DOUBLE", "price": "DECIMAL(9,2)",
}  # fmt: skip
ROW = (1, "2013-01-01", "2013-01-01 05:00:00", "2013-01-01 05:00:00+00:00", 1.5, "1.50")
PARAMETERS = (
    ("zoned", datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))),
    ("zoned", datetime.max.replace(tzinfo=timezone(timedelta(hours=-14)))),
    ("zoned", datetime.max.replace(tzinfo=UTC)),
    ("moment", datetime.max),
    ("day", date.max),
    ("amount", float("nan")),
    ("amount", 10**400),
    ("price", Decimal("NaN")),
    ("price", Decimal("1e999")),
)
CODES = {"answered", "type_error", "source_error", "unsupported_sql"}


@pytest.fixture(scope="module", params=["sqlite", "duckdb"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenGateway]:
    kind: str = request.param
    folder = tmp_path_factory.mktemp("extremes")
    (folder / "data").mkdir()
    columns = ", ".join(
        f"{name} {'TEXT' if kind == 'sqlite' and each != 'BIGINT' else each}"
        for name, each in COLUMNS.items()
    ).replace("amount TEXT", "amount REAL")
    file = str(folder / "data/held.db")
    with closing(sqlite3.connect(file) if kind == "sqlite" else duckdb.connect(file)) as held:
        held.execute(f"CREATE TABLE held ({columns})")
        held.execute("INSERT INTO held VALUES (?, ?, ?, ?, ?, ?)", ROW)
        if kind == "sqlite":
            held.commit()
    mesh = SmallMesh(
        "d", {"connector": kind, "settings": {"path": "held.db"}}, {"held": ("held", COLUMNS)},
        {"ada": {"groups": ["all"]}}, ({"product": "held", "subjects": [{"groups": ["all"]}]},),
    )  # fmt: skip
    made = opened_mesh(folder, mesh)
    yield made
    made.close()


def _outcome(opened: OpenGateway, sql: str, **fields: object) -> tuple[str, str]:
    try:
        # Python's own values hold fewer moments.
        return "answered", answer(opened, "ada", sql, **fields).to_string(preview_cols=1)
    except SqluiceError as error:
        return error.code, ""


def _check(opened: OpenGateway, sql: str, **fields: object) -> str:
    code, rows = _outcome(opened, sql, **fields)
    assert code in CODES, (sql, fields)
    if code == "answered":
        assert _outcome(opened, sql, push_down=False, **fields) == (code, rows)
    return code


@pytest.mark.parametrize(("dialect", "zone"), [("duckdb", "Asia/Tokyo"), ("postgres", "UTC")])
def test_constants(opened: OpenGateway, dialect: str, zone: str) -> None:
    """In a client's dialect, and where clocks show other days."""
    found = set()
    for column, kind, constants in DATA["constants"]:
        for constant in constants:
            for pattern in DATA["statements"]:
                sql = pattern.format(column=column, type=kind, constant=constant)
                found.add(_check(opened, sql, dialect=dialect, timezone=zone))
    assert "answered" in found and len(found) > 1


def test_parameters(opened: OpenGateway) -> None:
    found = set()
    for column, value in PARAMETERS:
        for pattern in DATA["with_parameters"]:
            for zone in ("Asia/Tokyo", "America/New_York"):
                sql = pattern.format(column=column)
                found.add(_check(opened, sql, parameters=(value,), timezone=zone))
    assert "answered" in found
