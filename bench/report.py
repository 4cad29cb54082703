"""What was measured of TPC-H, as text, and what of it is beyond its limits.

Takes: a report, and the figures of an earlier one. Gives: lines to print, problems. Never measures.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from bench.tpch import ALL, FEDERATED, SLOW, Measured, Report

LIMITS = Path(__file__).with_name("limits.toml")
# A plan may move so many times the rows of the one that somebody wrote by hand.
OVER_HANDWRITTEN = 1.2
_FIRM = 0.1
_SHOWN = {"floor": "floor", "attach": "ATTACH", "database": "PostgreSQL itself"}


def table(report: Report, before: dict[str, object] | None) -> str:
    """One line a statement, and the means."""
    earlier = _earlier(before)
    names = list(report.measured[0].seconds) if report.measured else []
    peers = [one for one in _SHOWN if one in names]
    columns = [*(f"{one} s" for one in names), *(f"/{one}" for one in peers)]
    columns += ["flight", "governed", "plan ms", "cached", "before"]
    lines = [
        f"TPC-H, {report.kind}; seconds are medians of interleaved runs",
        "query " + "".join(f"{one:>11}" for one in columns) + "  rows (kB) moved",
    ]
    for one in report.measured:
        ago = earlier.get(one.number)
        figures = [
            *(f"{one.seconds[name]:.3f}" for name in names),
            *(f"{one.ratio('open', name):.2f}" for name in peers),
            f"{one.ratio('flight', 'open'):.2f}",
            f"{one.ratio('governed', 'open'):.2f}",
            f"{one.plan_cold:.1f}",
            f"{one.plan_cached:.2f}",
            f"{ago:.2f}" if ago else "-",
        ]
        shown = "".join(f"{figure:>11}" for figure in figures)
        lines.append(f"{one.number:>5} {shown}  {_moved(one)}{'  WRONG' if one.wrong else ''}")
    pairs = [("open", name, f"to {_SHOWN[name]}") for name in peers]
    pairs += [("flight", "open", "Flight SQL to in process"), ("governed", "open", "governed")]
    for title, numbers in (("all measured", ALL), ("federated", FEDERATED)):
        ratios = [(label, report.geomean(a, b, numbers)) for a, b, label in pairs]
        told = ", ".join(f"{label} {ratio:.2f}" for label, ratio in ratios if ratio)
        if told:
            lines.append(f"geomean, {title}: {told}")
    return "\n".join([*lines, *_to_database(report)])


def _moved(one: Measured) -> str:
    parts = [
        f"{name} {count:,} ({one.bytes.get(name, 0) / 1000:,.0f})"
        for name, count in one.moved.items()
    ]
    if one.governed_moved:
        parts.append(f"for governed {sum(one.governed_moved.values()):,} rows in all")
    parts += [f"{name}'s link {size / 1000:,.0f} kB" for name, size in one.wire.items()]
    return ", ".join(parts)


def _to_database(report: Report) -> list[str]:
    """Who has all tables himself is to be met within a tenth and 5 ms."""
    if not any("database" in one.seconds for one in report.measured):
        return []
    slower = [
        str(one.number)
        for one in report.measured
        if one.seconds["open"] > 1.1 * one.seconds["database"] + 0.005
    ]
    of_all = f"{len(slower)} of {len(report.measured)}"
    return [f"slower than 1.1 x PostgreSQL itself + 5 ms: {of_all} ({', '.join(slower) or '-'})"]


def _earlier(before: dict[str, object] | None) -> dict[int, float]:
    """The ratios to ATTACH of an earlier run."""
    found = before["measured"] if before else []
    assert isinstance(found, list)
    return {one["number"]: one["seconds"]["open"] / one["seconds"]["attach"] for one in found}


def fragments(one: Measured) -> str:
    """What a statement sends to the sources."""
    sent = "\n".join(f"  {source}: {sql}" for source, sql in one.fragments)
    return f"query {one.number}\n{sent}"


def wrong(report: Report) -> list[str]:
    """The answers that are not the reference's."""
    return [f"query {one.number} is wrong: {one.wrong}" for one in report.measured if one.wrong]


def beyond(report: Report) -> list[str]:
    """Rows moved from servers and files beyond what is written down for this kind of run."""
    known = tomllib.loads(LIMITS.read_text(encoding="utf-8"))
    limits, by_hand = known.get(report.kind, {}), known["by hand at scale 1"]
    found = []
    for one in report.measured:
        hand = by_hand.get(str(one.number))
        # Below that a few rows more than by hand are many times as many.
        if report.kind.endswith(SLOW) and hand and report.scale >= _FIRM:
            wanted = hand * report.scale * OVER_HANDWRITTEN
            if sum(one.moved.values()) > wanted:
                found.append(f"query {one.number} moves over {OVER_HANDWRITTEN} x the rows by hand")
        most = limits.get(str(one.number))
        moved = sum(one.moved.values())
        if most is not None and moved > most:
            found.append(f"query {one.number} moves {moved:,} rows, at most {most:,} may")
    return found


def unlimited(report: Report) -> list[str]:
    """For a kind of run that has no limits: that nothing was held to any."""
    if report.kind in tomllib.loads(LIMITS.read_text(encoding="utf-8")):
        return []
    return [f"no limits of rows are written down for {report.kind}: none were held to"]


def to_handwritten(report: Report) -> list[str]:
    """For a slow link: rows moved beside those of plans that were written by hand."""
    known = tomllib.loads(LIMITS.read_text(encoding="utf-8"))["by hand at scale 1"]
    lines = []
    for one in report.measured:
        by_hand = known.get(str(one.number))
        if by_hand is not None:
            moved, wanted = sum(one.moved.values()), by_hand * report.scale
            lines.append(
                f"query {one.number:>2} moves {moved:>9,} rows, by hand {wanted:>9,.0f}: "
                f"{moved / wanted:.2f} (bar {OVER_HANDWRITTEN})"
            )
    return lines
