"""Servers and samples that the connectors' tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.postgres import NoPostgres, Server, find_server
from tests.connectors.conformance.samples import Sample, in_duckdb, in_files, in_sqlite


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A PostgreSQL server; a run that must have one fails without."""
    try:
        found = find_server(tmp_path_factory.mktemp("postgres"))
    except NoPostgres as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    with found:
        yield found
    found.discard()


@pytest.fixture(scope="session", params=["duckdb", "files", "sqlite"])
def embedded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sample]:
    """The rows in each kind of source that needs no server."""
    makers = {"duckdb": in_duckdb, "files": in_files, "sqlite": in_sqlite}
    folder: Path = tmp_path_factory.mktemp(str(request.param))
    sample = makers[request.param](folder)
    yield sample
    sample.connection.close()
    sample.reference.close()
