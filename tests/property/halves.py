"""What a part of the property suite asserts of its tally.

Takes: seeds. Gives: one test's worth of assertions: nothing is learned, nothing is wrong, most
statements run, every connector and the merge are met. Parts are tests of their own so that two
workers share them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.demo import mysql
from gateway.demo.postgres import Server
from gateway.probe.coverage import EVERYWHERE, PLACES
from gateway.probe.triples import PER_ARENA, Tally
from tests.property.runs import run_seeds

SHORT = 24


def places(mariadb: mysql.Server | None) -> Sequence[str]:
    """Where tables lie."""
    return PLACES if mariadb is None else EVERYWHERE


def check(
    seeds: Sequence[int], folder: Path, server: Server, mariadb: mysql.Server | None
) -> Tally:
    """Run the arenas and assert everything that must hold of any large run."""
    tally = run_seeds(seeds, folder, server, mariadb)
    assert not tally.findings, "\n".join(map(str, tally.findings))
    assert tally.tried == len(seeds) * PER_ARENA
    assert tally.ran >= 0.9 * tally.tried, tally
    assert tally.answered >= 0.6 * tally.tried, tally
    assert not any("internal" in code for code in tally.codes), tally
    for place in places(mariadb):
        assert tally.connectors[place] >= tally.tried // 20, tally
    return tally
