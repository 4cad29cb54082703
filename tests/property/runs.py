"""Runs of the probe's generator, in lots.

Takes: seeds of arenas, a folder, a PostgreSQL server. Gives: the tally of all their triples. Never
leaves a database behind that the next lot would meet.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.demo.postgres import Server
from gateway.probe.arenas import WORLDS, build_arena
from gateway.probe.lots import Lot
from gateway.probe.plant import Ground
from gateway.probe.triples import PER_ARENA, Tally, run_arena
from tests.settled import settled

LOT = 11


@contextlib.contextmanager
def open_lot(seeds: Sequence[int], folder: Path, server: Server) -> Iterator[Lot]:
    """The arenas of some seeds, planted."""
    grounds = {
        world: ground_of(folder / world, server, f"probe_{world}") for world in WORLDS
    }
    lot = Lot([build_arena(seed) for seed in seeds], grounds)
    try:
        with settled():
            yield lot
    finally:
        lot.close()
        shutil.rmtree(folder)


def ground_of(folder: Path, server: Server, database: str) -> Ground:
    """An empty database and an empty folder."""
    server.run("postgres", f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
    server.run("postgres", f"CREATE DATABASE {database}")
    folder.mkdir(parents=True, exist_ok=True)
    return Ground(folder, server.url(database))


def run_seeds(
    seeds: Sequence[int], folder: Path, server: Server, most: int = PER_ARENA
) -> Tally:
    """The tally of all triples of some arenas; prints how to replay what it found."""
    tally = Tally()
    for start in range(0, len(seeds), LOT):
        with open_lot(seeds[start : start + LOT], folder / f"lot{start}", server) as lot:
            for arena in lot.arenas:
                tally.add(run_arena(lot, arena, most))
    sys.stdout.write(f"arenas {seeds[0]} to {seeds[-1]}: {tally}\n")
    for one in tally.findings:
        sys.stdout.write(f"{one}\n  python -m tests.property.replay {one.triple}\n")
    return tally
