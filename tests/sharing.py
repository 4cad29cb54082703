"""How the long tests are shared out to the workers.

Takes: the long tests. Gives: the heaviest first, so that no worker ends with one alone; a module
whose tests stand on one costly environment stays on one worker, every other test goes alone to
whoever is free. Never says a word on the short tests, which stay together by file.

The marker `xdist_group` would say the same; pytest-xdist 3.8.0 writes it into an attribute that
pytest 9.2 no longer reads, and the marker is ignored without a word.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TOGETHER = (
    "tests/packaging/test_wheels.py",
    "tests/connectors/test_mysql_faults.py",
    "tests/faults/test_files.py",
    "tests/faults/test_mysql.py",
    "tests/faults/test_postgres.py",
)
# Minutes each; all that follow take seconds.
FIRST = ("tests/property/test_long.py", *TOGETHER, "tests/differential/test_traps.py")


class LongScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """One test at a time, but for the modules that stay together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return file if file in TOGETHER else nodeid


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that the long run is started with."""
    parser.addoption("--heaviest-first", action="store_true", help="share out the long tests")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LongScheduling | None:
    """Our own way for the long tests, xdist's for all others."""
    return LongScheduling(config, log) if config.getoption("heaviest_first") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The heaviest first; the order is the same on every worker."""
    if config.getoption("heaviest_first"):
        items.sort(key=lambda one: _place(one.nodeid.split("::", 1)[0]))


def _place(file: str) -> int:
    return FIRST.index(file) if file in FIRST else len(FIRST)
