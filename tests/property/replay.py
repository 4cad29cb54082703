"""One triple again, with all that is known of it.

    python -m tests.property.replay 17.33

Takes: the name of a triple. Gives: its policies, its statement, the outcome in both worlds.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from gateway.demo.postgres import find_server
from gateway.probe.arenas import Arena
from gateway.probe.triples import Tally, Triple, triple_of, try_triple
from tests.mysql import mysql_or_none
from tests.property.runs import open_lot


def main(name: str) -> int:
    """Replay a triple; 1 where it finds something."""
    triple = triple_of(name)
    with tempfile.TemporaryDirectory() as folder:
        server = find_server(Path(folder, "postgres"))
        server.start()
        try:
            with (
                mysql_or_none() as mariadb,
                open_lot([triple.arena], Path(folder, "lot"), server, mariadb) as lot,
            ):
                arena = lot.arenas[0]
                _show(arena, triple)
                tally = Tally()
                attempt = try_triple(lot, arena, triple, tally)
        finally:
            server.stop()
    for world, outcome in attempt.outcomes.items():
        rows = "".join(f"\n    {row!r}" for row in outcome.rows[:20])
        _say(f"{world}: {attempt.stage}, {outcome.error or outcome.schema}{rows}")
    for one in tally.findings:
        _say(one)
    return int(bool(tally.findings))


def _say(text: object) -> None:
    sys.stdout.write(f"{text}\n")


def _show(arena: Arena, triple: Triple) -> None:
    statement, push_down = triple.statement(arena)
    for table in arena.tables:
        if table.shape.address not in statement.tables:
            continue
        fields = ", ".join(f"{one.name} {one.type}" for one in table.shape.fields)
        _say(f"{table.shape.address} ({fields}), {table.rules.form}, {table.changed} rows differ")
        for given in table.rules.grants:
            columns = "all" if given.columns is None else ", ".join(sorted(given.columns))
            _say(f"  grant {columns} where {given.condition.text if given.condition else 'true'}")
        for condition in table.rules.filters:
            _say(f"  filter {condition.text}")
        for column, masks in table.rules.masks.items():
            _say(f"  mask {column}: {masks}")
    _say(f"as {arena.principals[triple.who]}, {'pushed' if push_down else 'pulled'}:")
    _say(f"{statement.sql}\n  {statement.parameters!r}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
