"""The files of TLS that the endpoints serve with.

Takes: the settings of `[tls]`. Gives: paths and contents; None where nothing is encrypted. Never
shows a key, and never starts with a file that cannot be read.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config import Config
from gateway.errors import InvalidConfig


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
