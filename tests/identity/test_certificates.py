"""Clients that show a certificate: whom it signs in, on each endpoint."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from cryptography import x509
from pyarrow import flight

from gateway.config import load_config
from gateway.errors import InvalidConfig
from gateway.serve.flight.messages import make, pack
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.pgwire.server import PgwireEndpoint
from gateway.serve.tls import name_in, tls_files
from tests.identity.authorities import Authority, Pair, authority, local
from tests.identity.mesh import Shop, basic, bearer, open_shop, write_shop
from tests.identity.test_api_tokens import made_for
from tests.served import started

COUNT = "select count(*) as n from sales.people"
ORDERS = "select count(*) as n from sales.orders"
# How libpq tells a handshake that the other side ended: the alert may be lost with the connection.
BROKEN_OFF = "SSL|closed the connection|reset by peer"


@dataclass(frozen=True, slots=True)
class Guarded:
    """A gateway that asks for certificates, and clients with them."""

    shop: Shop
    address: str
    ours: Authority
    clients: dict[str, Pair | None]
    port: int

    def client(self, who: str) -> flight.FlightClient:
        """A client with his certificate."""
        pair = self.clients[who]
        shown = {} if pair is None else {
            "cert_chain": pair.certificate.read_text(), "private_key": pair.key.read_text(),
        }  # fmt: skip
        return flight.FlightClient(
            self.address, tls_root_certs=self.ours.file.read_bytes(), **shown
        )

    def ask(self, who: str, *headers: tuple[bytes, bytes], sql: str = COUNT) -> list[object]:
        """The rows of a statement for a client."""
        with self.client(who) as client:
            options = flight.FlightCallOptions(headers=list(headers), timeout=20)
            command = pack(make("CommandStatementQuery", query=sql))
            info = client.get_flight_info(flight.FlightDescriptor.for_command(command), options)
            rows: list[object] = (
                client.do_get(info.endpoints[0].ticket, options).read_all().to_pylist()
            )
            return rows

    def ask_postgres(self, who: str, user: str, options: str = "", password: str = "") -> int:
        """How many orders somebody sees over the PostgreSQL wire, by a client's certificate."""
        pair = self.clients[who]
        with psycopg.connect(
            host="localhost", port=self.port, user=user, options=options, password=password,
            dbname=user, sslmode="verify-full", sslrootcert=str(self.ours.file),
            sslcert="" if pair is None else str(pair.certificate),
            sslkey="" if pair is None else str(pair.key),
        ) as connection:  # fmt: skip
            found = connection.execute(ORDERS).fetchone()
            assert found is not None
            return int(found[0])


