"""HTTP, Flight SQL and the PostgreSQL wire side by side: tokens of a provider, and who guesses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import errors
from pyarrow import flight

from gateway.audit import verify
from gateway.serve.flight.messages import make, pack
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.pgwire.server import PgwireEndpoint
from tests.identity.mesh import Shop, basic, bearer, open_shop
from tests.identity.test_flight_sign_in import failures
from tests.identity.test_provider import CLIENT, free_port, provider, token_of
from tests.pgwire.small import write_certificate
from tests.pgwire.wire import Wire, startup

COUNT = "select count(*) as n from sales.people"
CLEAR = "-c sign_in=password"
HOUR = 3600.0
# From here on a failure is slowed.
FREE = 2


@dataclass(slots=True)
class Wires:
    """One gateway behind three protocols, two of them over TLS; `slept` is how long it waited."""

    shop: Shop
    authority: Path
    flight_port: int
    pgwire_port: int
    provider_port: int
    slept: list[float] = field(default_factory=list)

    def http(self, authorization: str) -> object:
        """A statement, or the code that refuses it."""
        return self.shop.ask(authorization, COUNT)

    def flight(self, authorization: str) -> object:
        """A statement by one header, or the code that refuses it."""
        address = f"grpc+tls://localhost:{self.flight_port}"
        with flight.FlightClient(address, tls_root_certs=self.authority.read_bytes()) as client:
            headers = [(b"authorization", authorization.encode())]
            options = flight.FlightCallOptions(headers=headers, timeout=60)
            command = pack(make("CommandStatementQuery", query=COUNT))
            descriptor = flight.FlightDescriptor.for_command(command)
            try:
                info = client.get_flight_info(descriptor, options)
            except flight.FlightUnauthenticatedError as error:
                return str(error).partition("message: ")[2].partition(":")[0]
            found = client.do_get(info.endpoints[0].ticket, options).read_all()
            return [[str(one["n"])] for one in found.to_pylist()]

    def connect(self, user: str, password: str, **options: Any) -> psycopg.Connection[Any]:  # noqa: ANN401 - psycopg's own
        """A connection of the PostgreSQL wire over TLS."""
        chosen: dict[str, Any] = {
            "sslmode": "verify-full", "sslrootcert": str(self.authority), "autocommit": True,
            "hostaddr": "127.0.0.1", "connect_timeout": 60, **options,
        }  # fmt: skip
        return psycopg.connect(
            f"postgresql://localhost:{self.pgwire_port}", user=user, password=password, **chosen
        )

    def pgwire(self, user: str, password: str, **options: Any) -> object:  # noqa: ANN401 - psycopg's own
        """A statement, or the code that refuses it."""
        try:
            with self.connect(user, password, **options) as connection:
                return [[str(one)] for (one,) in connection.execute(COUNT)]
        except psycopg.OperationalError as error:
            assert password not in str(error)
            return str(error).rpartition("FATAL:")[2].strip()


@pytest.fixture(scope="module")
def wires(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    folder, port = tmp_path_factory.mktemp("wires"), free_port()
    sections = {
        **write_certificate(folder / "tls"),
        "sign_in": {"free_failures": FREE},
        "sign_in.openid": {
            "issuer": f"http://127.0.0.1:{port}", "audience": CLIENT, "refetch_seconds": 0,
            "groups_claim": "teams",
        },
    }  # fmt: skip
    with open_shop(folder, sections) as shop:
        over_flight = FlightEndpoint(shop.opened, "127.0.0.1", 0)
        over_pgwire = PgwireEndpoint(shop.opened, "127.0.0.1", 0)
        made = Wires(
            shop, folder / "tls/certificate.pem", over_flight.start(), over_pgwire.start(), port
        )
        shop.opened.identity._slowing._sleep = made.slept.append
        try:
            yield made
        finally:
            over_flight.stop()
            over_pgwire.stop()


def test_people_of_a_provider_ask_over_each_protocol(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, openid = wires.provider_port, wires.shop.opened.identity.openid
    assert openid is not None
    with provider(port):
        good, other = token_of(port, "amy"), token_of(port, "amy", "another-client")
        assert everywhere(wires, good) == [[["3"]]] * 4
        orders = "select count(*) from sales.orders"
        assert wires.shop.ask(bearer(good), orders) == [["3"]]
        for refused in (other, token_of(port, "other")):
            assert {str(one) for one in everywhere(wires, refused)[:3]} == {"unauthenticated"}
        assert "not for this gateway" in str(wires.pgwire("amy", other, options=CLEAR))
        # It is hers, and stands for nobody else.
        assert "not that user's" in str(wires.pgwire("ben", good, options=CLEAR))
        # What is no proof is not taken for one, and never read in clear.
        assert "password is wrong" in str(wires.pgwire("amy", good))
        assert "over TLS only" in str(wires.pgwire("amy", good, options=CLEAR, sslmode="disable"))
        with Wire(f"postgresql://127.0.0.1:{wires.pgwire_port}") as clear:
            clear.send(startup(user="amy", options=CLEAR))
            assert [kind for kind, _ in clear.until("RE")] == ["E"], "it was asked for in clear"
        # It ends in the midst of a connection, too.
        with wires.connect("amy", good, options=CLEAR) as connection:
            assert connection.execute(COUNT).fetchall() == [(3,)]
            with monkeypatch.context() as later:
                later.setattr(openid, "_clock", lambda: time.time() + 24 * HOUR)
                assert everywhere(wires, good)[:3] == ["unauthenticated"] * 3
                assert "has expired" in str(wires.pgwire("amy", good, options=CLEAR))
                with pytest.raises(errors.InvalidAuthorizationSpecification):
                    connection.execute(COUNT)
    # The provider is away: its keys stay.
    assert everywhere(wires, good) == [[["3"]]] * 4
    with provider(port):
        # Its keys are others.
        assert everywhere(wires, token_of(port, "amy")) == [[["3"]]] * 4
        assert everywhere(wires, good)[:3] == ["unauthenticated"] * 3
        assert "not valid here" in str(wires.pgwire("amy", good, options=CLEAR))


def everywhere(wires: Wires, token: str) -> list[object]:
    """What a token gets: over HTTP, Flight SQL as a header and at the handshake, PostgreSQL."""
    return [
        wires.http(bearer(token)), wires.flight(bearer(token)), wires.flight(basic("amy", token)),
        wires.pgwire("amy", token, options=CLEAR),
    ]  # fmt: skip


GUESSED = "sqs_guessed"
FORGED = "eyJhbGciOiJub25lIn0.e30."
# By the endpoint's name and what is guessed: a guess, and what is right.
GUESSES: Mapping[tuple[str, str], tuple[Callable[[Wires], object], Callable[[Wires], object]]] = {
    ("http", "password"): (lambda w: w.http(basic("amy", "guess")), lambda w: w.http(basic("amy"))),
    ("http", "token"): (lambda w: w.http(bearer(GUESSED)), lambda w: w.http(basic("amy"))),
    ("http", "provider"): (lambda w: w.http(bearer(FORGED)), lambda w: w.http(basic("amy"))),
    ("flight", "password"): (
        lambda w: w.flight(basic("amy", "guess")), lambda w: w.flight(basic("amy")),
    ),
    ("flight", "token"): (lambda w: w.flight(bearer(GUESSED)), lambda w: w.flight(basic("amy"))),
    ("flight", "provider"): (lambda w: w.flight(bearer(FORGED)), lambda w: w.flight(basic("amy"))),
    ("postgres", "proof"): (
        lambda w: w.pgwire("amy", "guess"), lambda w: w.pgwire("amy", "amy-demo"),
    ),
    ("postgres", "password"): (
        lambda w: w.pgwire("amy", "guess", options=CLEAR),
        lambda w: w.pgwire("amy", "amy-demo", options=CLEAR),
    ),
    ("postgres", "token"): (
        lambda w: w.pgwire("amy", GUESSED, options=CLEAR), lambda w: w.pgwire("amy", "amy-demo"),
    ),
    ("postgres", "provider"): (
        lambda w: w.pgwire("amy", FORGED, options=CLEAR), lambda w: w.pgwire("amy", "amy-demo"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GUESSES, ids=" ".join)
def test_failed_sign_ins_are_slowed_and_audited(wires: Wires, case: tuple[str, str]) -> None:
    endpoint, (guess, right) = case[0], GUESSES[case]
    wires.shop.opened.identity._slowing._records.clear()
    wires.slept.clear()
    assert right(wires) == [["3"]]
    before, counted = len(failures(wires.shop)), failed(wires, endpoint)
    told = {str(guess(wires)) for _ in range(FREE + 2)}
    assert len(told) == 1, told
    assert "unauthenticated" in told or endpoint == "postgres"
    # The first ones are free, those that follow wait twice as long each.
    assert wires.slept == [0.1, 0.2]
    assert failures(wires.shop)[before:] == [(endpoint, "127.0.0.1")] * (FREE + 2)
    assert failed(wires, endpoint) - counted == FREE + 2
    # The control: what is right signs in, and is no failure.
    assert right(wires) == [["3"]]
    assert len(failures(wires.shop)) == before + FREE + 2
    assert verify(wires.shop.opened.state).holds


def failed(wires: Wires, endpoint: str) -> int:
    """What the metrics tell of failed sign-ins at an endpoint."""
    body = wires.shop.client.get("/metrics").text
    return sum(
        int(one.value)
        for family in text_string_to_metric_families(body) for one in family.samples
        if one.name == "sqluice_failed_sign_ins_total" and one.labels["endpoint"] == endpoint
    )  # fmt: skip
