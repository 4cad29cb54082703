"""`[sign_in.openid]` of gateway.toml: which provider's tokens sign in, and as whom.

Takes: values of the right type. Gives: frozen settings, and a line for each that would not do.
Never connects: whether the provider answers is found when the first token comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Signatures with a key pair. A shared secret would let whoever may verify also sign.
ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class OpenIdSettings:
    """No `issuer`: no such sign-in. Claims are named as they are, or by a path with dots.

    `keys_url` is where the keys are; empty: the issuer's own description says it. `attributes`
    name an attribute and the claim that fills it. `refetch_seconds`: how soon keys may be asked
    for again for a key id that is not known. `keys_seconds`: how long keys hold while the provider
    answers.
    """

    issuer: str = ""
    audience: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    keys_url: str = ""
    user_claim: str = "sub"
    user_prefix: str = ""
    groups_claim: str = ""
    group_prefix: str = ""
    attributes: Mapping[str, str] = field(default_factory=lambda: _NOTHING, hash=False)
    unknown_users: bool = False
    clock_skew_seconds: float = 30.0
    refetch_seconds: float = 30.0
    keys_seconds: float = 3600.0
    timeout_seconds: float = 5.0
    authorities: str = ""
    plaintext: bool = False


def problems_of(settings: OpenIdSettings) -> Iterator[tuple[str, str]]:
    """Each key that will not do, and why."""
    for key in ("issuer", "audience", "user_claim"):
        if not getattr(settings, key):
            yield key, "is missing"
    for key in ("issuer", "keys_url"):
        url = getattr(settings, key)
        if url and (wrong := unsafe_url(url, settings.plaintext)):
            yield key, wrong
    wrong_ones = [one for one in settings.algorithms if one not in ALGORITHMS]
    if wrong_ones or not settings.algorithms:
        yield "algorithms", f"must be some of {', '.join(ALGORITHMS)}"
    if settings.timeout_seconds <= 0:
        yield "timeout_seconds", "must be more than 0"


def unsafe_url(url: str, plaintext: bool) -> str | None:
    """Why nobody should be asked at an address; None where it will do."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL"
    if parts.scheme not in ("http", "https") or not host or parts.fragment:
        return "must be an https URL"
    if parts.username is not None or parts.password is not None:
        return "must hold no user and no password; name a secret in token"
    if parts.scheme == "http" and host not in LOOPBACK and not plaintext:
        return "must be an https URL: in clear to this machine only, unless plaintext is true"
    return None
