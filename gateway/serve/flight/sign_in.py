"""Who calls: Basic at the handshake, a bearer token ever after.

Takes: the headers of each call. Gives: the session of the peer. Never takes a password over
plaintext from another machine.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import LimitExceeded, SqluiceError, Unauthenticated
from gateway.identity import Identity
from gateway.request import Limits, Principal
from gateway.serve.acting import HEADERS, acting_as
from gateway.serve.flight.direct import Direct, direct_of
from gateway.sessions import SETTINGS, Session, Settings, read_setting

# Begins no token: those that sign in have been checked before a session is looked up.
_CERTIFICATE = "certificate "
_SETTING_HEADERS = {one: f"x-sqluice-{one.replace('_', '-')}" for one in SETTINGS}
_ACTING_HEADERS = tuple(one.casefold() for one in HEADERS)
_IDLE_SECONDS = 8 * 3600.0
# So often is looked who rests, at most; where they may rest a short time only, four times in it.
_LOOK_SECONDS = 1.0
# Of one user; where that is too many, those that nobody has used so long make room.
_MOST_SESSIONS = 500
_SHORT_IDLE_SECONDS = 3600.0
# Tokens that were given out here; sessions that made room come again by them.
_MOST_BEGAN = 50_000


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

    @property
    def holds_nothing(self) -> bool:
        """Whether a new session for the same token would be no other."""
        return not self.prepared and self.session.settings == Settings()


class Sessions:
    """Sessions by token; each handshake begins one."""

    def __init__(
        self, identity: Identity, limits: Limits, idle_seconds: float = _IDLE_SECONDS
    ) -> None:
        self._identity = identity
        self._limits = limits
        self._idle_seconds = idle_seconds
        self._looked = time.monotonic()
        self._lock = threading.Lock()
        self._sessions: dict[tuple[str, str], FlightSession] = {}
        self._began: dict[str, None] = {}

    def begin(self, user: str, password: str, address: str = "") -> str:
        """Sign in; gives the bearer token, which is a token's own where one came as password."""
        principal = self._identity.sign_in(user, password, "flight", address).principal
        if principal.credential != "password":
            return password
        token = self._identity.issue(principal).value
        with self._lock:
            self._began[token] = None
            while len(self._began) > _MOST_BEGAN:
                del self._began[next(iter(self._began))]
        try:
            self._keep(token, principal, "")
        except LimitExceeded:
            # Nobody will ever come by it.
            self.end(token)
            raise
        return token

    def of(self, token: str, name: str = "", address: str = "") -> FlightSession:
        """The session of a token that is still valid, acting as `name` where that is given.

        Whoever acts as another has a session for each: nothing of one is ever in another's.
        """
        principal = self._identity.authenticate_bearer(token, "flight", address)
        return self._known(token, principal, name, address)

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

    def end(self, token: str) -> bool:
        """Forget a session; revoke its token, unless it came from elsewhere and may be shared.

        Gives whether it was revoked: whatever goes by it is over.
        """
        with self._lock:
            for key in [key for key in self._sessions if key[0] == token]:
                del self._sessions[key]
            began_here = token in self._began
            self._began.pop(token, None)
        if not began_here:
            return False
        self._identity.revoke(token)
        return True

    def close_idle(self, busy: Set[str]) -> tuple[str, ...]:
        """Close what has rested too long; gives the tokens of which nothing is left.

        `busy` are the tokens of calls that are under way: their sessions do not rest.
        """
        now, often = time.monotonic(), min(_LOOK_SECONDS, self._idle_seconds / 4)
        if not self._idle_seconds or now - self._looked < often:
            return ()
        self._looked = now
        with self._lock:
            for (token, _), one in self._sessions.items():
                if token in busy:
                    one.used = now
            idle = [k for k, v in self._sessions.items() if now - v.used > self._idle_seconds]
            for key in idle:
                del self._sessions[key]
            left = {token for token, _ in self._sessions}
        closed = tuple({token for token, _ in idle} - left)
        for token in closed:
            # Without its state it ends with its token's own time; whoever watches goes on.
            with suppress(SqluiceError, SQLAlchemyError):
                self.end(token)
        return closed

    def _keep(self, token: str, principal: Principal, name: str) -> FlightSession:
        session = Session(principal, endpoint="flight", limits=self._limits)
        made = FlightSession(session, token)
        now = time.monotonic()
        with self._lock:
            # Somebody else may have come by the same token at the same moment.
            found = self._sessions.get((token, name))
            if found is not None:
                return found
            made.began_here = token in self._began
            self._make_room(principal, now)
            self._sessions[token, name] = made
        return made

    def _make_room(self, principal: Principal, now: float) -> None:
        """For one more of a user: a client that signs in with each call would have them pile up.

        Nobody who acts as him takes his room. Raises LimitExceeded where all hold something and are
        in use.
        """
        who = (principal.user, principal.actor)
        held = [
            key for key, one in self._sessions.items()
            if (one.session.principal.user, one.session.principal.actor) == who
        ]  # fmt: skip
        if len(held) < _MOST_SESSIONS:
            return
        held.sort(key=lambda key: self._sessions[key].used)
        for key in held:
            one = self._sessions[key]
            if one.holds_nothing or now - one.used > _SHORT_IDLE_SECONDS:
                del self._sessions[key]
                return
        raise LimitExceeded(
            f"You have {len(held)} sessions open over Flight SQL, which is too many.",
            hint="Close those that are of no more use, or keep one for many statements.",
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a client who is signed in.

    `query_key` is what the client calls the query that the call starts; '' where it says nothing.
    `seconds` bounds the statement of this call alone. `token` is the answer to a password.
    `is_active` tells whether the client still waits. `direct` is what he says of the short way.
    `end` drops the call as it is.
    """

    session: FlightSession
    query_key: str = ""
    token: str = ""
    seconds: float | None = None
    is_active: Callable[[], bool] = lambda: True
    direct: Direct = Direct()
    end: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Peer:
    """What a connection tells of who calls: address, name in his certificate, headers."""

    headers: Mapping[str, str]
    address: str = ""
    certificate: str = ""
    is_active: Callable[[], bool] = lambda: True
    end: Callable[[], None] = lambda: None


def signed_in(sessions: Sessions, peer: Peer) -> Call:
    """Sign a call in by password, token or certificate; Unauthenticated where there is none."""
    headers = peer.headers
    scheme, _, value = headers.get("authorization", "").partition(" ")
    # Percent-encoded: a header has no other letters than ASCII's.
    name = acting_as(unquote(headers.get(one, "")) for one in _ACTING_HEADERS)
    token = ""
    if scheme.casefold() == "basic":
        user, password = _basic(value)
        token = sessions.begin(user, password, peer.address)
        session = sessions.of(token, name, peer.address)
    elif scheme.casefold() == "bearer":
        session = sessions.of(value.strip(), name, peer.address)
    elif peer.certificate and not scheme:
        session = sessions.of_certificate(peer.certificate, name, peer.address)
    else:
        raise Unauthenticated("Nobody is signed in.", hint="Connect with a user and a password.")
    _apply(session, headers)
    # One session may be used from several addresses at once.
    called = replace(
        session, address=peer.address, agent=headers.get("user-agent", ""),
        trace=headers.get("traceparent", ""),
    )  # fmt: skip
    key = headers.get("x-sqluice-query-key", "")
    return Call(
        called, key, token, _seconds(headers), peer.is_active, direct_of(headers), peer.end
    )


def _seconds(headers: Mapping[str, str]) -> float | None:
    """How long the statement of a call may run, where the call itself says so."""
    text = headers.get("x-sqluice-statement-timeout", "")
    found = read_setting("query_timeout", text) if text else None
    assert found is None or isinstance(found, float)
    return found


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


def _apply(session: FlightSession, headers: Mapping[str, str]) -> None:
    """Settings that travel as headers hold for the session from the first call that says so.

    Clients send them with every call: only a changed one overrules a `SET` in between.
    """
    for name, header in _SETTING_HEADERS.items():
        value = headers.get(header, "")
        if value and session.headers.get(name) != value:
            session.session.set(name, value)
            session.headers[name] = value
    agent = headers.get("user-agent", "")
    session.session.client = session.session.client or agent[:200]
