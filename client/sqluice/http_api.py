"""A running gateway, over its HTTP API.

Takes: an address, what signs in, files of certificates. Gives: JSON; what went wrong as the
client's errors. Never sends a password or a token in clear off the machine, nor to an address that
an answer points to.
"""

from __future__ import annotations

import base64
import json
import ssl
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from sqluice.address import is_loopback
from sqluice.errors import DatabaseError, InterfaceError, rebuilt
from sqluice.transport import Encryption, SignIn

DEFAULT_PORT = 7080
_SECONDS = 30.0
_BY_STATUS = {401: "unauthenticated", 403: "access_denied"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the gateway is, and what signs us in."""

    url: str
    authorization: str = field(default="", repr=False)
    encryption: Encryption = field(default_factory=Encryption)


class _NoRedirect(HTTPRedirectHandler):
    """Credentials go to the address that was named, and to no other."""

    def redirect_request(self, *_: object) -> None:
        """Refuse."""
        return None


def read_url(url: str) -> str:
    """An address, settled: without a scheme it is https; raises for what is none."""
    if "://" not in url:
        url = f"https://{url}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise InterfaceError("--url must be an http:// or https:// address.")
    if parts.scheme == "http" and not is_loopback(host):
        raise InterfaceError(
            "Passwords and tokens do not travel in clear off the machine: use https://."
        )
    if parts.username is not None:
        raise InterfaceError("--url holds no user: he is --user, and his password is asked for.")
    return url.rstrip("/")


def endpoint(url: str, sign_in: SignIn, encryption: Encryption) -> Endpoint:
    """Prepare to ask."""
    return Endpoint(read_url(url), _authorization(sign_in), encryption)


def ask(
    there: Endpoint, method: str, path: str, body: object = None
) -> dict[str, object]:
    """The JSON that the gateway answers."""
    headers = {"Accept": "application/json"}
    if there.authorization:
        headers["Authorization"] = there.authorization
    content = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        content = json.dumps(body).encode()
    request = Request(there.url + path, content, headers, method=method)
    handlers: list[HTTPRedirectHandler | HTTPSHandler] = [_NoRedirect()]
    if there.url.startswith("https:"):
        handlers.append(HTTPSHandler(context=_context(there.encryption)))
    try:
        with build_opener(*handlers).open(request, timeout=_SECONDS) as answer:
            return _read(there, answer.read())
    except HTTPError as error:
        with error:
            raise _refused(error.code, error.read()) from None
    except URLError as error:
        raise _unreached(there, error.reason) from None
    except (HTTPException, OSError) as error:
        raise _unreached(there, error) from None


def _read(there: Endpoint, body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body) if body else {}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise _gone(f"What answers at {there.url} is no gateway.", "Name its address with --url.")
    return answer


def _authorization(sign_in: SignIn) -> str:
    if sign_in.token is not None:
        return f"Bearer {sign_in.token}"
    if sign_in.user is not None:
        signed = f"{sign_in.user}:{sign_in.password or ''}".encode()
        return f"Basic {base64.b64encode(signed).decode()}"
    return ""


def _context(encryption: Encryption) -> ssl.SSLContext:
    path = encryption.authorities
    try:
        context = ssl.create_default_context(cafile=path)
        if encryption.certificate is not None:
            path = encryption.certificate
            # A key that is locked is refused: the library would ask for its word by itself.
            context.load_cert_chain(path, encryption.key, password="")
    except (OSError, ValueError):
        raise InterfaceError(
            f"{path} is no file in PEM that can be read"
            f"{', or not that of the key' if path == encryption.certificate else ''}."
        ) from None
    return context


def _refused(status: int, body: bytes) -> DatabaseError:
    """An error of the wire by its code; a status alone where something else answers."""
    try:
        answer = json.loads(body)
        shown = answer.get("error", answer)
        facts = {**shown, "code": str(shown["code"]), "message": str(shown["message"])}
    except (ValueError, KeyError, TypeError, AttributeError):
        code = _BY_STATUS.get(status, "source_unavailable")
        return rebuilt(
            {"code": code, "message": f"The gateway answered with HTTP status {status}."}
        )
    return rebuilt({**facts, "remedy": facts.get("remedy") or facts.get("hint")})


def _unreached(there: Endpoint, reason: object) -> DatabaseError:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return _gone(
            f"The certificate of {there.url} is not trusted: {reason.verify_message}.",
            "Name the authority that issued it with --certificates, or the host for which it "
            "was issued.",
        )
    if isinstance(reason, ssl.SSLError):
        name = (reason.reason or "no reason").replace("_", " ").lower()
        return _gone(
            f"TLS with {there.url} fails: {name}.",
            "See that this is the port of HTTPS; a gateway that wants a client's certificate "
            "takes --certificate and --key.",
        )
    if isinstance(reason, HTTPException):
        return _gone(
            f"What answers at {there.url} does not speak HTTP.",
            "Name the port of HTTP, which is 7080 unless told otherwise, and https:// where it "
            "speaks TLS.",
        )
    return _gone(
        f"No gateway answers at {there.url}.",
        "Start it with `sqluice serve`, or name another address with --url.",
    )


def _gone(message: str, remedy: str) -> DatabaseError:
    return rebuilt({"code": "source_unavailable", "message": message, "remedy": remedy})
