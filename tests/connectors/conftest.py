"""Servers and samples that the connectors' tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from gateway.demo import mysql as mariadb
from gateway.demo.postgres import NoPostgres, Server, find_server
from tests.connectors.conformance.samples import Sample, in_duckdb, in_files, in_sqlite
from tests.mysql import running_mysql


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


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[mariadb.Server]:
    """A MariaDB server; a run that must have one fails without."""
    with running_mysql() as found:
        yield found


@pytest.fixture(scope="session")
def embedded_samples(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Sample]]:
    """Makes the rows once in each kind of source that needs no server."""
    makers = {"duckdb": in_duckdb, "files": in_files, "sqlite": in_sqlite}
    made: dict[str, Sample] = {}

    def make(kind: str) -> Sample:
        if kind not in made:
            made[kind] = makers[kind](tmp_path_factory.mktemp(kind))
        return made[kind]

    yield make
    for sample in made.values():
        sample.connection.close()
        sample.reference.close()


@pytest.fixture(params=["duckdb", "files", "sqlite"])
def embedded(request: pytest.FixtureRequest, embedded_samples: Callable[[str], Sample]) -> Sample:
    """The rows in a source that needs no server."""
    return embedded_samples(str(request.param))
