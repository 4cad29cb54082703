"""`python -m tests.soak`: all endpoints at once, then what is left.

    make soak
    python -m tests.soak --seconds 180 --json soak.json

Takes: the command line. Gives: progress and a closing report; exit 1 where an answer was wrong, an
error was none of those due, or something is left that ought not to be.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.soak.clients import CLIENTS
from tests.soak.place import opened
from tests.soak.running import Report, soak


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak; 0 where nothing is wrong and nothing is left."""
    made = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.split("\n")[0])
    made.add_argument("--seconds", type=float, default=600, help="in all (default 600)")
    made.add_argument("--json", type=Path, help="write the report to a file")
    made.add_argument("--clients", help="only kinds with these parts of names: http,copy")
    given = made.parse_args(arguments)
    parts = given.clients.split(",") if given.clients else [""]
    clients = {name: one for name, one in CLIENTS.items() if any(part in name for part in parts)}
    if not clients:
        made.error(f"no client has such a name: {', '.join(CLIENTS)}")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, opened(Path(folder)) as place:
        report = soak(place, clients, given.seconds, _told)
    if given.json:
        given.json.write_text(json.dumps(report.as_json, indent=1) + "\n")
    _told("\n".join(_lines(report)))
    return int(bool(report.defects))


def _lines(report: Report) -> list[str]:
    kinds = ", ".join(f"{name} {count}" for name, count in report.turns.items())
    verdict = f"{len(report.defects)} defects" if report.defects else "no defect"
    return [f"turns: {kinds}", *report.defects, f"{report.seconds:g} s: {verdict}"]


def _told(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
