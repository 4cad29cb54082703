"""How a CSV or JSON file is read does not depend on its rows, hidden ones least of all.

Takes: files in two worlds, whose hidden row would make DuckDB guess another type, date format or
quote. Gives: equal answers; the control shows that a reader that guesses tells the worlds apart.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.base import ConnectorError, Fragment, FragmentColumn, load_connector
from gateway.errors import SqluiceError
from tests.policies.mesh import SHOP
from tests.policies.running import Running, running

VISIBLE = {"person": "ada", "region": "10", "since": "2026-01-02T10:00:00", "size": 1}
# Hidden rows; none is no row at all.
HIDDEN: dict[str, dict[str, object] | None] = {
    "none": None,
    "a number": {"person": "bob", "region": "7", "since": "01/02/2026", "size": 2},
    "a word": {"person": "bob", "region": "word", "since": "13/02/2026", "size": 2},
    "a date": {"person": "bob", "region": "2026-01-01", "since": "02/13/2026", "size": 2},
    "a quote": {"person": "bob", "region": "it's, 'said'; so", "since": "x|y", "size": 2},
}
STATEMENTS = (
    "SELECT * FROM staff.people.areas",
    "SELECT region FROM staff.people.areas WHERE region = '10'",
    "SELECT person FROM staff.people.areas WHERE region > '1' AND size >= 1",
    "SELECT count(*) AS n, max(since) AS m FROM staff.people.areas WHERE since <> 'x'",
)
TYPES = {"person": "VARCHAR", "region": "VARCHAR", "since": "VARCHAR", "size": "INTEGER"}


def _case(form: str) -> dict[str, Any]:
    contract = yaml.safe_load((SHOP / "domains/staff/contracts/people.odcs.yaml").read_text())
    (table,) = contract["schema"]
    table["physicalName"] = f"areas.{form}"
    table["properties"].append(
        {"name": "since", "logicalType": "string", "physicalType": "varchar"}
    )
    domain = yaml.safe_load((SHOP / "domains/staff/domain.yaml").read_text())
    domain["sources"]["directory"] = {
        "connector": "files", "region": "us", "settings": {"path": "files", "format": form},
    }  # fmt: skip
    grant = {
        "kind": "Grant", "id": "people", "product": "people", "subjects": [{"all": True}],
        "scope": "person = 'ada'",
    }  # fmt: skip
    return {
        "files": {
            "domains/staff/contracts/people.odcs.yaml": yaml.safe_dump(contract),
            "domains/staff/domain.yaml": yaml.safe_dump(domain),
            "domains/staff/grants/case.yaml": yaml.safe_dump(grant),
        }
    }


def _write(folder: Path, form: str, hidden: dict[str, object] | None) -> None:
    rows = [VISIBLE, *([hidden] * 3000 if hidden is not None else [])]
    folder.mkdir(parents=True, exist_ok=True)
    if form == "json":
        text = "\n".join(json.dumps(row) for row in rows)
    else:
        lines = [",".join(TYPES), *(",".join(map(_cell, row.values())) for row in rows)]
        text = "\n".join(lines)
    (folder / f"areas.{form}").write_text(text + "\n")


def _cell(value: object) -> str:
    text = str(value).replace('"', '""')
    return f'"{text}"' if "," in text else text


def _outcome(gateway: Running, sql: str) -> object:
    try:
        return gateway.ask(sql)
    except SqluiceError as error:
        return error.code, error.message, error.remedy


@pytest.mark.parametrize("form", ["csv", "json"])
def test_hidden_rows_do_not_decide_how_a_file_is_read(form: str, tmp_path: Path) -> None:
    with running(tmp_path, _case(form)) as gateway:
        outcomes = []
        for hidden in HIDDEN.values():
            _write(tmp_path / "data" / "files", form, hidden)
            outcomes.append([_outcome(gateway, sql) for sql in STATEMENTS])
    assert outcomes[0][0] == [VISIBLE]
    assert all(one == outcomes[0] for one in outcomes)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_reader_that_guesses_tells_worlds_apart(form: str, tmp_path: Path) -> None:
    """The control: the same files, and nobody who says the types."""
    told = {"tables": json.dumps({f"areas.{form}": TYPES})}
    for settings, is_open in (({}, True), (told, False)):
        read = []
        for hidden in HIDDEN.values():
            _write(tmp_path, form, hidden)
            read.append(_read(tmp_path, form, settings))
        assert (len({str(one) for one in read}) > 1) is is_open


def _read(folder: Path, form: str, settings: dict[str, str]) -> object:
    sql = f"""SELECT region, since FROM "areas.{form}" WHERE person = 'ada'"""
    columns = (FragmentColumn("region", "VARCHAR"), FragmentColumn("since", "VARCHAR"))
    connector = load_connector("files")
    connection = connector.connect({"path": str(folder), "format": form, **settings})
    try:
        batches = connection.stream(Fragment(sql, columns, (f"areas.{form}",)))
        return [row for batch in batches for row in batch.to_pylist()]
    except ConnectorError:
        return "an error"
    finally:
        connection.close()
