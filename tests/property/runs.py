"""Runs of the probe's generator, in lots.

Takes: seeds of arenas, a folder, a PostgreSQL server, a MariaDB server where there is one. Gives:
the tally of all their triples. Never leaves a database behind that the next lot would meet.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.demo import mysql
from gateway.demo.postgres import Server
from gateway.probe.arenas import WORLDS, build_arena
from gateway.probe.lots import Lot
from gateway.probe.plant import Ground
from gateway.probe.triples import PER_ARENA, Tally, run_arena
from tests.settled import settled

LOT = 11


@contextlib.contextmanager
def open_lot(
    seeds: Sequence[int], folder: Path, server: Server, mariadb: mysql.Server | None = None
) -> Iterator[Lot]:
    """The arenas of some seeds, planted."""
    grounds = {
        world: ground_of(folder / world, server, f"probe_{world}", mariadb) for world in WORLDS
    }
    lot = Lot([build_arena(seed, mariadb is not None) for seed in seeds], grounds)
    try:
        with settled():
            yield lot
    finally:
        lot.close()
        shutil.rmtree(folder)


def ground_of(
    folder: Path, server: Server, database: str, mariadb: mysql.Server | None = None
) -> Ground:
    """An empty database at each server and an empty folder."""
    server.run("postgres", f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
    server.run("postgres", f"CREATE DATABASE {database}")
    folder.mkdir(parents=True, exist_ok=True)
    if mariadb is None:
        return Ground(folder, server.url(database))
    mariadb.run(f"DROP DATABASE IF EXISTS {database}", f"CREATE DATABASE {database}")
    return Ground(folder, server.url(database), mariadb.url(database))


def run_seeds(
    seeds: Sequence[int], folder: Path, server: Server, mariadb: mysql.Server | None
) -> Tally:
    """The tally of all triples of some arenas; prints how to replay what it found."""
    tally = Tally()
    for start in range(0, len(seeds), LOT):
        some = seeds[start : start + LOT]
        with open_lot(some, folder / f"lot{start}", server, mariadb) as lot:
            for arena in lot.arenas:
                tally.add(run_arena(lot, arena, PER_ARENA))
    sys.stdout.write(f"arenas {seeds[0]} to {seeds[-1]}: {tally}\n")
    for one in tally.findings:
        sys.stdout.write(f"{one}\n  python -m tests.property.replay {one.triple}\n")
    return tally
