"""The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 5929).

Takes: a verifier, the messages of a client, what the channel can be bound to. Gives: the messages
of the server, and whether the proof fits. Never learns the password.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.scram import Verifier
from gateway.serve.pgwire.faults import violation

MECHANISM = "SCRAM-SHA-256"
BOUND = "SCRAM-SHA-256-PLUS"
# The name and an identity to act as may stand there and are not used.
_FIRST = re.compile(
    r"(?P<header>(?P<flag>[ny]|p=tls-server-end-point),(?:a=[^,]*)?,)"
    r"(?P<bare>n=[^,]*,r=(?P<nonce>[!-+\--~]+))"
)
_FINAL = re.compile(r"(?P<bare>c=(?P<binding>[^,]+),r=(?P<nonce>[^,]+)),p=(?P<proof>[^,]+)")
_MOST_NONCE = 1_000
# RFC 5929: what is too weak to bind to is hashed anew.
_WEAK = frozenset({"md5", "sha1"})


@dataclass(frozen=True, slots=True)
class Channel:
    """What a connection can be bound to, and whether the client has chosen that it is."""

    binding: bytes = b""
    is_bound: bool = False


UNBOUND = Channel()


@dataclass(frozen=True, slots=True)
class Exchange:
    """What both sides have said before the proof; `bound` is what the client has to repeat."""

    bound: bytes
    client_first: str
    server_first: str
    nonce: str


def end_point(certificate: bytes) -> bytes:
    """`tls-server-end-point` of a certificate in PEM; empty where there is no such thing for it."""
    found = x509.load_pem_x509_certificate(certificate)
    try:
        algorithm = found.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return b""
    if algorithm is None:
        return b""
    return found.fingerprint(SHA256() if algorithm.name in _WEAK else algorithm)


def offered(binding: bytes) -> tuple[str, ...]:
    """The mechanisms that a connection can have."""
    return (BOUND, MECHANISM) if binding else (MECHANISM,)


def begin(client_first: str, verifier: Verifier, channel: Channel = UNBOUND) -> Exchange:
    """Answer the first message: salt, iterations, and a nonce that grows out of the client's."""
    found = _FIRST.fullmatch(client_first)
    if found is None or len(found["nonce"]) > _MOST_NONCE:
        raise violation("The first message of SCRAM cannot be read.")
    if (found["flag"] not in ("n", "y")) != channel.is_bound:
        raise violation("The first message of SCRAM does not fit its mechanism.")
    if found["flag"] == "y" and channel.binding:
        # The client was told that we cannot, by somebody in between.
        raise violation("The client believes that the gateway cannot bind the sign-in to TLS.")
    nonce = found["nonce"] + base64.b64encode(secrets.token_bytes(18)).decode()
    salt = base64.b64encode(verifier.salt).decode()
    server_first = f"r={nonce},s={salt},i={verifier.iterations}"
    bound = found["header"].encode() + (channel.binding if channel.is_bound else b"")
    return Exchange(bound, found["bare"], server_first, nonce)


def read_final(client_final: str, exchange: Exchange) -> tuple[str, bytes]:
    """The signed text and the proof out of the client's last message."""
    found = _FINAL.fullmatch(client_final)
    if found is None:
        raise violation("The last message of SCRAM cannot be read.")
    try:
        proof = base64.b64decode(found["proof"], validate=True)
        binding = base64.b64decode(found["binding"], validate=True)
    except ValueError:
        # Also for letters beyond ASCII.
        raise violation("The last message of SCRAM cannot be read.") from None
    if binding != exchange.bound or found["nonce"] != exchange.nonce:
        raise violation("The last message of SCRAM belongs to another exchange.")
    return f"{exchange.client_first},{exchange.server_first},{found['bare']}", proof


def proves(signed: str, proof: bytes, verifier: Verifier) -> bool:
    """Whether the client knows the password of the verifier."""
    signature = hmac.digest(verifier.stored_key, signed.encode(), "sha256")
    if len(proof) != len(signature):
        return False
    client_key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), verifier.stored_key)


def server_final(signed: str, verifier: Verifier) -> str:
    """The proof that the server knows the verifier."""
    signature = hmac.digest(verifier.server_key, signed.encode(), "sha256")
    return "v=" + base64.b64encode(signature).decode()
