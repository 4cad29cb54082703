"""The server's side of SCRAM-SHA-256 (RFC 5802).

Takes: a verifier, the messages of a client. Gives: the messages of the server, and whether the
proof fits. Never learns the password.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from gateway.scram import Verifier
from gateway.serve.pgwire.faults import violation

MECHANISM = "SCRAM-SHA-256"
# Without channel binding; the name and an identity to act as may stand there and are not used.
_FIRST = re.compile(r"(?P<header>[ny],(?:a=[^,]*)?,)(?P<bare>n=[^,]*,r=(?P<nonce>[!-+\--~]+))")
_FINAL = re.compile(r"(?P<bare>c=(?P<binding>[^,]+),r=(?P<nonce>[^,]+)),p=(?P<proof>[^,]+)")
_MOST_NONCE = 1_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """What both sides have said before the proof."""

    header: str
    client_first: str
    server_first: str
    nonce: str


def begin(client_first: str, verifier: Verifier) -> Exchange:
    """Answer the first message: salt, iterations, and a nonce that grows out of the client's."""
    found = _FIRST.fullmatch(client_first)
    if found is None or len(found["nonce"]) > _MOST_NONCE:
        raise violation("The first message of SCRAM cannot be read.")
    nonce = found["nonce"] + base64.b64encode(secrets.token_bytes(18)).decode()
    salt = base64.b64encode(verifier.salt).decode()
    server_first = f"r={nonce},s={salt},i={verifier.iterations}"
    return Exchange(found["header"], found["bare"], server_first, nonce)


def read_final(client_final: str, exchange: Exchange) -> tuple[str, bytes]:
    """The signed text and the proof out of the client's last message."""
    found = _FINAL.fullmatch(client_final)
    if found is None:
        raise violation("The last message of SCRAM cannot be read.")
    try:
        proof = base64.b64decode(found["proof"], validate=True)
        binding = base64.b64decode(found["binding"], validate=True)
    except binascii.Error:
        raise violation("The last message of SCRAM cannot be read.") from None
    if binding != exchange.header.encode() or found["nonce"] != exchange.nonce:
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
