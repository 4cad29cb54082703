"""The endpoint and the PostgreSQL beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
import pytest

from tests.pgwire.catalog.mesh import serving
from tests.pgwire.catalog.oracle import oracle
from tests.pgwire.small import DOMAIN, Small

USER = "all"
Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"


@dataclass(frozen=True, slots=True)
class Both:
    """Addresses of the same tables: the gateway's, PostgreSQL's, and PostgreSQL's for the owner."""

    ours: str
    theirs: str
    owners: str


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    with serving(tmp_path_factory.mktemp("catalog")) as made:
        yield made


@pytest.fixture(scope="session")
def both(endpoint: Small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    place = endpoint.address.removeprefix("postgresql://")
    with oracle(tmp_path_factory.mktemp("oracle"), USER) as (theirs, owners):
        yield Both(f"postgresql://{USER}:{USER}-demo@{place}/{DOMAIN}", theirs, owners)


@pytest.fixture(scope="session")
def ours(both: Both) -> Iterator[Connection]:
    with psycopg.connect(both.ours, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def theirs(both: Both) -> Iterator[Connection]:
    with psycopg.connect(both.theirs, autocommit=True) as connection:
        yield connection
