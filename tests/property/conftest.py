"""Servers for the lots.

Takes: a test run. Gives: PostgreSQL and MariaDB, started when a test first asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.demo import mysql
from gateway.demo.postgres import Server, find_server
from tests.mysql import mysql_or_none


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A throwaway server."""
    made = find_server(tmp_path_factory.mktemp("postgres"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def mariadb() -> Iterator[mysql.Server | None]:
    """A throwaway server; None where there is none, which a test says aloud."""
    with mysql_or_none() as made:
        yield made
