"""Who calls: Basic at the handshake, a bearer token ever after.

Takes: the headers of each call, and its client's address, which pyarrow tells once the call itself
runs. Gives: the session of the caller. Never takes a password over plaintext from another machine.
"""

from __future__ import annotations

import base64
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from pyarrow import flight

from gateway.errors import RateLimited, Unauthenticated, UnsupportedSql
from gateway.identity import Identity
from gateway.request import Limits, Principal
from gateway.serve.acting import HEADERS, acting_as
from gateway.serve.flight.faults import clean_errors
from gateway.sessions import SETTINGS, Session

# Begins no token: those that sign in have been checked before a session is looked up.
_CERTIFICATE = "certificate "
# So long, and so many, handshakes wait for the first call that tells where they came from.
_PENDING_SECONDS = 60.0
_MOST_PENDING = 10_000
_IDLE_SECONDS = 8 * 3600.0


@dataclass(slots=True)
class FlightSession:
    """One client's session with its prepared statements, by handle.

    `address` is where this call comes from, `agent` what its client calls itself, `trace` its
    caller's own span.
    """

    session: Session
    token: str
    began_here: bool = False
    prepared: dict[bytes, object] = field(default_factory=dict)
    used: float = field(default_factory=time.monotonic)
    headers: dict[str, str] = field(default_factory=dict)
    address: str = ""
    agent: str = ""
    trace: str = ""

    @property
    def asker(self) -> Principal:
        """The principal with what this call tells of him."""
        return replace(self.session.asker, address=self.address)


@dataclass(slots=True)
class _Pending:
    """A handshake whose client has to tell first where he is; `prove` then signs him in."""

    prove: Callable[[str], Principal]
    until: float = field(default_factory=lambda: time.monotonic() + _PENDING_SECONDS)
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_over: bool = False


class Sessions:
    """Sessions by token; each handshake begins one."""

    def __init__(self, identity: Identity, limits: Limits) -> None:
        self._identity = identity
        self._limits = limits
        self._lock = threading.Lock()
        self._sessions: dict[tuple[str, str], FlightSession] = {}
        self._pending: OrderedDict[str, _Pending] = OrderedDict()

    def begin(self, user: str, password: str) -> str:
        """Sign in; gives the bearer token, which is a token's own where one came as password.

        A handshake does not tell where it comes from. While somebody guesses at a user's password,
        the token that it gives is good for nothing until the first call with it has told.
        """
        prove = self._identity.proven_later(user, password, "flight")
        if prove is not None:
            return self._later(prove)
        principal = self._identity.sign_in(user, password, "flight").principal
        if principal.credential != "password":
            return password
        token = self._identity.issue(principal).value
        self._keep(token, principal, "").began_here = True
        return token

    def _later(self, prove: Callable[[str], Principal]) -> str:
        token = self._identity.new_session()
        with self._lock:
            self._pending[token] = _Pending(prove)
            if len(self._pending) > _MOST_PENDING:
                self._pending.popitem(last=False)
        return token

    def is_pending(self, token: str) -> bool:
        """Whether a handshake gave a token that signs nobody in yet."""
        return token in self._pending

    def of(self, token: str, name: str = "", address: str = "") -> FlightSession:
        """The session of a token that is still valid, acting as `name` where that is given.

        Whoever acts as another has a session for each: nothing of one is ever in another's.
        """
        self._settle(token, address)
        principal = self._identity.authenticate_bearer(token, "flight", address)
        return self._known(token, principal, name, address)

    def _settle(self, token: str, address: str) -> None:
        """End a handshake that waited for its address. Raises Unauthenticated or RateLimited."""
        with self._lock:
            pending = self._pending.get(token)
        if pending is None:
            return
        with pending.lock:
            if not pending.is_over and time.monotonic() <= pending.until:
                try:
                    principal = pending.prove(address)
                    self._identity.issue(principal, token)
                    self._keep(token, principal, "").began_here = True
                except RateLimited:
                    # Nothing was looked at: he may come again.
                    raise
                except BaseException:
                    self._drop(token, pending)
                    raise
            self._drop(token, pending)

    def _drop(self, token: str, pending: _Pending) -> None:
        pending.is_over = True
        with self._lock:
            self._pending.pop(token, None)

    def _known(self, token: str, principal: Principal, name: str, address: str) -> FlightSession:
        if name:
            # At each call: the right may be gone since the last one.
            principal = self._identity.act_as(principal, name, "flight", address)
        with self._lock:
            found = self._sessions.get((token, name))
        if found is None:
            return self._keep(token, principal, name)
        found.used = time.monotonic()
        found.session.principal = principal
        return found

    def of_certificate(self, identity: str, name: str = "", address: str = "") -> FlightSession:
        """The session of whom a certificate names, acting as `name` where that is given."""
        principal = self._identity.authenticate_certificate(identity, "flight", address)
        return self._known(f"{_CERTIFICATE}{identity}", principal, name, address)

    def end(self, token: str) -> None:
        """Forget a session; revoke its token, unless it came from elsewhere and may be shared."""
        with self._lock:
            ended = [key for key in self._sessions if key[0] == token]
            began_here = [self._sessions.pop(key).began_here for key in ended]
        if any(began_here):
            self._identity.revoke(token)

    def _keep(self, token: str, principal: Principal, name: str) -> FlightSession:
        session = Session(principal, endpoint="flight", limits=self._limits)
        made = FlightSession(session, token)
        now = time.monotonic()
        with self._lock:
            made.began_here = any(
                one.began_here for key, one in self._sessions.items() if key[0] == token
            )
            for key in [k for k, v in self._sessions.items() if now - v.used > _IDLE_SECONDS]:
                del self._sessions[key]
            self._sessions[token, name] = made
        return made


