"""The files of TLS that the endpoints serve with.

Takes: the settings of `[tls]`; what the ssl module tells of a client's certificate. Gives: paths
and contents, None where nothing is encrypted; the name in a certificate. Never shows a key, and
never starts with a file that cannot be read.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.config import Config
from gateway.errors import InvalidConfig

# Where the scope of a request of HTTP has the name in its client's certificate.
SHOWN = "sqluice.certificate"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths; `authorities` is None where clients show no certificate."""

    certificate: Path
    key: Path = field(repr=False)
    authorities: Path | None = None


def tls_files(config: Config) -> TlsFiles | None:
    """The files, checked: certificate and key belong together."""
    settings = config.tls
    if not settings.certificate:
        return None
    authorities = settings.client_authorities
    found = TlsFiles(
        config.folder / settings.certificate, config.folder / settings.key,
        config.folder / authorities if authorities else None,
    )  # fmt: skip
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(found.certificate, found.key)
        if found.authorities is not None:
            context.load_verify_locations(found.authorities)
    except (OSError, ssl.SSLError) as error:
        raise InvalidConfig(
            "The certificate, the key or the authorities of [tls] cannot be used.",
            hint="Name files of PEM, relative to the mesh folder, of which key and certificate "
            "belong together.",
            private=str(error),
        ) from None
    return found


def name_in(certificate: Mapping[str, Any] | None) -> str:
    """Whom a verified certificate names: the first alternative name, else the common name.

    Takes what `getpeercert` gives; '' where there is none. So does gRPC, by which one certificate
    is one name on every endpoint.
    """
    if not certificate:
        return ""
    for _, name in certificate.get("subjectAltName", ()):
        return str(name)
    for part in certificate.get("subject", ()):
        for kind, name in part:
            if kind == "commonName":
                return str(name)
    return ""