def sections() -> dict[str, dict[str, object]]:
    return {
        "tls": {
            "certificate": "../server.pem", "key": "../server.key",
            "client_authorities": "../ours.pem",
        },
        "sign_in.certificates": {
            '"amy@example.org"': "amy", '"spiffe://mesh/bi"': "bi", '"plain"': "ben",
            '"gone@example.org"': "nobody",
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    ours, theirs = authority(folder, "ours"), authority(folder, "theirs")
    ours.sign("server", *local())
    clients: dict[str, Pair | None] = {
        "amy": ours.sign("amy-laptop", x509.RFC822Name("amy@example.org")),
        "bi": ours.sign("bi-server", x509.UniformResourceIdentifier("spiffe://mesh/bi")),
        "plain": ours.sign("plain"),
        "gone": ours.sign("gone", x509.RFC822Name("gone@example.org")),
        # Its name is a user's, which says nothing: only what is listed does.
        "unlisted": ours.sign("amy"),
        "forged": theirs.sign("amy-forged", x509.RFC822Name("amy@example.org")),
        "nothing": None,
    }
    with open_shop(folder, sections()) as shop:
        endpoint = FlightEndpoint(shop.opened, "127.0.0.1", 0)
        wire = PgwireEndpoint(shop.opened, "127.0.0.1", 0)
        address = f"grpc+tls://localhost:{endpoint.start()}"
        yield Guarded(shop, address, ours, clients, wire.start())
        endpoint.stop()
        wire.stop()


def test_a_certificate_that_is_listed_signs_in(guarded: Guarded) -> None:
    for who in ("amy", "plain"):
        assert guarded.ask(who) == [{"n": 3}]
    # Each is himself: she sees half of the orders, he all.
    orders = "select count(*) as n from sales.orders"
    assert guarded.ask("amy", sql=orders) == [{"n": 3}]
    assert guarded.ask("plain", sql=orders) == [{"n": 6}]


@pytest.mark.parametrize("who", ["unlisted", "gone"])
def test_one_that_stands_for_nobody_does_not(who: str, guarded: Guarded) -> None:
    with pytest.raises(flight.FlightUnauthenticatedError, match="stands for nobody"):
        guarded.ask(who)


@pytest.mark.parametrize("who", ["forged", "nothing"])
def test_without_one_of_ours_nobody_speaks_at_all(who: str, guarded: Guarded) -> None:
    token = bearer(made_for(guarded.shop)).encode()
    with pytest.raises(pa.ArrowException):
        guarded.ask(who, (b"authorization", token))
    # The control: the same token beside a certificate of ours.
    assert guarded.ask("unlisted", (b"authorization", token)) == [{"n": 3}]


def test_a_token_or_a_password_beside_it_is_what_counts(guarded: Guarded) -> None:
    token = bearer(made_for(guarded.shop, "ben")).encode()
    orders = "select count(*) as n from sales.orders"
    assert guarded.ask("amy", (b"authorization", token), sql=orders) == [{"n": 6}]
    signed = basic("ben").encode()
    assert guarded.ask("amy", (b"authorization", signed), sql=orders) == [{"n": 6}]
    with pytest.raises(flight.FlightUnauthenticatedError):
        guarded.ask("amy", (b"authorization", b"Bearer sqt_nothing"))


def test_a_handshake_is_served_beside_certificates(guarded: Guarded) -> None:
    with guarded.client("unlisted") as client:
        told = client.authenticate_basic_token("ben", "ben-demo")
    orders = "select count(*) as n from sales.orders"
    assert guarded.ask("unlisted", told, sql=orders) == [{"n": 6}]


def test_a_server_acts_for_somebody_by_its_certificate(guarded: Guarded) -> None:
    orders = "select count(*) as n from sales.orders"
    assert guarded.ask("bi", (b"x-sqluice-user", b"amy"), sql=orders) == [{"n": 3}]
    with pytest.raises(flight.FlightUnauthorizedError):
        guarded.ask("bi", (b"x-sqluice-user", b"bare"), sql=orders)


def test_the_postgresql_wire_asks_whom_it_names_for_nothing_more(guarded: Guarded) -> None:
    assert guarded.ask_postgres("amy", "amy") == 3
    assert guarded.ask_postgres("plain", "ben") == 6
    assert guarded.ask_postgres("bi", "bi", "-c as=amy") == 3


@pytest.mark.parametrize(
    ("who", "user", "options", "word"),
    [
        ("amy", "ben", "", "no password"),
        ("unlisted", "amy", "", "no password"),
        ("gone", "nobody", "", "stands for nobody"),
        ("amy", "ben", "-c sign_in=certificate", "somebody else"),
        ("unlisted", "amy", "-c sign_in=certificate", "stands for nobody"),
        ("amy", "amy", "-c sign_in=scram", "no password"),
        ("bi", "bi", "-c as=bare", "may not act"),
        ("forged", "amy", "", BROKEN_OFF),
        ("nothing", "amy", "", BROKEN_OFF),
    ],
)  # fmt: skip
def test_on_that_wire_nobody_else_is_let_in_by_it(
    who: str, user: str, options: str, word: str, guarded: Guarded
) -> None:
    with pytest.raises(psycopg.OperationalError, match=word):
        guarded.ask_postgres(who, user, options)


def test_a_password_beside_it_is_what_counts_on_that_wire(guarded: Guarded) -> None:
    assert guarded.ask_postgres("amy", "ben", password="ben-demo") == 6
    assert guarded.ask_postgres("unlisted", "ben", password="ben-demo") == 6
    with pytest.raises(psycopg.OperationalError):
        guarded.ask_postgres("amy", "ben", password="wrong")


def test_a_certificate_has_one_name() -> None:
    subject = ((("organizationName", "mesh"),), (("commonName", "plain"),))
    others = (("URI", "spiffe://mesh/bi"), ("DNS", "bi"))
    assert name_in({"subject": subject, "subjectAltName": others}) == "spiffe://mesh/bi"
    assert name_in({"subject": subject}) == "plain"
    assert name_in({"subject": subject[:1]}) == name_in({}) == name_in(None) == ""


@pytest.mark.long
def test_http_signs_in_by_certificate(tmp_path: Path) -> None:
    ours, theirs = authority(tmp_path, "ours"), authority(tmp_path, "theirs")
    ours.sign("server", *local())
    anybody, forged = ours.sign("anybody"), theirs.sign("forged")
    amy = ours.sign("amy-laptop", x509.RFC822Name("amy@example.org"))
    conf = write_shop(tmp_path, sections())
    text = (conf / "gateway.toml").read_text()
    (conf / "gateway.toml").write_text(f"{text}\n[http]\nport = 0\n[flight]\nport = 0\n")
    with started(conf, tmp_path / "data", {}) as found:
        address = found[1].replace("127.0.0.1", "localhost")
        assert address.startswith("https://") and found[2].startswith("grpc+tls://")

        def answer(pair: Pair | None, **headers: str) -> object:
            context = ssl.create_default_context(cafile=str(ours.file))
            if pair is not None:
                context.load_cert_chain(pair.certificate, pair.key)
            asked = urllib.request.Request(
                f"{address}/v1/query", json.dumps({"sql": ORDERS}).encode(),
                {**headers, "Content-Type": "application/json"},
            )  # fmt: skip
            with urllib.request.urlopen(asked, timeout=20, context=context) as told:
                return json.loads(told.read())["rows"]

        assert answer(amy) == [["3"]]
        assert answer(anybody, Authorization=basic("ben")) == [["6"]]
        assert answer(amy, Authorization=basic("ben")) == [["6"]]
        # A page of another site, and a proxy's word, sign nobody in.
        refusals: list[tuple[Pair, dict[str, str]]] = [
            (anybody, {}),
            (amy, {"Sec-Fetch-Site": "cross-site"}),
            (anybody, {"X-Forwarded-Client-Cert": "amy@example.org"}),
            (amy, {"Authorization": basic("ben", "wrong")}),
        ]
        for pair, headers in refusals:
            with pytest.raises(urllib.error.HTTPError) as refused:
                answer(pair, **headers)
            assert refused.value.code == 401
            refused.value.close()
        for other in (None, forged):
            with pytest.raises((urllib.error.URLError, OSError)):
                answer(other, Authorization=basic("amy"))


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ("certificate = 'no.pem'\nkey = 'no.key'", "cannot be used"),
        ("certificate = 'no.pem'", "come together"),
        ("client_authorities = 'no.pem'", "needs certificate and key"),
    ],
)
def test_files_that_will_not_do(tls: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(f"[tls]\n{tls}\n")
    with pytest.raises(InvalidConfig, match=words):
        tls_files(load_config(tmp_path, {}))
