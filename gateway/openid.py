"""Tokens of an OpenID provider: who the bearer is, by its signature and its claims.

Takes: a JSON Web Token. Gives: the user, groups and attributes that its claims say, as far as
`[sign_in.openid]` maps them. Never takes an algorithm that is not listed, a key that the token
brings along or points to (`jwk`, `jku`, `x5c`, `x5u`), or a role.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jws import JWSRegistry

from gateway.errors import Unauthenticated
from gateway.openid_settings import OpenIdSettings
from gateway.provider_keys import Key, ProviderKeys

_LONGEST = 16_384
_LONGEST_NAME = 128
_MOST_VALUES = 1_000
# Seconds, some thirty million years from now: whole numbers have no end, and `inf` is one.
_LATEST = 1e15
_TYPES = ("jwt", "at+jwt", "application/at+jwt")
_NOT_VALID = "The token is not valid here."
_AGAIN = "Get a new token from your provider, for this gateway."


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says of its bearer, in the words of the mesh."""

    user: str
    groups: frozenset[str]
    attributes: Mapping[str, tuple[str, ...]]


def looks_like_jwt(text: str) -> bool:
    """Whether a text has the form of a signed token: `eyJ` begins every JSON object in base64."""
    return text.startswith("eyJ") and text.count(".") == 2


class OpenId:
    """Checks tokens of one provider. Every method may be called from any thread."""

    def __init__(
        self,
        settings: OpenIdSettings,
        keys: ProviderKeys,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Check by the provider's keys."""
        self._settings = settings
        self._keys = keys
        self._registry = JWSRegistry(algorithms=settings.algorithms)
        # The whole token is bounded already.
        self._registry.max_header_length = self._registry.max_payload_length = _LONGEST
        self._clock = clock

    @property
    def takes_unknown_users(self) -> bool:
        """Whether somebody may sign in whom identities.yaml does not name."""
        return self._settings.unknown_users

    def claims_of(self, token: str) -> Claims:
        """What a valid token says; raises Unauthenticated, or SourceUnavailable without keys."""
        header = _header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if (
            algorithm not in self._settings.algorithms
            or not (kid is None or isinstance(kid, str))
            or "crit" in header
            or str(header.get("typ", "jwt")).casefold() not in _TYPES
        ):
            raise Unauthenticated(_NOT_VALID, hint=_AGAIN)
        claims = self._signed(token, kid, str(algorithm))
        if claims is None:
            raise Unauthenticated(_NOT_VALID, hint=_AGAIN)
        self._check(claims)
        return self._mapped(claims)

    def _signed(self, token: str, kid: str | None, algorithm: str) -> Mapping[str, object] | None:
        """The claims, where the signature is the provider's."""
        doubted: Key | None = None
        for _ in range(2):
            key = self._keys.find(kid, algorithm, doubted)
            if key is None or key is doubted:
                return None
            try:
                return jwt.decode(token, key, [algorithm], self._registry).claims
            except BadSignatureError:
                doubted = key
            except (JoseError, ValueError, TypeError, RecursionError):
                return None
        return None

    def _check(self, claims: Mapping[str, object]) -> None:
        """Who issued it, for whom, for when: told apart, since the signature is right."""
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != self._settings.issuer or self._settings.audience not in audiences:
            raise Unauthenticated("The token is not for this gateway.", hint=_AGAIN)
        now, skew = self._clock(), self._settings.clock_skew_seconds
        until = _moment(claims, "exp")
        if until is None or now >= until + skew:
            raise Unauthenticated("The token has expired.", hint=_AGAIN)
        for name in ("nbf", "iat"):
            start = _moment(claims, name)
            if start is not None and now < start - skew:
                raise Unauthenticated(
                    "The token is not valid yet.", hint="See that the clocks agree, and try again."
                )

    def _mapped(self, claims: Mapping[str, object]) -> Claims:
        settings = self._settings
        name = _claim(claims, settings.user_claim)
        user = f"{settings.user_prefix}{name}"
        if not isinstance(name, str) or not name or not _is_name(user):
            raise Unauthenticated(
                f"The token names nobody: its claim {settings.user_claim} is no name.", hint=_AGAIN
            )
        groups = _words(_claim(claims, settings.groups_claim)) if settings.groups_claim else ()
        named = (f"{settings.group_prefix}{one}" for one in groups)
        return Claims(
            user,
            frozenset(one for one in named if _is_name(one)),
            {
                attribute: values
                for attribute, claim in settings.attributes.items()
                if (values := tuple(_words(_claim(claims, claim))))
            },
        )


def _header(token: str) -> Mapping[str, object]:
    """The header, which nobody has signed yet: it only chooses among our own keys."""
    if len(token) > _LONGEST or not token.isascii() or token.count(".") != 2:
        raise Unauthenticated(_NOT_VALID, hint=_AGAIN)
    first = token.split(".", 1)[0]
    try:
        text = base64.b64decode(first + "=" * (-len(first) % 4), altchars=b"-_", validate=True)
        found = json.loads(text)
    except (binascii.Error, ValueError, RecursionError):
        raise Unauthenticated(_NOT_VALID, hint=_AGAIN) from None
    if not isinstance(found, dict):
        raise Unauthenticated(_NOT_VALID, hint=_AGAIN)
    return found


def _moment(claims: Mapping[str, object], name: str) -> float | None:
    """A time in seconds; a claim that is none is as bad as a wrong one."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LATEST:
        raise Unauthenticated(_NOT_VALID, hint=_AGAIN)
    return value


def _claim(claims: Mapping[str, object], name: str) -> object:
    """A claim of that name, else by a path: `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: object = claims
    for step in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def _words(value: object) -> Iterator[str]:
    """The texts of a claim that is one value or a list of them; what is nested is none."""
    values: Sequence[object] = value if isinstance(value, list) else [value]
    for one in values[:_MOST_VALUES]:
        if isinstance(one, bool):
            yield str(one).lower()
        elif isinstance(one, str | int | float):
            yield str(one)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_NAME and text.isprintable()
