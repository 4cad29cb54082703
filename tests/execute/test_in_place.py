"""Parquet files that the merge reads where they lie.

Takes: a domain whose table lies in Parquet, joined with a table of another source. Gives: equal
answers in place and fetched; hidden rows that have no influence, and a control: without its
policy the table leaks.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from gateway import loading
from gateway.constants import literal_text
from gateway.draft import KeySlot, PlannedFragment
from gateway.engines.duckdb import DuckdbEngine, EngineSettings
from gateway.errors import SqluiceError
from gateway.loading import in_place_sql
from gateway.parse import parse
from gateway.prepare import prepare
from tests.policies.mesh import SHOP
from tests.policies.running import Running, running

JOINED = (
    "SELECT a.person, o.id FROM staff.people.areas a JOIN shop.orders.orders o ON a.size = o.id"
)
# Fails on the hidden row alone.
ATTACK = (
    "SELECT a.person, o.id FROM staff.people.areas a CROSS JOIN shop.orders.orders o "
    "WHERE CAST(a.region AS INTEGER) > 0 AND o.id = 1"
)
VISIBLE = ("ada", "10", 1)


def _case(scope: str | None, size: str = "integer") -> dict[str, Any]:
    contract = yaml.safe_load((SHOP / "domains/staff/contracts/people.odcs.yaml").read_text())
    (table,) = contract["schema"]
    table["physicalName"] = "areas/*.parquet"
    for one in table["properties"]:
        if one["name"] == "size":
            one["physicalType"] = size
    domain = yaml.safe_load((SHOP / "domains/staff/domain.yaml").read_text())
    domain["sources"]["directory"] = {
        "connector": "files", "region": "us", "settings": {"path": "files", "format": "parquet"},
    }  # fmt: skip
    grant = {"kind": "Grant", "id": "people", "product": "people", "subjects": [{"all": True}]}
    return {
        "files": {
            "domains/staff/contracts/people.odcs.yaml": yaml.safe_dump(contract),
            "domains/staff/domain.yaml": yaml.safe_dump(domain),
            "domains/staff/grants/case.yaml": yaml.safe_dump(
                grant | ({"scope": scope} if scope else {})
            ),
        }
    }


def _write(folder: Path, *rows: tuple[str, str, int]) -> None:
    (folder / "areas").mkdir(parents=True, exist_ok=True)
    values = ", ".join(f"('{person}', '{region}', {size})" for person, region, size in rows)
    shown = "person, region, size::INTEGER AS size"
    duckdb.execute(
        f"COPY (SELECT {shown} FROM (VALUES {values}) v(person, region, size)) "
        f"TO '{folder / 'areas' / 'rows.parquet'}' (FORMAT parquet)"
    )


def _outcome(gateway: Running, sql: str) -> object:
    try:
        return gateway.ask(sql)
    except SqluiceError as error:
        return error.code, error.message


def _forms(gateway: Running, sql: str) -> list[tuple[str, bool]]:
    """What is read in place, and whether as a view."""
    request = gateway.request(sql)
    services = gateway.opened.services
    made = prepare(request, parse(request), gateway.opened.publisher.current(), services).plan
    return [
        (str(one.tables[0]), one.in_place.is_view)
        for one in made.fragments
        if one.in_place is not None
    ]


def test_a_clear_table_is_a_view_and_a_restricted_one_a_table(tmp_path: Path) -> None:
    for number, (scope, is_view) in enumerate([(None, True), ("person = 'ada'", False)]):
        with running(tmp_path / str(number), _case(scope)) as gateway:
            _write(gateway.folder / "data" / "files", VISIBLE, ("bob", "20", 2))
            assert _forms(gateway, JOINED) == [("staff.people.areas", is_view)]
            rows = [{"person": "ada", "id": 1}, {"person": "bob", "id": 2}]
            assert gateway.ask(JOINED + " ORDER BY o.id") == rows[: 2 if is_view else 1]


def _worlds(tmp_path: Path) -> list[object]:
    outcomes = []
    for number, hidden in enumerate([("bob", "20", 2), ("bob", "SECRET", 2)]):
        with running(tmp_path / str(number), _case("person = 'ada'")) as gateway:
            _write(gateway.folder / "data" / "files", VISIBLE, hidden)
            outcomes.append(_outcome(gateway, ATTACK))
    return outcomes


def test_hidden_rows_of_files_have_no_influence(tmp_path: Path) -> None:
    first, second = _worlds(tmp_path)
    assert first == second == [{"person": "ada", "id": 1}]


def test_the_probe_bites_where_the_policy_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No fence inside a statement is seen to leak with this version: its absence has to."""

    def without_policy(one: PlannedFragment, slots: tuple[KeySlot, ...] = ()) -> str | None:
        made = in_place_sql(one, slots)
        return made.partition(" WHERE ")[0] if made is not None else None

    monkeypatch.setattr(loading, "in_place_sql", without_policy)
    first, second = _worlds(tmp_path)
    assert first != second


