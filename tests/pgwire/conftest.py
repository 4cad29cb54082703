"""Connections to the gateway of the sample mesh over the PostgreSQL wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import psycopg
import pytest

from tests.served import Served

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"
Connect = Callable[..., Connection]


@pytest.fixture
def connect(gateway: Served) -> Iterator[Connect]:
    """A connection of a user's; closed with the test."""
    with ExitStack() as stack:

        def made(user: str = "nora", **options: Any) -> Connection:  # noqa: ANN401 - psycopg's own
            chosen: dict[str, Any] = {"password": f"{user}-demo", "connect_timeout": 20}
            chosen |= {"autocommit": True, **options}
            return stack.enter_context(psycopg.connect(gateway.pgwire, user=user, **chosen))

        yield made


@pytest.fixture(scope="module")
def nora(gateway: Served) -> Iterator[Connection]:
    """Nora, who plans the network; in autocommit."""
    with psycopg.connect(
        gateway.pgwire, user="nora", password="nora-demo", autocommit=True
    ) as connection:
        yield connection
