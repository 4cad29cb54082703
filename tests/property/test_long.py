"""Non-interference and agreement over many more arenas, and the whole coverage table.

Takes: parts of 18 arenas, in which every form of policy meets every connector. Gives: a failure
where something is learned or wrong, and, by the part that ends last, where all of them together
leave a cell of the table empty.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.demo import mysql
from gateway.demo.postgres import Server
from gateway.probe.coverage import empty_cells
from gateway.probe.rules import FORMS
from gateway.probe.triples import Tally
from tests.property.halves import check, places

PARTS, PER_PART = 14, 18


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_hidden_has_an_influence_anywhere(
    part: int, tmp_path_factory: pytest.TempPathFactory, server: Server,
    mariadb: mysql.Server | None,
) -> None:
    first = 1000 + part * PER_PART
    tally = check(range(first, first + PER_PART), tmp_path_factory.mktemp("lots"), server, mariadb)
    parts = _shared(tmp_path_factory)
    _write(parts / f"{part}.json", tally)
    found = sorted(parts.glob("*.json"))
    if len(found) == PARTS:
        whole = Tally()
        for one in found:
            whole.cells.update(_read(one))
        assert empty_cells(whole, FORMS, places(mariadb)) == []


def _shared(factory: pytest.TempPathFactory) -> Path:
    """A folder of this run; workers have theirs side by side."""
    base = factory.getbasetemp()
    made = (base.parent if base.name.startswith("popen-") else base) / "parts"
    made.mkdir(exist_ok=True)
    return made


def _write(path: Path, tally: Tally) -> None:
    made = path.with_suffix(".part")
    made.write_text(json.dumps([[*cell, count] for cell, count in tally.cells.items()]))
    made.rename(path)


def _read(path: Path) -> dict[tuple[str, str, str], int]:
    rows = json.loads(path.read_text(encoding="utf-8"))
    return {(clause, form, place): count for clause, form, place, count in rows}
