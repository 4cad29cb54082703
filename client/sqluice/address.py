"""Where a connection goes.

Takes: the first argument of `connect`. Gives: a folder (in process) or a host with its port, and
whether the way there is encrypted. Never lets a password or token travel in clear off the machine
unless the caller wrote `tls=False`.

    conf/                     a mesh folder: in process
    gateway.example:7051      a host: TLS
    grpc://127.0.0.1:7051     this machine: plaintext, unless tls says otherwise
    grpc://gateway.example    another machine: TLS, unless tls=False
    grpc+tls://...            TLS, whatever the host
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from sqluice.errors import InterfaceError

DEFAULT_PORT = 7051
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_ENCRYPTED = frozenset({"grpc+tls", "grpcs"})
_SCHEMES = _ENCRYPTED | {"grpc", "grpc+tcp"}
_FORMS = "Write a mesh folder, host:port, or grpc://host:port."


@dataclass(frozen=True, slots=True)
class Remote:
    """A gateway's Flight SQL endpoint."""

    host: str
    port: int
    is_encrypted: bool

    @property
    def url(self) -> str:
        """The address as the driver writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"grpc+{'tls' if self.is_encrypted else 'tcp'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Folder:
    """A mesh folder, to be opened in this process."""

    path: str


def read_address(target: str, tls: bool | None) -> Remote | Folder:
    """Read an address; `tls` is None where the caller left it open."""
    if "://" not in target:
        if not _HOST_AND_PORT.fullmatch(target):
            return Folder(target)
        return _remote(f"grpc://{target}", is_encrypted=tls is not False)
    scheme = target.split("://", 1)[0].lower()
    if scheme not in _SCHEMES:
        raise InterfaceError(f"An address cannot begin with {scheme}://. {_FORMS}")
    if scheme in _ENCRYPTED:
        if tls is False:
            raise InterfaceError(f"{scheme}:// and tls=False exclude each other.")
        return _remote(target, is_encrypted=True)
    found = _remote(target, is_encrypted=False)
    if scheme == "grpc+tcp" and tls is None and not is_loopback(found.host):
        raise InterfaceError(
            f"{scheme}://{found.host} would send your password in clear over the network. "
            "Use grpc+tls://, or say tls=False if you mean it."
        )
    encrypted = not is_loopback(found.host) if tls is None else tls
    return Remote(found.host, found.port, encrypted)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone: nothing is looked up."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _remote(url: str, *, is_encrypted: bool) -> Remote:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InterfaceError(f"{error}. {_FORMS}") from None
    if not host or parts.username is not None or parts.path not in ("", "/") or parts.query:
        raise InterfaceError(
            "An address has a host and a port, and nothing else: user, password and the rest are "
            f"arguments of connect. {_FORMS}"
        )
    return Remote(host, DEFAULT_PORT if port is None else port, is_encrypted)
