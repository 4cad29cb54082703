"""What somebody can do to an endpoint before he has signed in, and to others who sign in."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from gateway.scram import make_verifier
from gateway.serve.pgwire import sasl
from gateway.serve.pgwire.faults import Broken
from gateway.sign_in import Attempt
from tests.identity.authorities import authority, local
from tests.pgwire.small import Small, small, write_certificate
from tests.pgwire.wire import SYNC, Wire, fields, message, parse, query, startup, text

TABLE = "SELECT i::INTEGER AS id FROM range(10) AS r(i)"
COLUMNS = {"id": "INTEGER"}
SETTINGS = {
    "pgwire": {"connections": 3, "idle_seconds": 5.0},
    "sign_in": {"free_failures": 2, "longest_delay": 0.1},
}
VERIFIER = make_verifier("all-demo", 4096)
BINDING = b"b" * 32


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    folder = tmp_path_factory.mktemp("before")
    certificate = write_certificate(folder / "tls")
    with small(folder / "mesh", TABLE, COLUMNS, settings={**SETTINGS, **certificate}) as made:
        yield made


def test_a_message_of_another_kind_is_not_waited_for(held: Small) -> None:
    """Of sixteen megabytes that a statement's values may take, none is read."""
    with Wire(held.address) as made:
        made.send(startup(user="all"))
        made.receive()
        made.sock.settimeout(5)
        told = made.ask(b"B" + struct.pack(">i", 16 * 1024 * 1024), kinds="E")
        assert fields(told[-1][1])["C"] == "08P01" and made.receive() is None
    # The control: who has signed in is waited for.
    with Wire(held.address) as made:
        made.sign_in("all")
        made.sock.settimeout(0.5)
        made.send(b"B" + struct.pack(">i", 16 * 1024 * 1024))
        with pytest.raises(TimeoutError):
            made.receive()


def test_who_says_nothing_keeps_nobody_out(held: Small) -> None:
    silent = [Wire(held.address) for _ in range(2 * 3 + 16)]
    try:
        with held.connect("all") as connection:
            assert connection.execute("select count(*) from shop.items").fetchone() == (10,)
            # One of them, the oldest, had to leave.
            silent[0].sock.settimeout(5)
            assert silent[0].receive() is None
            silent[-1].sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                silent[-1].receive()
    finally:
        for one in silent:
            one.sock.close()


def test_a_guess_is_slowed_by_its_address(held: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who guesses elsewhere takes nobody's turn."""
    identity = held.opened.identity
    seen: list[str] = []
    attempt = identity._slowing.attempt

    def watched(name: str) -> AbstractContextManager[Attempt]:
        seen.append(name)
        return attempt(name)

    monkeypatch.setattr(identity._slowing, "attempt", watched)
    for options in ("", "-c sign_in=password"):
        with pytest.raises(psycopg.OperationalError):
            held.connect("part", password="guess", sslmode="require", options=options)
    assert seen == ["part\x00127.0.0.1"] * 2


def test_the_sign_in_is_bound_to_the_certificate(held: Small) -> None:
    for wanted in ("require", "prefer", "disable"):
        with held.connect("all", sslmode="require", channel_binding=wanted) as connection:
            assert connection.execute("select count(*) from shop.items").fetchone() == (10,)
    # The control: in clear there is nothing to bind to.
    with pytest.raises(psycopg.OperationalError, match="channel binding"):
        held.connect("all", sslmode="disable", channel_binding="require")


def exchanged(first: str, channel: sasl.Channel, repeated: bytes) -> None:
    """A sign-in as far as the client's last message."""
    exchange = sasl.begin(first, VERIFIER, channel)
    said = f"c={base64.b64encode(repeated).decode()},r={exchange.nonce}"
    sasl.read_final(f"{said},p={base64.b64encode(bytes(32)).decode()}", exchange)


HEADER = "p=tls-server-end-point,,"


@pytest.mark.parametrize(
    ("first", "channel", "repeated", "is_taken"),
    [
        (HEADER, sasl.Channel(BINDING, True), HEADER.encode() + BINDING, True),
        ("n,,", sasl.Channel(BINDING, False), b"n,,", True),
        ("y,,", sasl.Channel(), b"y,,", True),
        # Somebody in between shows a certificate of his own.
        (HEADER, sasl.Channel(BINDING, True), HEADER.encode() + b"c" * 32, False),
        (HEADER, sasl.Channel(BINDING, True), HEADER.encode(), False),
        # He takes the bound mechanism off the list, or changes what was chosen.
        ("y,,", sasl.Channel(BINDING, False), b"y,,", False),
        ("n,,", sasl.Channel(BINDING, True), b"n,,", False),
        (HEADER, sasl.Channel(BINDING, False), HEADER.encode() + BINDING, False),
        ("p=tls-unique,,", sasl.Channel(BINDING, True), b"p=tls-unique,," + BINDING, False),
    ],
)
def test_who_stands_in_between_is_noticed(
    first: str, channel: sasl.Channel, repeated: bytes, is_taken: bool
) -> None:
    said = f"{first}n=,r=abcdefgh"
    if is_taken:
        exchanged(said, channel, repeated)
        return
    with pytest.raises(Broken):
        exchanged(said, channel, repeated)


@pytest.mark.parametrize(
    "final", ["c=biws,r={},p=\u00e9", "c=\u00e9,r={},p=AAAA", "c=biws,r={},p=A", "p=AAAA", "{}"]
)
def test_a_last_message_that_is_none(final: str, held: Small) -> None:
    with Wire(held.address) as made:
        made.send(startup(user="all"))
        made.receive()
        said = b"n,,n=,r=abc"
        size = struct.pack(">i", len(said))
        first = made.ask(message("p", text("SCRAM-SHA-256") + size + said), kinds="R")
        nonce = first[-1][1][4:].decode().split(",")[0].removeprefix("r=")
        told = made.ask(message("p", final.format(nonce).encode()), kinds="E")
        assert fields(told[-1][1])["C"] == "08P01" and made.receive() is None


def certificate_of(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    algorithm: hashes.HashAlgorithm | None,
) -> x509.Certificate:
    name = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    return (
        builder.public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2026, 1, 2, tzinfo=UTC))
        .sign(key, algorithm)  # type: ignore[arg-type]  # the one that the key takes
    )


