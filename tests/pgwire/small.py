"""A small mesh behind the endpoint, in the test's own process.

Takes: a folder, settings. Gives: an open gateway over a DuckDB file that listens; two users of whom
one reads all, one a part. Never a verifier that costs what a real one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.opening import OpenGateway
from gateway.serve.pgwire.server import PgwireEndpoint
from tests.small_mesh import SmallMesh, opened_mesh

DOMAIN = "shop"
Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Small:
    """An endpoint that listens; passwords are `<name>-demo`."""

    opened: OpenGateway
    endpoint: PgwireEndpoint
    address: str

    def connect(self, user: str = "all", **options: Any) -> psycopg.Connection[tuple[Any, ...]]:  # noqa: ANN401 - psycopg's own
        """A connection in autocommit; the caller closes it."""
        chosen: dict[str, Any] = {
            "password": f"{user}-demo",
            "autocommit": True,
            "connect_timeout": 20,
        } | options
        return psycopg.connect(self.address, user=user, **chosen)


@contextmanager
def small(
    folder: Path,
    table: str,
    columns: Mapping[str, str],
    scope: str = "id < 5",
    settings: Settings | None = None,
) -> Iterator[Small]:
    """A mesh of one table, which DuckDB makes of a query; `part` reads what the scope lets him."""
    (folder / "data").mkdir(parents=True)
    with duckdb.connect(str(folder / "data" / "held.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE TABLE items AS {table}")
    mesh = SmallMesh(
        DOMAIN,
        {"connector": "duckdb", "settings": {"path": "held.duckdb"}},
        {"items": ("items", columns)},
        {"all": {"mayImpersonate": True}, "part": {}},
        grants=(
            {"product": "items", "subjects": [{"users": ["all"]}]},
            {"product": "items", "subjects": [{"users": ["part"]}], "scope": scope},
        ),
        gateway=settings or {},
    )  # fmt: skip
    with on_the_wire(opened_mesh(folder, mesh)) as made:
        yield made


@contextmanager
def on_the_wire(opened: OpenGateway) -> Iterator[Small]:
    """A gateway behind the PostgreSQL wire; both are closed at the end."""
    endpoint = PgwireEndpoint(opened, "127.0.0.1", 0)
    try:
        yield Small(opened, endpoint, f"postgresql://127.0.0.1:{endpoint.start()}")
    finally:
        endpoint.stop()
        opened.close()


def write_certificate(folder: Path) -> Settings:
    """A certificate for this machine, its own authority; gives the section of gateway.toml."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return {"tls": {name: str(folder / f"{name}.pem") for name in ("certificate", "key")}}
