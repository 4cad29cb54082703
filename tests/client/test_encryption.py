"""TLS with one's own authority, a client's certificate, and tokens of an OAuth server."""

from __future__ import annotations

import datetime
import ipaddress
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import sqluice
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.tls import TlsFiles
from sqluice.command import main
from tests.client.conftest import Served
from tests.sample import SampleMesh


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> tuple[bytes, bytes]:
        """Both as text."""
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return (
            self.certificate.public_bytes(form[0]),
            self.key.private_bytes(*form, serialization.NoEncryption()),
        )

    def write(self, folder: Path, name: str) -> tuple[str, str]:
        """Both as files."""
        files = folder / f"{name}.pem", folder / f"{name}.key"
        for file, content in zip(files, self.pem(), strict=True):
            file.write_bytes(content)
        return str(files[0]), str(files[1])


def issue(name: str, authority: Issued | None = None) -> Issued:
    """A certificate of that name; without an authority it is one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
    )
    return Issued(made.sign(authority.key if authority else key, hashes.SHA256()), key)


@dataclass(frozen=True, slots=True)
class Secured:
    """A gateway that takes clients with a certificate alone, and the files that they need."""

    address: str
    authority: str
    client: tuple[str, str]
    stranger: tuple[str, str]


@pytest.fixture(scope="module")
def secured(sample: SampleMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The sample mesh behind TLS; where clients show certificates, none sends a password."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, other = issue("authority"), issue("other")
    trusted, _ = authority.write(folder, "authority")
    own = issue("gateway", authority).write(folder, "gateway")
    files = TlsFiles(Path(own[0]), Path(own[1]), Path(trusted))
    server = FlightEndpoint(sample.opened, "127.0.0.1", 0, files)
    yield Secured(
        f"127.0.0.1:{server.start()}",
        trusted,
        issue("client", authority).write(folder, "client"),
        issue("stranger", other).write(folder, "stranger"),
    )
    server.stop()


def test_both_sides_show_a_certificate(sample: SampleMesh, secured: Secured) -> None:
    certificate, key = secured.client
    identity = sample.opened.identity
    token = identity.issue(identity.authenticate_basic("nora", "nora-demo")).value
    with sqluice.connect(
        secured.address, token=token, tls=secured.authority, certificate=certificate, key=key,
    ) as connection:  # fmt: skip
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


@pytest.mark.parametrize("case", ["no authority", "no certificate", "a stranger's"])
def test_who_cannot_show_one_stays_outside(secured: Secured, case: str) -> None:
    certificate, key = secured.client
    shown: dict[str, Any] = {"certificate": certificate, "key": key, "tls": secured.authority}
    if case == "no authority":
        del shown["tls"]
    elif case == "no certificate":
        shown = {"tls": secured.authority}
    else:
        shown |= {"certificate": secured.stranger[0], "key": secured.stranger[1]}
    with pytest.raises(sqluice.OperationalError) as caught:
        sqluice.connect(secured.address, user="nora", password="nora-demo", **shown)
    assert caught.value.code == "source_unavailable"


def test_misuse_is_told_before_anything_is_sent(secured: Secured, tmp_path: Path) -> None:
    certificate, key = secured.client
    for named in (
        {"certificate": certificate}, {"key": key}, {"tls": str(tmp_path / "none.pem")},
        {"certificate": certificate, "key": key, "tls": False},
    ):  # fmt: skip
        with pytest.raises(sqluice.InterfaceError):
            sqluice.connect(secured.address, user="nora", password="x", **named)


@pytest.fixture
def issuer(sample: SampleMesh) -> Iterator[str]:
    """An OAuth server that gives its one client a token of the gateway."""
    token = sample.opened.identity.issue(sample.principal("nora")).value

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            asked = {name: values[0] for name, values in parse_qs(body).items()}
            fits = asked.get("grant_type") == "client_credentials" and (
                asked.get("client_secret") == "secret"
                or "Basic" in self.headers.get("authorization", "")
            )
            answer = {"access_token": token, "token_type": "Bearer", "expires_in": 60}
            self.send_response(200 if fits else 401)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer if fits else {"error": "invalid_client"}).encode())

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/token"
    server.shutdown()
    server.server_close()
    thread.join(60)


def test_client_credentials(secured: Secured, issuer: str, served: Served) -> None:
    oauth = sqluice.ClientCredentials(issuer, "reports", "secret")
    certificate, key = secured.client
    with sqluice.connect(
        secured.address, oauth=oauth, tls=secured.authority, certificate=certificate, key=key
    ) as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
    with pytest.raises(sqluice.InterfaceError, match="encrypted"):
        sqluice.connect(served.url, oauth=oauth)


def test_the_command_takes_client_credentials(
    secured: Secured, issuer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SQLUICE_URL", "SQLUICE_TOKEN", "SQLUICE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SQLUICE_OAUTH_SECRET", "secret")
    certificate, key = secured.client
    files = ["--certificates", secured.authority, "--certificate", certificate, "--key", key]
    client = ["--oauth-url", issuer, "--oauth-client", "reports"]
    asked = ["query", "--url", secured.address, "--csv", "SELECT 1 AS one"]
    done = CliRunner().invoke(main, [*asked, *files, *client])
    assert (done.exit_code, done.stdout) == (0, "one\n1\n"), done.stderr
    for wrong in (client[:2], client[2:], [*client, "--user", "nora"], ["--key", key]):
        refused = CliRunner().invoke(main, [*asked, *wrong], input="x\n")
        assert refused.exit_code == 2, (wrong, refused.output)
    # Neither option nor output has it.
    assert "secret" not in done.output


def test_a_secret_does_not_travel_in_clear() -> None:
    for address in ("http://issuer.example/token", "ftp://127.0.0.1/", "https:///x", ""):
        with pytest.raises(sqluice.InterfaceError, match="https://"):
            sqluice.ClientCredentials(address, "reports", "secret")
    sqluice.ClientCredentials("https://issuer.example/token", "reports", "secret")


def test_one_way_to_sign_in() -> None:
    oauth = sqluice.ClientCredentials("http://127.0.0.1:9/token", "reports", "secret")
    for named in ({"user": "nora"}, {"token": "t"}, {"password": "x"}):
        with pytest.raises(sqluice.InterfaceError) as caught:
            sqluice.connect("grpc://127.0.0.1:9", oauth=oauth, **named)  # type: ignore[arg-type]  # by name
        assert "secret" not in str(caught.value)
