"""`python -m bench`: measure, print, compare.

    python -m bench --sf 0.1 --queries 3,5,10 --json now.json --compare before.json

Takes: the command line. Gives: a table on standard output, and as JSON. Exit 1 where an answer is
wrong or more rows move than bench/limits.toml lets, never for time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.tpch import ALL, FEDERATED, Measured, Report, measure, told

LIMITS = Path(__file__).with_name("limits.toml")
FOLDER = Path(__file__).resolve().parents[1] / ".state" / "bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 0 where all answers are right and nothing moves beyond its limit."""
    given = _parser().parse_args(arguments)
    numbers = [int(one) for one in given.queries.split(",")] if given.queries else list(ALL)
    report = measure(given.folder, given.sf, numbers, given.repeat, told, orders=given.orders)
    before = json.loads(given.compare.read_text()) if given.compare else None
    _say(_table(report, before))
    if given.fragments:
        _say("\n".join(_fragments(one) for one in report.measured))
    if given.json:
        given.json.write_text(json.dumps(asdict(report), indent=1) + "\n")
    problems = [*_wrong(report), *beyond(report)]
    _say("\n".join(problems))
    return int(bool(problems))


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m bench", description="TPC-H over four domains, beside two DuckDBs.",
        epilog="Example: python -m bench --sf 0.1 --queries 3,5,10",
    )  # fmt: skip
    made.add_argument("--sf", type=float, default=0.1, help="scale factor (default 0.1)")
    made.add_argument("--queries", help="numbers of statements, such as 3,5 (default: all 22)")
    made.add_argument("--repeat", type=int, default=3, help="counted rounds (default 3)")
    made.add_argument(
        "--orders", choices=("postgres", "mariadb"), default="postgres",
        help="where the orders lie (default postgres)",
    )  # fmt: skip
    made.add_argument("--json", type=Path, help="write the figures to a file")
    made.add_argument("--compare", type=Path, help="figures of an earlier run")
    made.add_argument("--fragments", action="store_true", help="print what is sent to the sources")
    made.add_argument("--folder", type=Path, default=FOLDER, help="where the data is kept")
    return made


def _table(report: Report, before: dict[str, object] | None) -> str:
    earlier = _earlier(before)
    head = (
        f"{'query':>5} {'floor s':>8} {'attach s':>8} {'open s':>8} {'/floor':>7} {'/attach':>7} "
        f"{'governed':>8} {'plan ms':>8} {'cached':>7} {'before':>7}  rows moved"
    )
    lines = [f"TPC-H at scale {report.scale:g}, seconds are medians of interleaved runs", head]
    for one in report.measured:
        seconds = one.seconds
        rows = ", ".join(f"{name} {count:,}" for name, count in one.moved.items())
        ago = earlier.get(one.number)
        lines.append(
            f"{one.number:>5} {seconds['floor']:8.3f} {seconds['attach']:8.3f} "
            f"{seconds['open']:8.3f} {one.ratio('open', 'floor'):7.2f} "
            f"{one.ratio('open', 'attach'):7.2f} {one.ratio('governed', 'open'):8.2f} "
            f"{one.plan_cold:8.1f} {one.plan_cached:7.2f} "
            f"{f'{ago:.2f}' if ago else '-':>7}  {rows}{'  WRONG' if one.wrong else ''}"
        )
    for name, numbers in (("all measured", ALL), ("federated", FEDERATED)):
        ratios = [
            report.geomean(*pair, numbers)
            for pair in (("open", "floor"), ("open", "attach"), ("governed", "open"))
        ]
        if all(ratios):
            told_ = ", ".join(
                f"{label} {ratio:.2f}"
                for label, ratio in zip(
                    ("to the floor", "to ATTACH", "governed to open"), ratios, strict=True
                )
            )
            lines.append(f"geomean, {name}: {told_}")
    return "\n".join(lines)


def _earlier(before: dict[str, object] | None) -> dict[int, float]:
    """The ratios to ATTACH of an earlier run."""
    found = before["measured"] if before else []
    assert isinstance(found, list)
    return {
        one["number"]: one["seconds"]["open"] / one["seconds"]["attach"] for one in found
    }


def _fragments(one: Measured) -> str:
    sent = "\n".join(f"  {source}: {sql}" for source, sql in one.fragments)
    return f"query {one.number}\n{sent}"


def _wrong(report: Report) -> list[str]:
    return [f"query {one.number} is wrong: {one.wrong}" for one in report.measured if one.wrong]


def beyond(report: Report) -> list[str]:
    """Rows moved from servers and files beyond what is written down for this scale."""
    limits = tomllib.loads(LIMITS.read_text(encoding="utf-8")).get(f"sf-{report.scale:g}", {})
    found = []
    for one in report.measured:
        most = limits.get(str(one.number))
        moved = sum(one.moved.values())
        if most is not None and moved > most:
            found.append(f"query {one.number} moves {moved:,} rows, at most {most:,} may")
    return found


def _say(text: str) -> None:
    if text:
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
