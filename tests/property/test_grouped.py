"""Tables that show groups only: hidden rows change no group, no refusal, no guard's memory.

Takes: arenas of such tables, each world with a ledger of its own. Gives: a failure where a
sequence of statements gets anything else in one world than in the other. The control takes the
filters off: then groups differ.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from gateway.demo.postgres import Server
from gateway.policies.compile import compile_policies
from gateway.probe.arenas import WORLDS, Arena
from gateway.probe.lots import Lot
from gateway.probe.outcomes import difference
from gateway.snapshot import Snapshot
from tests.property.grouped import grouped_arena, grouped_statements
from tests.property.runs import ground_of

EACH = 16
SHORT, LONG = (1,), (2, 3, 4)
SEEDS = [pytest.param(SHORT), pytest.param(LONG, marks=pytest.mark.long)]


def _told_apart(arena: Arena, folder: Path, server: Server) -> tuple[list[str], Counter[str]]:
    grounds = {world: ground_of(folder / world, server, f"grouped_{world}") for world in WORLDS}
    lot, found, codes = Lot([arena], grounds), [], Counter[str]()
    try:
        for place, table in enumerate(arena.tables):
            chance = Random(f"{arena.seed} {place}")
            for number, sql in enumerate(
                grouped_statements(chance, table.shape.address, EACH)
            ):
                told = lot.answers(arena, number % 2, sql)
                codes[told["calm"].code] += 1
                differs = difference(*told.values())
                found += [f"{sql}: {differs}"] if differs else []
    finally:
        lot.close()
    return found, codes


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_hidden_rows_change_no_group_and_no_refusal(
    seeds: tuple[int, ...], tmp_path: Path, server: Server
) -> None:
    codes = Counter[str]()
    for seed in seeds:
        found, some = _told_apart(grouped_arena(seed), tmp_path / str(seed), server)
        assert found == []
        codes += some
    # Groups, what may not be asked, and what the guard refuses beside an earlier answer.
    assert set(codes) == {"ok", "unsupported_sql", "access_denied"}, codes
    assert codes["ok"] >= codes.total() // 3, codes


def test_without_its_filters_groups_differ(tmp_path: Path, server: Server) -> None:
    arena = grouped_arena(SHORT[0])
    mesh = arena.snapshot.mesh
    bare = replace(
        mesh, policies=tuple(one for one in mesh.policies if one.effect != "filter"),
        revision="bare",
    )  # fmt: skip
    changed = replace(arena, snapshot=Snapshot(bare, compile_policies(bare)))
    found, _ = _told_apart(changed, tmp_path, server)
    assert found