# Address and certificate of a call's client, as the call itself tells them; who that is.
Enter = Callable[[str, str], FlightSession]
Headers = Mapping[str, list[str | bytes]]


class CallMiddleware(flight.ServerMiddleware):  # type: ignore[misc]  # pyarrow has no types
    """What one call carries: who sends it, and the token for the answer to a handshake.

    `query_key` is what the client calls the query that the call starts, `agent` what it calls
    itself; '' where it says nothing.
    """

    def __init__(
        self,
        enter: Enter,
        token: str | None = None,
    ) -> None:
        self.enter = enter
        self.query_key = ""
        self.agent = ""
        self._token = token
        self.trace = ""

    def sending_headers(self) -> Mapping[str, str]:
        """The token, after a handshake."""
        return {"authorization": f"Bearer {self._token}"} if self._token else {}


class CallMiddlewareFactory(flight.ServerMiddlewareFactory):  # type: ignore[misc]  # no types
    """Signs each call in."""

    def __init__(self, sessions: Sessions, by_certificate: bool = False) -> None:
        self._sessions = sessions
        self._by_certificate = by_certificate

    def start_call(
        self, info: flight.CallInfo, headers: Headers
    ) -> CallMiddleware:
        """Raises a Flight error where nobody is signed in, and for a call that is not served."""
        with clean_errors():
            if info.method == flight.FlightMethod.GET_SCHEMA:
                # pyarrow sends a traceback with every error of this one method.
                raise UnsupportedSql(
                    "GetSchema is not served.",
                    hint="Prepare the statement: the answer to that holds its schema.",
                )
            made = self._start(headers)
            made.query_key = _header(headers, "x-sqluice-query-key")
            made.agent = _header(headers, "user-agent")
            made.trace = _header(headers, "traceparent")
            return made

    def _start(self, headers: Headers) -> CallMiddleware:
        scheme, _, value = _header(headers, "authorization").partition(" ")
        # Percent-encoded: a header has no other letters than ASCII's.
        name = acting_as(unquote(_header(headers, one.casefold())) for one in HEADERS)
        if scheme.casefold() == "basic":
            user, password = _basic(value)
            token = self._sessions.begin(user, password)
            if self._sessions.is_pending(token):
                return CallMiddleware(self._by_token(token, name, headers), token)
            session = self._sessions.of(token, name)
            _apply(session, headers)
            return CallMiddleware(lambda _address, _identity: session, token)
        if scheme.casefold() == "bearer":
            return CallMiddleware(self._by_token(value.strip(), name, headers))
        if self._by_certificate and not scheme:

            def by_certificate(address: str, identity: str) -> FlightSession:
                session = self._sessions.of_certificate(identity, name, address)
                _apply(session, headers)
                return session

            return CallMiddleware(by_certificate)
        raise Unauthenticated("Nobody is signed in.", hint="Connect with a user and a password.")


    def _by_token(self, token: str, name: str, headers: Headers) -> Enter:
        def enter(address: str, _identity: str) -> FlightSession:
            session = self._sessions.of(token, name, address)
            _apply(session, headers)
            return session

        return enter


def _header(headers: Headers, name: str) -> str:
    values = next((value for key, value in headers.items() if key.casefold() == name), [])
    first = values[0] if values else ""
    return first.decode("latin-1") if isinstance(first, bytes) else first


def _basic(value: str) -> tuple[str, str]:
    """User and password; Go clients leave the padding of base64 out."""
    try:
        text = base64.b64decode(value + "=" * (-len(value) % 4)).decode("utf-8")
    except ValueError:
        raise Unauthenticated("The authorization header cannot be read.") from None
    user, _, password = text.partition(":")
    return user, password


def peer_address(peer: str) -> str:
    """The address in a peer's name such as `ipv4:127.0.0.1:5000`; '' where there is none."""
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    return rest.rpartition(":")[0].strip("[]")


def _apply(session: FlightSession, headers: Headers) -> None:
    """Settings that travel as headers hold for the session from the first call that says so.

    Clients send them with every call: only a changed one overrules a `SET` in between.
    """
    for name in SETTINGS:
        value = _header(headers, f"x-sqluice-{name.replace('_', '-')}")
        if value and session.headers.get(name) != value:
            session.session.set(name, value)
            session.headers[name] = value
    agent = _header(headers, "user-agent")
    session.session.client = session.session.client or agent[:200]


class NoHandshake(flight.ServerAuthHandler):  # type: ignore[misc]  # pyarrow has no types
    """Lets the handshake through to the middleware, which does the work."""

    def authenticate(self, outgoing: object, incoming: object) -> None:
        """Nothing: the headers were read already."""

    def is_valid(self, token: bytes) -> str:
        """Nobody is known by this way."""
        return ""
