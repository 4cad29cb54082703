"""What the probe has found once stays closed.

Takes: names of triples that were findings. Gives: a failure where one of them is again.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.demo.postgres import Server
from gateway.probe.triples import Tally, triple_of, try_triple
from tests.property.runs import open_lot


# Hidden rows of a large CSV file decided which quotes DuckDB guessed, and so which rows it read.
@pytest.mark.parametrize("name", ["1022.37", "1022.52"])
def test_a_finding_stays_closed(name: str, tmp_path: Path, server: Server) -> None:
    triple, tally = triple_of(name), Tally()
    with open_lot([triple.arena], tmp_path / "lot", server) as lot:
        attempt = try_triple(lot, lot.arenas[0], triple, tally)
    assert attempt.stage == "ran"
    assert tally.findings == []
