"""Who may connect: SCRAM, passwords and tokens over TLS, caps, time-outs, the gateway's end."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from gateway.errors import Unauthenticated
from gateway.serve.pgwire.entering import StartUp, require_private
from gateway.serve.pgwire.faults import Broken
from tests.pgwire.small import Small, small, write_certificate
from tests.pgwire.wire import Wire, fields, message, query, startup, text
from tests.served import within

TABLE = "SELECT i::INTEGER AS id, 'n' || i AS name FROM range(10) AS r(i)"
COLUMNS = {"id": "INTEGER", "name": "VARCHAR"}
SETTINGS = {
    "pgwire": {"connections": 6, "idle_seconds": 120.0},
    "sign_in": {"free_failures": 2, "longest_delay": 0.2},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("sign-in")


@pytest.fixture
def secure(place: Path, tmp_path: Path) -> Iterator[Small]:
    """An endpoint with a certificate."""
    certificate = write_certificate(place / "tls")
    folder = tmp_path / "mesh"
    with small(folder, TABLE, COLUMNS, settings={**SETTINGS, **certificate}) as made:
        yield made


def failures_of(held: Small) -> list[tuple[str, str, str, bool, str]]:
    """What is recorded of failed sign-ins from now on."""
    told: list[tuple[str, str, str, bool, str]] = []
    held.opened.identity.failed = lambda *each: told.append(each)
    return told


def refused(held: Small, **options: str) -> str:
    """The text of a refused connection, without any password in it."""
    with pytest.raises(psycopg.OperationalError) as caught:
        held.connect(**{"sslmode": "require", **options}).close()
    assert options.get("password", "-") not in str(caught.value)
    return str(caught.value)


def test_over_tls(secure: Small, place: Path) -> None:
    address = secure.address.replace("127.0.0.1", "localhost")
    with psycopg.connect(
        address, user="all", password="all-demo", sslmode="verify-full",
        sslrootcert=str(place / "tls/certificate.pem"), hostaddr="127.0.0.1",
    ) as connection:  # fmt: skip
        assert connection.pgconn.ssl_in_use
        assert connection.execute("select count(*) from shop.items").fetchone() == (10,)
        big = connection.execute(f"select '{'x' * 900_000}' as x".encode()).fetchone()
        assert big is not None and len(big[0]) == 900_000


def test_a_password_and_a_token_in_clear_go_over_tls_only(secure: Small) -> None:
    told = failures_of(secure)
    clear = {"options": "-c sign_in=password", "sslmode": "require"}
    identity = secure.opened.identity
    token = identity.issue(identity.trusted("part")).value
    with secure.connect("all", **clear) as connection:
        assert connection.execute("select current_user").fetchone() == ("all",)
    with secure.connect("part", **{**clear, "password": token}) as connection:
        assert connection.execute("select count(*) from shop.items").fetchone() == (5,)
        identity.revoke(token)
        with pytest.raises(errors.InvalidAuthorizationSpecification):
            connection.execute("select count(*) from shop.items")
    assert told == [("", "unauthenticated", "postgres", False, "127.0.0.1")]
    assert "28000" not in refused(secure, **{**clear, "user": "all", "password": "guessed"})
    assert told[-1] == ("all", "unauthenticated", "postgres", True, "127.0.0.1")
    other = identity.issue(identity.trusted("part")).value
    assert "not that user's" in refused(secure, **{**clear, "user": "all", "password": other})
    assert "over TLS only" in refused(secure, **{**clear, "sslmode": "disable"})
    # The control: what the client would have sent is never asked for.
    with Wire(secure.address) as made:
        made.send(startup(user="all", options="-c sign_in=password"))
        assert [kind for kind, _ in made.until("RE")] == ["E"]


def test_bytes_before_the_encryption_are_refused(secure: Small) -> None:
    with Wire(secure.address) as made:
        made.send(struct.pack(">ii", 8, 80877103) + startup(user="all"))
        answered = made.exactly(100)
        assert b"08P01" in answered and not answered.startswith(b"S")


def test_wrong_passwords_read_the_same_and_are_slowed(secure: Small) -> None:
    told = failures_of(secure)
    texts = {
        refused(secure, user=user, password=password).split("FATAL:")[-1]
        for user, password in (("all", "x"), ("all", ""), ("nobody", "x"))
        if password
    }
    (text,) = texts
    assert "The user or the password is wrong" in text
    # Who comes with a token, by a client that offers a proof, learns what to do.
    assert "-c sign_in=password" in text
    assert [one[0] for one in told] == ["all", "nobody"]
    began = time.monotonic()
    for _ in range(4):
        refused(secure, user="all", password="x")
    assert time.monotonic() - began > 0.2
    with secure.connect("all"):
        pass


def test_an_unknown_user_gets_a_salt_that_stays(secure: Small) -> None:
    def first(user: str) -> bytes:
        with Wire(secure.address) as made:
            made.send(startup(user=user))
            assert made.receive() == ("R", struct.pack(">i", 10) + b"SCRAM-SHA-256\0\0")
            said = b"n,,n=,r=abc"
            made.send(message("p", text("SCRAM-SHA-256") + struct.pack(">i", len(said)) + said))
            found = made.receive()
            assert found is not None and found[0] == "R"
            return found[1][4:].split(b",", 1)[1]

    assert first("nobody") == first("nobody") != first("somebody")
    assert len(first("nobody")) == len(first("all"))
    assert first("nobody").split(b",")[1] == first("all").split(b",")[1]


@pytest.mark.parametrize(
    "answer",
    [
        message("p", b"SCRAM-SHA-256-PLUS\0" + struct.pack(">i", 3) + b"n,,"),
        message("p", b"SCRAM-SHA-256\0" + struct.pack(">i", 99) + b"n,,"),
        message("p", b"SCRAM-SHA-256\0" + struct.pack(">i", 3) + b"\xff\xfe\xfd"),
        message("p", b"SCRAM-SHA-256\0" + struct.pack(">i", 11) + b"p=x,,n=,r=a"),
        query("select 1"), message("p", b""), b"p" + struct.pack(">i", 2**30),
    ],
)  # fmt: skip
def test_an_exchange_that_is_none(secure: Small, answer: bytes) -> None:
    with Wire(secure.address) as made:
        made.send(startup(user="all"))
        made.receive()
        told = made.ask(answer, kinds="E")
        assert fields(told[-1][1])["C"] == "08P01" and made.receive() is None


def test_all_places_are_taken(secure: Small) -> None:
    held = [secure.connect() for _ in range(6)]
    assert "All connections are taken" in refused(secure)
    with Wire(secure.address) as made:
        made.send(struct.pack(">iiii", 16, 80877102, 1, 1))
        assert made.receive() is None
    for one in held:
        one.close()

    def is_free() -> bool:
        try:
            secure.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    assert within(60, is_free)


def test_a_silent_client_has_to_leave(tmp_path: Path) -> None:
    settings = {"pgwire": {"idle_seconds": 0.5}}
    with small(tmp_path, TABLE, COLUMNS, settings=settings) as held, Wire(held.address) as made:
        made.sign_in("all")
        told = made.until("E")
        assert fields(told[-1][1])["C"] == "57P05" and made.receive() is None


def test_in_the_place_of_somebody(secure: Small) -> None:
    with secure.connect("all", options="-c as=part") as connection:
        assert connection.execute("select count(*) from shop.items").fetchone() == (5,)
    assert "You may not act as" in refused(secure, user="part", options="-c as=all")


def test_whoever_has_another_password_is_out(secure: Small) -> None:
    identity = secure.opened.identity
    verifier = identity.verifier("all")
    assert identity.still("all", verifier).user == "all"
    for name, held in (("all", identity.verifier("part")), ("nobody", verifier)):
        with pytest.raises(Unauthenticated):
            identity.still(name, held)


@pytest.mark.parametrize(
    ("is_encrypted", "is_local", "permitted", "is_taken"),
    [
        (False, False, False, False), (True, False, False, True),
        (False, True, False, True), (False, False, True, True),
    ],
)  # fmt: skip
def test_rows_in_clear_stay_on_the_machine(
    is_encrypted: bool, is_local: bool, permitted: bool, is_taken: bool
) -> None:
    start = StartUp("u", "d", {}, "scram", "", False, (), is_encrypted)
    if is_taken:
        require_private(start, is_local, permitted)
        return
    with pytest.raises(Broken, match="not encrypted"):
        require_private(start, is_local, permitted)


def test_the_end_lets_a_statement_finish(place: Path) -> None:
    rows = "select count(*) as n from range(10000000) as a(i), range(7) as b(j) where i % 7 = j"
    with (
        small(place / "end", TABLE, COLUMNS) as held,
        held.connect() as idle,
        held.connect() as busy,
    ):
        found: list[object] = []
        thread = threading.Thread(target=lambda: found.append(busy.execute(rows).fetchone()))
        thread.start()
        assert within(60, lambda: held.opened.queries.count)
        held.endpoint.stop(60)
        thread.join(60)
        assert found == [(10_000_000,)]
        with pytest.raises(psycopg.errors.AdminShutdown):
            idle.execute("select 1")
        with pytest.raises(psycopg.OperationalError):
            held.connect()


def test_the_end_stops_what_takes_too_long(place: Path) -> None:
    endless = "select count(*) as n from range(9000000) as a(i), range(9000000) as b(j) where i < j"
    with small(place / "stopped", TABLE, COLUMNS) as held, held.connect() as busy:
        failed: list[BaseException] = []

        def run() -> None:
            try:
                busy.execute(endless)
            except psycopg.Error as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        assert within(60, lambda: held.opened.queries.count)
        began = time.monotonic()
        held.endpoint.stop()
        thread.join(60)
        assert failed and time.monotonic() - began < 60
        assert within(60, lambda: not held.opened.queries.count)


def test_a_machine_that_is_gone_is_noticed(secure: Small) -> None:
    """Probes after 15 silent seconds, three of them five seconds apart."""
    with secure.connect():
        ((_, held),) = secure.endpoint._server._connections.values()
        wire = held._link._writer.get_extra_info("socket")
        assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                assert wire.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value