def test_what_a_certificate_binds_to() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    for algorithm, wanted in ((hashes.SHA256(), hashes.SHA256()), (hashes.SHA384(),) * 2):
        made = certificate_of(curve, algorithm)
        pem = made.public_bytes(serialization.Encoding.PEM)
        assert sasl.end_point(pem) == made.fingerprint(wanted)
    # Such a signature names no hash: nothing is offered.
    bare = certificate_of(ed25519.Ed25519PrivateKey.generate(), None)
    assert sasl.end_point(bare.public_bytes(serialization.Encoding.PEM)) == b""
    assert sasl.offered(b"") == (sasl.MECHANISM,)


def test_where_clients_show_certificates_there_is_no_other_door(tmp_path: Path) -> None:
    ours, theirs = authority(tmp_path, "ours"), authority(tmp_path, "theirs")
    server = ours.sign("server", *local())
    known, forged = ours.sign("known"), theirs.sign("forged")
    files = {"certificate": str(server.certificate), "key": str(server.key)}
    count = "select count(*) from shop.items"
    tls = {"tls": {**files, "client_authorities": str(ours.file)}}
    with small(tmp_path / "mesh", TABLE, COLUMNS, settings=tls) as made:
        shown = {"sslcert": str(known.certificate), "sslkey": str(known.key)}
        known.key.chmod(0o600)
        forged.key.chmod(0o600)
        with made.connect("all", sslmode="require", **shown) as connection:
            assert connection.execute(count).fetchone() == (10,)
        other = {"sslcert": str(forged.certificate), "sslkey": str(forged.key)}
        for options in ({"sslmode": "require"}, {"sslmode": "require", **other}):
            with pytest.raises(psycopg.OperationalError):
                made.connect("all", **options)
        with pytest.raises(psycopg.OperationalError, match="not encrypted"):
            made.connect("all", sslmode="disable")
    # The control: where none is asked for, none is needed.
    with (
        small(tmp_path / "open", TABLE, COLUMNS, settings={"tls": files}) as made,
        made.connect("all", sslmode="disable") as connection,
    ):
        assert connection.execute(count).fetchone() == (10,)


def test_a_role_is_not_taken_for_granted(held: Small) -> None:
    """Who believes to have given rights up by it would go on with all of them."""
    with held.connect("all") as connection:
        connection.execute("set role none")
        connection.execute("set role = 'none'")
        assert connection.execute("show role").fetchone() == ("none",)
        for statement in ("set role = 'part'", "set role to part", "set role part"):
            with pytest.raises(psycopg.Error):
                connection.execute(statement.encode())
        assert connection.execute("show role").fetchone() == ("none",)
    with pytest.raises(psycopg.OperationalError, match="role is always none"):
        held.connect("all", options="-c role=part")


def test_a_statement_that_finds_no_room_is_not_kept(held: Small) -> None:
    with Wire(held.address) as made:
        made.sign_in("all")
        long = "select 1 -- " + "x" * 4_000_000
        codes = []
        for place in range(20):
            answered = made.ask(parse(long, f"s{place:02d}"), SYNC)
            codes.append(next((fields(body)["C"] for kind, body in answered if kind == "E"), ""))
        full = codes.index("54000")
        assert 10 < full < 18 and set(codes[full:]) == {"54000"}
        # The control: there is room again for a small one, and the last was not kept.
        kept = made.ask(query(f'deallocate "s{full:02d}"'))[0]
        assert kept[0] == "E" and fields(kept[1])["C"] == "26000"
        assert made.ask(query('deallocate "s00"'))[0][0] == "C"
