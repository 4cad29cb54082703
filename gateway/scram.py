"""SCRAM-SHA-256 verifiers in PostgreSQL's form (RFC 5803 as PostgreSQL writes it).

Takes: passwords and verifiers. Gives: verifiers and a yes or no in constant time. Never keeps a
password.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata
from dataclasses import dataclass

DEFAULT_ITERATIONS = 65_536
# Each character costs: what anybody may send before he has signed in has a bound.
LONGEST_PASSWORD = 1_024
_MOST_ITERATIONS = 10_000_000
_FORM = re.compile(
    r"SCRAM-SHA-256\$(\d{1,8}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})"
)
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


@dataclass(frozen=True, slots=True)
class Verifier:
    """What is kept of a password."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    def __str__(self) -> str:
        """PostgreSQL's spelling."""
        salt, stored, server = (
            base64.b64encode(one).decode() for one in (self.salt, self.stored_key, self.server_key)
        )
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored}:{server}"


def make_verifier(
    password: str, iterations: int = DEFAULT_ITERATIONS, salt: bytes | None = None
) -> Verifier:
    """The verifier of a password, with a fresh salt unless one is given."""
    salt = salt or secrets.token_bytes(16)
    text = prepare(password).encode("utf-8", "surrogatepass")
    salted = hashlib.pbkdf2_hmac("sha256", text, salt, iterations)
    client_key = _hmac(salted, b"Client Key")
    stored = hashlib.sha256(client_key).digest()
    return Verifier(iterations, salt, stored, _hmac(salted, b"Server Key"))


def parse_verifier(text: str) -> Verifier | None:
    """A verifier from its text; None for what is none."""
    match = _FORM.fullmatch(text)
    if match is None or not 1 <= int(match.group(1)) <= _MOST_ITERATIONS:
        return None
    try:
        salt, stored, server = (
            base64.b64decode(match.group(part), validate=True) for part in (2, 3, 4)
        )
    except binascii.Error:
        return None
    return Verifier(int(match.group(1)), salt, stored, server)


def fits(password: str, verifier: Verifier) -> bool:
    """Whether the password is the verifier's; takes the same time for yes and no."""
    is_short = len(password) <= LONGEST_PASSWORD
    given = password if is_short else ""
    made = make_verifier(given, verifier.iterations, verifier.salt)
    # HMAC fills short keys up with zero bytes, so that `x` and `x\0` would be one password.
    return hmac.compare_digest(made.stored_key, verifier.stored_key) and (
        "\0" not in given and is_short
    )


def prepare(password: str) -> str:
    """The password as SASLprep (RFC 4013) writes it, or as it is where SASLprep refuses it.

    PostgreSQL does the same, so that a verifier made by either fits the other.
    """
    mapped = "".join(
        " " if stringprep.in_table_c12(one) else one
        for one in password
        if not stringprep.in_table_b1(one)
    )
    normal = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not normal or any(check(one) for one in normal for check in _PROHIBITED):
        return password
    if any(stringprep.in_table_a1(one) for one in normal):
        return password
    return normal if _reads_one_way(normal) else password


def _reads_one_way(text: str) -> bool:
    """RFC 3454, section 6: right-to-left text stands alone and from end to end."""
    rightward = [stringprep.in_table_d1(one) for one in text]
    if not any(rightward):
        return True
    mixed = any(stringprep.in_table_d2(one) for one in text)
    return not mixed and rightward[0] and rightward[-1]


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
