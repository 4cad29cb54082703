"""Each listed defect of a barrier or a decision is noticed.

Takes: mutants.yaml. Gives: a failure for each defect that every suite lets pass. The control is
the gateway as it is: the same battery notices nothing there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.demo.postgres import find_server
from tests.mutants.battery import Battery
from tests.mutants.mutate import Mutant, mutated
from tests.property.runs import open_lot

MUTANTS = [
    Mutant(*map(str, one))
    for one in yaml.safe_load(
        Path(__file__).with_name("mutants.yaml").read_text(encoding="utf-8")
    )
]
# Arenas in which small samples find what the pure suites let pass.
ARENAS = (8, 10)


@pytest.fixture(scope="module")
def battery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Battery]:
    server = find_server(tmp_path_factory.mktemp("postgres"))
    server.start()
    with open_lot(ARENAS, tmp_path_factory.mktemp("lot") / "lot", server) as lot:
        yield Battery(lot)
    server.stop()


def test_there_are_enough() -> None:
    assert len(MUTANTS) >= 40
    assert len({str(one) for one in MUTANTS}) == len(MUTANTS)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_gateway_as_it_is_passes(battery: Battery) -> None:
    assert battery.noticed() is None


# A defect may leave a stream in the middle: what a driver says of that is its own.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_defect_is_noticed(mutant: Mutant, battery: Battery) -> None:
    with mutated(mutant):
        noticed = battery.noticed()
    assert noticed is not None, mutant.why
