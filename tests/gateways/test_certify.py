"""Another gateway is certified: by its own meaning, as its own account, however slowly it lets us.

Takes: a far gateway, meshes whose source it is. Gives: what certifying finds, the command, and that
a refusal of too many requests proves nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from click.testing import CliRunner

import gateway.cli.certify as command
from connectors.base import Connection, ConnectorUnavailable, load_abilities, load_connector
from gateway.certify import facts, run
from gateway.certify.certificate import Certificate
from gateway.certify.facts import TRAPS
from gateway.certify.probes import Probe, all_probes
from gateway.certify.run import Subject, certify
from gateway.opening import OpenGateway
from gateway.serve.flight.server import FlightEndpoint
from tests.gateways.conftest import Pair
from tests.served import within
from tests.small_mesh import SmallMesh, opened_mesh

NOTHING: Mapping[str, tuple[str, ...]] = MappingProxyType({})
DECLARED = load_abilities("flightsql")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few probes, and nothing else."""

    def some() -> Iterator[Probe]:
        yield from (one for one in all_probes() if one.name.startswith("comparable.INT"))

    monkeypatch.setattr(run, "all_probes", some)
    monkeypatch.setattr(run, "facts", lambda *_: iter(()))
    monkeypatch.setattr(run, "prices", lambda *_: {})
    monkeypatch.setattr(run, "bounds", lambda *_: {})


def connected(url: str) -> Connection:
    settings = {"url": url, "user": "gate", "password": "gate-demo", "identity": "service"}
    return load_connector("flightsql").connect(settings)


def found_of(url: str, seconds: float = 60.0) -> Certificate:
    with closing(connected(url)) as connection:
        return certify(Subject("d.s", "flightsql", DECLARED, NOTHING), connection, seconds=seconds)


def test_what_is_found_of_another_gateway(far: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is DuckDB as it says; its version comes by the protocol, and what it costs is measured."""

    def some() -> Iterator[Probe]:
        yield from (one for one in all_probes() if one.name in ("groupable.VARCHAR", "can_sort"))

    monkeypatch.setattr(run, "all_probes", some)
    monkeypatch.setattr(facts, "TRAPS", TRAPS[::6])
    monkeypatch.setattr(run, "bounds", lambda *_: {})
    made = found_of(far)
    assert made.differs == () and made.proved == ("groupable.VARCHAR", "can_sort")
    assert all(one.is_same for one in made.facts), [one for one in made.facts if not one.is_same]
    assert len(made.facts) > 10 and made.version
    assert set(made.prices) == {"statement", "row", "byte", "key"}


@pytest.mark.long
def test_all_of_it_is_as_declared(far: str) -> None:
    made = found_of(far, run.SECONDS)
    assert made.differs == () and made.proved
    assert all(one.is_same for one in made.facts), [one for one in made.facts if not one.is_same]


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[str]:
    """A far gateway that takes ten statements at once, and then five a second."""
    mesh = SmallMesh(
        domain="lab", source={"connector": "duckdb", "settings": {"path": "rows.duckdb"}},
        tables={}, users={"gate": {}}, gateway={"limits": {"requests_per_second": 5}},
    )  # fmt: skip
    opened = opened_mesh(tmp_path, mesh)
    endpoint = FlightEndpoint(opened, "127.0.0.1", 0)
    yield f"grpc://127.0.0.1:{endpoint.start()}"
    endpoint.stop()
    opened.close()


@pytest.mark.usefixtures("few")
def test_too_many_requests_disprove_nothing(slow: str) -> None:
    """Certifying waits as long as it is told to, and gives up at its deadline."""
    began = time.monotonic()
    made = found_of(slow)
    assert made.differs == () and made.proved == ("comparable.INTEGER",)
    assert time.monotonic() - began > 0.5  # the control: it was told to wait
    with pytest.raises(ConnectorUnavailable):
        found_of(slow, seconds=0.1)


def ask(opened: OpenGateway, *arguments: str) -> tuple[int, str]:
    given = [*arguments, "--conf", str(opened.config.folder)]
    result = CliRunner().invoke(command.certify, given, env={})
    return result.exit_code, result.output


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("identity", ["caller", pytest.param("service", marks=pytest.mark.long)])
def test_the_command(identity: str, pair: Pair, tmp_path: Path) -> None:
    """Its ability file; where callers are passed on the account itself is asked, for no row."""
    opened = pair.near if identity == "caller" else pair.service
    file = tmp_path / "abilities.json"
    code, shown = ask(opened, "--all", "--output", str(file))
    assert (code, "hub.held: flightsql" in shown) == (0, True), shown
    assert "not certifiable" not in shown
    held = json.loads(file.read_text(encoding="utf-8"))
    assert held["proved"] == ["comparable.INTEGER"] and held["version"]
    assert opened.abilities.certificate("hub.held") is not None
    # A certified source answers as before: each new connection is compared with the certificate.
    opened.pools.close()
    assert pair.ask("amy", "SELECT count(*) AS n FROM hub.many")["n"].to_pylist() == [200_000]


@pytest.mark.usefixtures("few")
def test_a_gateway_of_another_version_is_certified_again(pair: Pair) -> None:
    """Also where callers are passed on, and there is none."""
    opened = pair.near
    assert ask(opened, "hub.held")[0] == 0
    made = opened.abilities.certificate("hub.held")
    assert made is not None
    opened.abilities.record(replace(made, settings={"version": "0.0"}))
    opened.pools.close()
    pair.ask("amy", "SELECT count(*) AS n FROM hub.many")

    def is_current() -> bool:
        again = opened.abilities.certificate("hub.held")
        return again is not None and again.settings == made.settings

    assert within(60, is_current)
