"""`python -m bench`: measure, print, compare.

    python -m bench --sf 0.1 --queries 3,5,10 --json now.json --compare before.json
    python -m bench --sf 0.1 --layout one
    python -m bench --sf 1 --slow-link 20,100 --queries 3,5,10,12,13,18,22
    python -m bench --sf 1 --pass-through
    python -m bench --sf 0.1 --clients 16
    python -m bench --sf 1 --wire
    python -m bench --cancel
    python -m bench --short 16

Takes: the command line. Gives: a table on standard output, and as JSON. Exit 1 where an answer is
wrong or more rows move than bench/limits.toml lets, never for time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench import cancel, clients, passing, short, wire
from bench.link import Link
from bench.report import beyond, fragments, table, to_handwritten, unlimited, wrong
from bench.tables import LAYOUTS
from bench.tpch import ALL, Asked, measure, told

FOLDER = Path(__file__).resolve().parents[1] / ".state" / "bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 0 where all answers are right and nothing moves beyond its limit."""
    given = _parser().parse_args(arguments)
    numbers = tuple(int(one) for one in given.queries.split(",")) if given.queries else ALL
    asked = Asked(given.sf, numbers, given.repeat, LAYOUTS[given.layout], given.slow_link)
    if given.pass_through:
        passed = passing.measure(given.folder, asked, told)
        figures = asdict(passed)
        lines, problems = passing.table(passed), passing.wrong(passed)
    elif given.clients:
        found = clients.measure(given.folder, asked, given.clients, given.seconds, told)
        figures = asdict(found)
        lines, problems = clients.table(found), clients.wrong(found)
    elif given.wire:
        asked_wire = wire.measure(given.folder, given.sf, given.repeat, told)
        figures = asdict(asked_wire)
        lines, problems = wire.table(asked_wire), wire.wrong(asked_wire)
    elif given.cancel:
        stopped = cancel.measure(given.folder, given.repeat, told)
        figures = asdict(stopped)
        lines, problems = cancel.table(stopped), cancel.wrong(stopped)
    elif given.short:
        costs = short.measure(given.folder, given.short, given.repeat, told)
        figures, lines, problems = asdict(costs), short.table(costs), []
    else:
        report = measure(given.folder, asked, told)
        figures = asdict(report)
        before = json.loads(given.compare.read_text()) if given.compare else None
        lines = [table(report, before)]
        lines += to_handwritten(report) if asked.link else []
        lines += unlimited(report)
        lines += [fragments(one) for one in report.measured] if given.fragments else []
        problems = [*wrong(report), *beyond(report)]
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    sys.stdout.write("\n".join([*lines, *problems]) + "\n")
    return int(bool(problems))


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m bench", description="TPC-H, beside two DuckDBs and PostgreSQL itself.",
        epilog="Example: python -m bench --sf 0.1 --queries 3,5,10",
    )  # fmt: skip
    made.add_argument("--sf", type=float, default=0.1, help="scale factor (default 0.1)")
    made.add_argument("--queries", help="numbers of statements, such as 3,5 (default: all 22)")
    made.add_argument("--repeat", type=int, default=3, help="counted rounds (default 3)")
    made.add_argument(
        "--layout", choices=sorted(LAYOUTS), default="mesh",
        help="four domains (mesh, default), the same with orders in MariaDB (mariadb), or all "
        "tables in one PostgreSQL (one)",
    )  # fmt: skip
    made.add_argument(
        "--slow-link", type=Link.of, metavar="MS,MBIT",
        help="add so many ms a round trip and allow so many megabits a second to PostgreSQL",
    )  # fmt: skip
    parts = made.add_mutually_exclusive_group()
    parts.add_argument(
        "--pass-through", action="store_true",
        help="instead: 1.5 million rows (times --sf) of each source, and the memory they take",
    )  # fmt: skip
    parts.add_argument(
        "--clients", type=int, help="instead: short statements of one and of so many clients"
    )
    parts.add_argument(
        "--wire", action="store_true",
        help="instead: a million rows (times --sf), probes and a row by its key on each endpoint, "
        "beside PostgreSQL itself",
    )  # fmt: skip
    parts.add_argument(
        "--cancel", action="store_true",
        help="instead: how long a statement outlives its client's cancel, and its client, by "
        "endpoint and kind of source; --repeat times each",
    )  # fmt: skip
    parts.add_argument(
        "--short", type=int,
        help="instead: processor time of a short statement, of one and of so many clients",
    )  # fmt: skip
    made.add_argument("--seconds", type=float, default=5, help="of each round with --clients")
    made.add_argument("--json", type=Path, help="write the figures to a file")
    made.add_argument("--compare", type=Path, help="figures of an earlier run")
    made.add_argument("--fragments", action="store_true", help="print what is sent to the sources")
    made.add_argument("--folder", type=Path, default=FOLDER, help="where the data is kept")
    return made


if __name__ == "__main__":
    sys.exit(main())
