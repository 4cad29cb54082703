"""A gateway for the client's tests: Flight SQL on a free port, over the sample mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

import sqluice
from gateway.serve.flight.server import FlightEndpoint
from tests.sample import CONF, SampleMesh


@dataclass(frozen=True, slots=True)
class Served:
    """Where the gateway listens; passwords of the sample mesh are `<name>-demo`."""

    url: str

    def connect(self, user: str = "nora", **options: object) -> sqluice.Connection:
        """Connect over Flight SQL."""
        return sqluice.connect(self.url, user=user, password=f"{user}-demo", **options)  # type: ignore[arg-type]  # by name


@pytest.fixture(scope="session")
def served(sample: SampleMesh) -> Iterator[Served]:
    """The sample mesh, served."""
    endpoint = FlightEndpoint(sample.opened, "127.0.0.1", 0)
    port = endpoint.start()
    yield Served(f"grpc://127.0.0.1:{port}")
    endpoint.stop()


Connect = Callable[..., sqluice.Connection]


@pytest.fixture(params=["flight", "flight, the short way", "in process"])
def opened(
    request: pytest.FixtureRequest, sample: SampleMesh, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Connect]:
    """Connects as a user, once over each transport; closes what it opened.

    The first statement of a connection tells whether the gateway knows the short way.
    """
    held: list[sqluice.Connection] = []
    monkeypatch.setenv("SQLUICE_DATA", str(sample.data))

    def connect(user: str = "nora", **options: object) -> sqluice.Connection:
        if request.param != "in process":
            served: Served = request.getfixturevalue("served")
            made = served.connect(user, **options)
            if request.param == "flight, the short way":
                made.execute("SELECT 1").close()
        else:
            made = sqluice.connect(f"{CONF}/", user=user, **options)  # type: ignore[arg-type]  # by name
        held.append(made)
        return made

    yield connect
    for one in held:
        one.close()