def test_a_column_of_another_type_is_fetched_and_checked(tmp_path: Path) -> None:
    """The contract says a narrower type than the file has: a value beyond it is an error."""
    with running(tmp_path, _case(None, size="smallint")) as gateway:
        _write(gateway.folder / "data" / "files", VISIBLE)
        assert gateway.ask(JOINED) == [{"person": "ada", "id": 1}]
        _write(gateway.folder / "data" / "files", VISIBLE, ("bob", "20", 70_000))
        assert _outcome(gateway, JOINED)[0] == "source_error"  # type: ignore[index]


def test_files_that_cannot_be_read_are_the_sources_error(tmp_path: Path) -> None:
    with running(tmp_path, _case(None)) as gateway:
        folder = gateway.folder / "data" / "files"
        (folder / "areas").mkdir(parents=True)
        assert _outcome(gateway, JOINED) == (
            "source_unavailable", "The source of staff.people cannot be reached."
        )  # fmt: skip
        (folder / "areas" / "rows.parquet").write_bytes(b"no parquet at all")
        assert _outcome(gateway, JOINED) == (
            "source_error", "The source of staff.people answered with an error."
        )  # fmt: skip


def test_a_session_reads_its_folders_and_nothing_else(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        _write(folder, VISIBLE)
    engine = DuckdbEngine(EngineSettings(spill=str(tmp_path / "spill")))
    read = "SELECT count(*) AS n FROM read_parquet('{}/areas/rows.parquet')"
    try:
        session = engine.open("UTC", (f"{inside}/",))
        (batch,) = session.stream(read.format(inside), [], {})
        assert batch.to_pylist() == [{"n": 1}]
        for place in (outside, f"{inside}/../out"):
            with pytest.raises(SqluiceError):
                list(session.stream(read.format(place), [], {}))
        with pytest.raises(SqluiceError):
            list(session.stream("SET enable_external_access = true", [], {}))
        session.close()
        plain = engine.open("UTC")
        with pytest.raises(SqluiceError):
            list(plain.stream(read.format(inside), [], {}))
        plain.close()
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("value", "kind"),
    [(1, "INTEGER"), (-1, "BIGINT"), (True, "BOOLEAN"), (Decimal("1.50"), "DECIMAL(4,2)"),
     ("it's $1 \\ \x02", "VARCHAR"), (1e300, "DOUBLE"), (float("-inf"), "DOUBLE"),
     (date(2024, 2, 29), "DATE"), (time(1, 2, 3, 4), "TIME"),
     (datetime(2024, 2, 29, 1, 2, 3, 4), "TIMESTAMP"),
     (datetime(2024, 2, 29, 1, tzinfo=UTC), "TIMESTAMP WITH TIME ZONE"), (None, "INTEGER")],
)  # fmt: skip
def test_a_literal_is_its_value(value: object, kind: str) -> None:
    text = literal_text(value, kind)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
        assert connection.execute(f"SELECT {text}").fetchall() == [(value,)]


@pytest.mark.parametrize(
    ("value", "kind"),
    [(1, ""), (None, ""), (b"x", "BLOB"), ("a\0b", "VARCHAR"), ([1], "INTEGER[]"),
     (datetime(2024, 1, 1), "TIMESTAMP WITH TIME ZONE"),
     (datetime(2024, 1, 1, tzinfo=UTC), "TIMESTAMP")],
)  # fmt: skip
def test_what_has_no_certain_literal_has_none(value: object, kind: str) -> None:
    assert literal_text(value, kind) is None
