"""How the long tests are shared out to the workers.

Takes: the long tests. Gives: the heaviest first and many short ones last, so that no worker ends
with one long test alone; a file stays on one worker, since what its tests stand on would be made on
each; the tests of the few files that take minutes go alone to whoever is free. Never says a word on
the short tests, which stay together by file.

The marker `xdist_group` would say the same; pytest-xdist 3.8.0 writes it into an attribute that
pytest 9.2 no longer reads, and the marker is ignored without a word.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# What a file says that has long tests.
LONG = "mark.long"
# Files, and folders by the slash at their end.
APART = (
    "tests/property/",
    "tests/differential/",
    "tests/leaks/test_noninterference.py",
    "tests/mutants/test_mutants.py",
)
# Minutes each; all that follow take seconds, or are many.
FIRST = (
    "tests/property/test_long.py",
    "tests/packaging/test_wheels.py",
    "tests/differential/test_any_source.py",
    "tests/differential/test_traps.py",
    "tests/joins/test_joins.py",
    "tests/soak/test_soak.py",
    "tests/tpcds/test_tpcds.py",
    "tests/bench/test_tpch.py",
    "tests/dialect/test_suite_of_sqlalchemy.py",
    "tests/clients/test_snippets.py",
    "tests/self_check/test_self_check.py",
    "tests/faults/test_drivers.py",
    "tests/faults/test_files.py",
    "tests/faults/test_mysql.py",
    "tests/faults/test_postgres.py",
    "tests/connectors/test_mysql_faults.py",
    "tests/audit/test_kill.py",
)
# A second or a few each: who is done sooner takes more of them.
LAST = (
    "tests/leaks/test_noninterference.py",
    "tests/mutants/test_mutants.py",
)


class LongScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A file at a time, but of the largest a test."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def scope(nodeid: str) -> str:
    """What stays on one worker with the test: its file, or itself alone."""
    file = file_of(nodeid)
    return nodeid if file.startswith(APART) else file


def place(file: str) -> int:
    """When a file has its turn, compared with others."""
    if file in FIRST:
        return FIRST.index(file) - len(FIRST)
    return 1 + LAST.index(file) if file in LAST else 0


def file_of(nodeid: str) -> str:
    """The file of a test."""
    return nodeid.split("::", 1)[0]


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that the long run is started with."""
    parser.addoption("--heaviest-first", action="store_true", help="share out the long tests")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Seven of eight files have no long test: to look costs less than to import them."""
    if not config.getoption("heaviest_first") or not collection_path.match("test_*.py"):
        return None
    return None if LONG in collection_path.read_text(encoding="utf-8") else True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LongScheduling | None:
    """Our own way for the long tests, xdist's for all others."""
    return LongScheduling(config, log) if config.getoption("heaviest_first") else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The heaviest first, in the same order on every worker; in a short run, that none hides."""
    if config.getoption("heaviest_first"):
        items.sort(key=lambda one: place(file_of(one.nodeid)))
        return
    for path in {one.path for one in items if one.get_closest_marker("long") is not None}:
        if LONG not in path.read_text(encoding="utf-8"):
            raise pytest.UsageError(f"{path} has long tests and says {LONG} nowhere")
