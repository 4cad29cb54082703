"""The public keys of an OpenID provider, fetched when they are needed and kept.

Takes: the provider's address. Gives: the key that a token's header names. Never asks more often
than the settings say, never waits longer, never reads more than a bound, never follows a redirect;
where the provider does not answer, the keys that it gave last stay.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import URLError

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from gateway.errors import SourceUnavailable
from gateway.openid_settings import OpenIdSettings, unsafe_url

log = logging.getLogger("gateway.openid")

Key = RSAKey | ECKey | OKPKey
_KINDS: Mapping[str, str] = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_MOST_BYTES = 1_000_000
_MOST_KEYS = 100
_LEAST_BITS = 2048
_PIECE = 65_536
_DISCOVERY = "/.well-known/openid-configuration"


class Unusable(Exception):
    """What the provider said is of no use; the text says why, without a host."""


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A key with what the provider says of it."""

    kid: str
    algorithm: str
    kind: str
    key: Key

    def fits(self, kid: str | None, algorithm: str) -> bool:
        """Whether a token that names this key id and algorithm may be signed with it."""
        return (
            (kid is None or kid == self.kid)
            and self.kind == _KINDS[algorithm[:2]]
            and self.algorithm in ("", algorithm)
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Keys come from the address that was configured, and from no other."""

    def redirect_request(self, *_: object) -> None:
        """Refuse."""


class ProviderKeys:
    """The keys that hold. Every method may be called from any thread."""

    def __init__(
        self,
        settings: OpenIdSettings,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked for before the first token comes."""
        self._settings = settings
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if tls is not None:
            handlers.append(urllib.request.HTTPSHandler(context=tls))
        self._opener = urllib.request.build_opener(*handlers)
        self._clock = clock
        self._lock = threading.Lock()
        self._held: tuple[ProviderKey, ...] = ()
        self._fetched_at: float | None = None
        self._asked_at: float | None = None
        self._running: threading.Event | None = None
        self.fetches = 0

    def find(self, kid: str | None, algorithm: str, doubted: Key | None = None) -> Key | None:
        """The key for a token; None where there is none. SourceUnavailable before any is known.

        `doubted` is a key that was given for it and did not fit: there may be a newer one under
        the same id, or under none.
        """
        found = self._pick(kid, algorithm)
        if found is not None and found is not doubted and not self._is_stale():
            return found
        running = self._begin()
        if running is not None:
            running.wait(self._settings.timeout_seconds)
        if self._fetched_at is None:
            raise SourceUnavailable(
                "The provider of your token does not answer, so it cannot be checked.",
                hint="Try again; if it stays, sign in another way and tell an operator.",
            )
        return self._pick(kid, algorithm)

    def _pick(self, kid: str | None, algorithm: str) -> Key | None:
        """By its id; without one only where there is no choice."""
        fitting = [one for one in self._held if one.fits(kid, algorithm)]
        return fitting[0].key if len(fitting) == 1 else None

    def _is_stale(self) -> bool:
        fetched_at = self._fetched_at
        return fetched_at is None or self._clock() - fetched_at >= self._settings.keys_seconds

    def _begin(self) -> threading.Event | None:
        """Ask for the keys beside us, unless that was done lately; gives what tells the end."""
        with self._lock:
            if self._running is not None:
                return self._running
            now, asked_at = self._clock(), self._asked_at
            if asked_at is not None and now - asked_at < self._settings.refetch_seconds:
                return None
            self._asked_at, self._running = now, threading.Event()
            running = self._running
            self.fetches += 1
        threading.Thread(target=self._run, args=(running,), name="openid", daemon=True).start()
        return running

    def _run(self, running: threading.Event) -> None:
        try:
            keys = self._fetched()
        except (Unusable, URLError, HTTPException, OSError, ValueError, RecursionError) as error:
            # The text of an error of the network may hold addresses: its kind is enough.
            why = str(error) if isinstance(error, Unusable) else type(error).__name__
            log.warning("the keys of the OpenID provider could not be fetched: %s", why)
        else:
            self._held, self._fetched_at = keys, self._clock()
        finally:
            with self._lock:
                self._running = None
            running.set()

    def _fetched(self) -> tuple[ProviderKey, ...]:
        settings = self._settings
        deadline = self._clock() + settings.timeout_seconds
        url = settings.keys_url
        if not url:
            told = self._document(settings.issuer.rstrip("/") + _DISCOVERY, deadline)
            if told.get("issuer") != settings.issuer:
                raise Unusable("the provider calls itself by another name than [sign_in.openid]")
            url = str(told.get("jwks_uri") or "")
            if unsafe_url(url, settings.plaintext):
                raise Unusable("the provider names an address for its keys that is not safe")
        keys = self._document(url, deadline).get("keys")
        if not isinstance(keys, list):
            raise Unusable("the provider's answer holds no list of keys")
        made = tuple(
            key for one in keys[:_MOST_KEYS] if isinstance(one, dict)
            and (key := _key(one)) is not None
        )  # fmt: skip
        if not made:
            raise Unusable("the provider has no key that is of use here")
        return made

    def _document(self, url: str, deadline: float) -> Mapping[str, object]:
        """A JSON object at an address."""
        left = deadline - self._clock()
        if left <= 0:
            raise Unusable("no answer in time")
        request = urllib.request.Request(url, headers={"Accept": "application/json"})
        pieces, size = [], 0
        with self._opener.open(request, timeout=left) as answer:
            while piece := answer.read1(_PIECE):
                size += len(piece)
                if size > _MOST_BYTES or self._clock() > deadline:
                    raise Unusable("the answer is longer than any should be, or too slow")
                pieces.append(piece)
        found = json.loads(b"".join(pieces))
        if not isinstance(found, dict):
            raise Unusable("the answer is no JSON object")
        return found


def _key(told: Mapping[str, object]) -> ProviderKey | None:
    """A key that verifies signatures; None for one that does not, or is too short."""
    kind = told.get("kty")
    operations = told.get("key_ops")
    if (
        kind not in _KINDS.values()
        or told.get("use", "sig") != "sig"
        or (isinstance(operations, list) and "verify" not in operations)
        or (kind == "RSA" and len(str(told.get("n"))) < _LEAST_BITS / 6)
    ):
        return None
    public: dict[str, str | list[str]] = {name: str(told.get(name)) for name in _PUBLIC[str(kind)]}
    try:
        key = import_key(public)
        native = key.get_op_key("verify")
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if isinstance(native, RSAPublicKey) and native.key_size < _LEAST_BITS:
        return None
    assert isinstance(key, Key)
    return ProviderKey(str(told.get("kid", "")), str(told.get("alg", "")), str(kind), key)


_PUBLIC: Mapping[str, tuple[str, ...]] = {
    "RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x"),
}  # fmt: skip
