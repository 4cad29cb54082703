"""Who stands in for others: only he may, for one of them at a time, and nothing is mixed up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

import pyarrow as pa
import pytest
from pyarrow import flight

from catalog.model import Source
from connectors.base import (
    Connection,
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    FragmentColumn,
    load_connector,
)
from gateway.opening import settings_of
from gateway.pools import Caller, Pools, Settings
from tests.flight.raw import RawClient
from tests.gateways.conftest import Pair

OWN = Fragment('SELECT min("id") FROM "sales"."orders"', (FragmentColumn("n", "INTEGER"),), ())
FIRST = MappingProxyType({"amy": 0, "ben": 1, "gate": 0})


def far_address(pair: Pair) -> str:
    return source_of(pair).settings["url"].replace("grpc://", "grpc+tcp://")


def source_of(pair: Pair) -> Source:
    return pair.near.publisher.current().mesh.sources["hub.held"]


@contextmanager
def client(pair: Pair, user: str) -> Iterator[Callable[[str], flight.FlightCallOptions]]:
    """A signed-in client, and the options of a call that acts as somebody ('' for nobody)."""
    with RawClient(far_address(pair), user) as made:

        def options(name: str) -> flight.FlightCallOptions:
            headers = [made.token, (b"x-sqluice-as", name.encode())] if name else [made.token]
            made.options = flight.FlightCallOptions(headers=headers, timeout=30)
            return made

        yield options


def minimum(made: RawClient) -> object:
    return made.reader(made.start("SELECT min(id) AS n FROM sales.orders")).read_all()["n"][
        0
    ].as_py()


def test_one_token_for_several_callers(pair: Pair) -> None:
    """Each call is who it says, and without a name the account itself again."""
    with client(pair, "gate") as acting_as:
        for name in ("amy", "ben", "", "amy", "ben", ""):
            assert minimum(acting_as(name)) == FIRST[name or "gate"]


def test_without_the_right(pair: Pair) -> None:
    with client(pair, "plain") as acting_as, pytest.raises(flight.FlightUnauthorizedError):
        minimum(acting_as("amy"))
    with client(pair, "gate") as acting_as, pytest.raises(flight.FlightUnauthorizedError):
        minimum(acting_as("nobody"))


def test_a_right_that_is_gone(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is gone with the next call, whatever the session did before."""
    with client(pair, "gate") as acting_as:
        assert minimum(acting_as("ben")) == FIRST["ben"]
        mesh = pair.far.publisher.current().mesh
        users = tuple(replace(one, impersonates=None) for one in mesh.users)
        changed = replace(mesh, users=users)
        monkeypatch.setattr(pair.far.identity, "_mesh", lambda: changed)
        with pytest.raises(flight.FlightUnauthorizedError):
            minimum(acting_as("ben"))
        assert minimum(acting_as("")) == FIRST["gate"]


def test_a_prepared_statement_is_one_callers(pair: Pair) -> None:
    """What was prepared as one is unknown to the other, bound values and all."""
    with client(pair, "gate") as acting_as:
        made = acting_as("amy")
        held = made.prepare("SELECT min(id) AS n FROM sales.orders").prepared_statement_handle
        command = "CommandPreparedStatementQuery"
        assert made.read(command, prepared_statement_handle=held)["n"].to_pylist() == [0]
        for other in ("ben", ""):
            with pytest.raises(pa.ArrowException):
                acting_as(other).read(command, prepared_statement_handle=held)


def test_a_started_stream_is_one_callers(pair: Pair) -> None:
    with client(pair, "gate") as acting_as:
        info = acting_as("amy").start("SELECT id FROM sales.orders")
        with pytest.raises((pa.ArrowException, flight.FlightError)):
            acting_as("ben").reader(info).read_all()
        assert acting_as("amy").reader(info).read_all()["id"][0].as_py() == FIRST["amy"]


def pools_of(pair: Pair, kind: type[Pools] = Pools) -> Pools:
    opened = pair.near
    return kind(settings_of(opened.config, lambda: opened.publisher.current().mesh))


def asked(pools: Pools, source: Source, user: str) -> object:
    with pools.on_behalf_of(Caller(user)).lease(source) as connection:
        (batch,) = connection.stream(OWN)
    return batch.column(0)[0].as_py()


class _Mixed(Pools):
    """The control: a pool that does not look whose a connection is."""

    def _idle(self, pool: object, key: Settings) -> Connection | None:
        idle = pool.idle  # type: ignore[attr-defined]  # a pool's own
        return idle.pop()[2] if idle else None


def test_connections_are_never_anothers(pair: Pair) -> None:
    """Side by side and one after the other, with fewer connections than callers want."""
    pools, source = pools_of(pair), source_of(pair)
    names = ("amy", "ben") * 6
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda name: asked(pools, source, name), names))
    assert found == [FIRST[name] for name in names]
    assert [asked(pools, source, name) for name in names] == [FIRST[name] for name in names]
    pools.close()


def test_the_control_mixes_callers(pair: Pair) -> None:
    """Keyed by the source alone, the pool hands ben amy's connection, and her rows."""
    pools, source = pools_of(pair, _Mixed), source_of(pair)
    assert [asked(pools, source, name) for name in ("amy", "ben")] == [FIRST["amy"], FIRST["amy"]]
    pools.close()


def test_idle_connections_are_bounded(pair: Pair) -> None:
    """However many callers there are; the oldest make room."""
    opened = pair.near
    pools = Pools(settings_of(opened.config, lambda: opened.publisher.current().mesh), maximum=2)
    source = source_of(pair)
    for purpose in (None, "audit", "care"):
        with pools.on_behalf_of(Caller("amy", purpose)).lease(source) as connection:
            assert list(connection.stream(OWN))
    (pool,) = pools._pools.values()
    assert [dict(key)["purpose"] for _, key, _ in pool.idle] == ["audit", "care"]
    pools.close()


def test_nobody_is_no_caller(pair: Pair) -> None:
    """Where each caller has his own rows, nothing is read for nobody: counts, entitlements."""
    source = source_of(pair)
    for pools in (pools_of(pair), pools_of(pair).nobodys().on_behalf_of(Caller("amy"))):
        with pytest.raises(ConnectorError, match="asked as its caller"), pools.lease(source):
            pass


@pytest.mark.parametrize("identity", ["caller", "service"])
def test_a_domain_cannot_name_the_caller(pair: Pair, identity: str) -> None:
    """Else it would read as amy, and give what she may see to everybody."""
    source = source_of(pair)
    settings = {**source.settings, "identity": identity, "caller": "amy"}
    with (
        pytest.raises(ConnectorError, match=r"no setting|says who"),
        pools_of(pair).on_behalf_of(Caller("ben")).lease(replace(source, settings=settings)),
    ):
        pass


def test_a_far_gateway_that_does_not_let_us_in(pair: Pair) -> None:
    """Wrong password, nobody there, or a sign-in twice over: told apart from a caller's rights."""
    source = source_of(pair)
    settings = {**source.settings, "password": "gate-demo"}
    connector = load_connector("flightsql")
    for wrong in ({"password": "wrong"}, {"url": "grpc://127.0.0.1:1"}):
        with pytest.raises(ConnectorUnavailable):
            connector.connect({**settings, **wrong, "caller": "amy"})
    for wrong in ({"token": "x"}, {"identity": "both"}, {"user_name": "x"}, {"url": "/tmp"}):
        with pytest.raises(ConnectorError):
            connector.connect({**settings, **wrong})
