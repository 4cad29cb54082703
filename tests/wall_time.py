"""What a test run tells at its end, and what it does not let pass.

Takes: the reports of a run. Gives: wall time and tests of each folder. With
`SQLUICE_REQUIRE_POSTGRES` set, a test that is skipped counts as failed: where every server must be,
a skip would be a hole. With --record a line for docs/verification.md. Never changes what a test
does.
"""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

REQUIRE = "SQLUICE_REQUIRE_POSTGRES"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "verification.md"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Whether to write the run down."""
    parser.addoption("--record", action="store_true", help="add a line to docs/verification.md")


def folder_of(nodeid: str) -> str:
    """The folder below tests that a test belongs to; the file where it lies in none."""
    parts = PurePosixPath(nodeid.split("::", 1)[0]).parts
    return "/".join(parts[:2])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where nothing may be skipped."""
    report = yield
    if report.skipped and os.environ.get(REQUIRE) and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE} is set, and yet this was skipped: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print seconds and tests of each folder, the slowest first."""
    seconds: dict[str, float] = defaultdict(float)
    tests: dict[str, set[str]] = defaultdict(set)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                folder = folder_of(report.nodeid)
                seconds[folder] += report.duration
                tests[folder].add(report.nodeid)
    if len(seconds) < 2:
        return
    terminalreporter.section("wall time per folder")
    for folder in sorted(seconds, key=lambda one: -seconds[one]):
        terminalreporter.write_line(
            f"{seconds[folder]:8.1f} s {len(tests[folder]):6d} tests  {folder}"
        )
    terminalreporter.write_line(f"{sum(seconds.values()):8.1f} s in all, added up over the workers")
    # A worker knows its own share only.
    is_worker = hasattr(terminalreporter.config, "workerinput")
    if terminalreporter.config.getoption("record") and not is_worker:
        with PAGE.open("a", encoding="utf-8") as page:
            page.write(_row(terminalreporter, sum(seconds.values())))


def _row(terminalreporter: pytest.TerminalReporter, seconds: float) -> str:
    """The line of a run in docs/verification.md."""
    counts = {
        outcome: len(terminalreporter.getreports(outcome))
        for outcome in ("passed", "failed", "error", "skipped")
    }
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=PAGE.parent, check=True,
        capture_output=True, text=True, timeout=60,
    ).stdout.strip()  # fmt: skip
    what = terminalreporter.config.getoption("markexpr")
    failed = counts["failed"] + counts["error"]
    cells = (
        datetime.now(UTC).date().isoformat(), commit, f"tests: {what}", str(counts["passed"]),
        str(failed), str(counts["skipped"]), f"{seconds:.0f}",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |\n"
