"""A PostgreSQL server for the lots.

Takes: a test run. Gives: a server, started when a test first asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.demo.postgres import Server, find_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A throwaway server."""
    made = find_server(tmp_path_factory.mktemp("postgres"))
    made.start()
    yield made
    made.stop()
