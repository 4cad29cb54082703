"""An OpenID provider whose keys a test holds: a server on loopback, and tokens of every making.

Takes: keys. Gives: an address, counts of what was asked, tokens signed as a test says. Never checks
anything: tests/identity/test_provider.py signs in at a provider of somebody else's making.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

AUDIENCE = "sqluice"
Key = RSAKey | ECKey | OKPKey


@cache
def key(name: str) -> Key:
    """A key of that name; its kind is what stands before the dash."""
    kind = name.split("-", maxsplit=1)[0]
    made: Key
    if kind == "ec":
        made = ECKey.generate_key("P-256", {"kid": name})
    elif kind == "okp":
        made = OKPKey.generate_key("Ed25519", {"kid": name})
    else:
        with warnings.catch_warnings(action="ignore"):
            made = RSAKey.generate_key(1024 if kind == "short" else 2048, {"kid": name})
    return made


def public(name: str, **besides: object) -> dict[str, object]:
    """What a provider tells of a key."""
    return {**key(name).as_dict(private=False), **besides}


def encoded(content: object) -> str:
    """A part of a token."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def by_hand(header: Mapping[str, object], claims: object, secret: bytes | None = None) -> str:
    """A token that no library would make: signed by a shared secret, or by nobody."""
    text = f"{encoded(dict(header))}.{encoded(claims)}"
    signature = b"" if secret is None else hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{encoded(signature)}"


@dataclass(slots=True)
class Provider:
    """A provider that tells the public halves of `names`."""

    address: str
    names: list[str] = field(default_factory=lambda: ["rsa-one"])
    besides: dict[str, object] = field(default_factory=dict)
    body: bytes | None = None
    calls_itself: str = ""
    is_down: bool = False
    seconds: float = 0.0
    asked: int = 0

    def claims(self, **changed: object) -> dict[str, object]:
        """Those of a good token, changed; None takes one away."""
        now = int(time.time())
        made: dict[str, object] = {
            "iss": self.address, "aud": AUDIENCE, "sub": "amy", "iat": now, "nbf": now,
            "exp": now + 300, **changed,
        }  # fmt: skip
        return {name: value for name, value in made.items() if value is not None}

    def token(
        self, name: str = "rsa-one", header: Mapping[str, object] | None = None, **changed: object
    ) -> str:
        """A token that is signed with a key."""
        usual = {"rsa": "RS256", "short": "RS256", "ec": "ES256", "okp": "Ed25519"}
        made = {"alg": usual[name.split("-", maxsplit=1)[0]], "kid": name, **(header or {})}
        shown = {one: value for one, value in made.items() if value is not None}
        algorithms = [str(shown["alg"])]
        return jwt.encode(shown, self.claims(**changed), key(name), algorithms)


@contextmanager
def providing() -> Iterator[Provider]:
    """A provider until the end of the block."""
    held: list[Provider] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server_answers(held[0])

        def server_answers(self, provider: Provider) -> None:
            time.sleep(provider.seconds)
            if provider.is_down:
                self.send_error(503)
                return
            if self.path.startswith("/.well-known/"):
                body = json.dumps({
                    "issuer": provider.calls_itself or provider.address,
                    "jwks_uri": f"{provider.address}/keys",
                }).encode()  # fmt: skip
            else:
                provider.asked += 1
                keys = [public(one, **provider.besides) for one in provider.names]
                body = provider.body or json.dumps({"keys": keys}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError):
                self.wfile.write(body)

        def log_message(self, format: str, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    held.append(Provider(f"http://127.0.0.1:{server.server_address[1]}"))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield held[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)
