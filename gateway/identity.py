"""Who asks: local users by SCRAM verifiers, session tokens.

Takes: a user and a password, or a token. Gives: a `Principal`. Never keeps a password or a token
(only the hash of a token), never says whether a user exists: unknown users, users without a
password and wrong passwords cost the same and read the same.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from catalog.model import Mesh, User
from gateway.config import SignIn
from gateway.errors import AccessDenied, InternalError, Unauthenticated
from gateway.request import Principal
from gateway.scram import DEFAULT_ITERATIONS, Verifier, fits, parse_verifier
from gateway.sign_in import Slowing
from gateway.state.engine import moment_text, reading, writing
from gateway.state.tokens import TokenRow, drop_token, find_token, insert_token

_PREFIX = "sqs_"
_RECHECK_SECONDS = 1.0
_KEPT_TOKENS = 10_000
_KEPT_SUCCESSES = 1_000
_WRONG = "The user or the password is wrong."
# The name that was given (empty for a token), the code, the endpoint, whether a user has the name.
Failed = Callable[[str, str, str, bool], None]


def _unrecorded(_user: str, _code: str, _endpoint: str, _is_known: bool) -> None:
    """For those who sign nobody in over a wire."""


@dataclass(frozen=True, slots=True)
class Token:
    """A session token as its owner gets it, once."""

    value: str
    expires_at: datetime


def principal_of(user: User) -> Principal:
    """The principal that a local user is."""
    return Principal(
        user=user.name,
        groups=user.groups,
        roles=user.roles,
        attributes=user.attributes,
        may_impersonate=user.may_impersonate,
    )


class Identity:
    """Signs principals in. Every method may be called from any thread.

    `failed` is told every failed sign-in. `mesh` gives the present revision: a user who left it,
    or whose verifier changed, is out at once, his tokens too.
    """

    token_prefix = _PREFIX

    def __init__(
        self,
        mesh: Callable[[], Mesh],
        engine: Engine,
        settings: SignIn,
        clock: Callable[[], float] = time.time,
        slowing: Slowing | None = None,
    ) -> None:
        """Sign in against the mesh that is in force at that moment."""
        self._mesh = mesh
        self._engine = engine
        self._settings = settings
        self.failed: Failed = _unrecorded
        self._clock = clock
        self._slowing = slowing or Slowing(settings.free_failures, settings.longest_delay)
        self._directory = _Directory(mesh())
        self._key = secrets.token_bytes(32)
        self._lock = Lock()
        self._successes: OrderedDict[bytes, None] = OrderedDict()
        self._tokens: OrderedDict[str, tuple[TokenRow, float]] = OrderedDict()

    def authenticate_basic(self, user: str, password: str, endpoint: str = "") -> Principal:
        """The principal of a user and his password; raises Unauthenticated or RateLimited."""
        with self._slowing.attempt(user) as attempt:
            directory = self._present()
            found = directory.users.get(user)
            verifier = directory.verifiers.get(user, directory.nobody)
            is_right = self._is_right(user, password, verifier) and user in directory.verifiers
            attempt.succeeded = is_right
        if found is None or not is_right:
            self.sign_in_failed(user, endpoint)
            raise Unauthenticated(_WRONG)
        return principal_of(found)

    def authenticate_proof(
        self, user: str, proves: Callable[[Verifier], bool], endpoint: str = ""
    ) -> Principal:
        """The principal of a user who proved to know his password; an endpoint that speaks SCRAM
        itself says whether the proof fits a verifier. Slowed and recorded like a password.
        """
        with self._slowing.attempt(user) as attempt:
            directory = self._present()
            found = directory.users.get(user)
            is_right = proves(self.verifier(user)) and user in directory.verifiers
            attempt.succeeded = is_right
        if found is None or not is_right:
            self.sign_in_failed(user, endpoint)
            raise Unauthenticated(_WRONG)
        return principal_of(found)

    def sign_in_failed(self, user: str, endpoint: str) -> None:
        """Record a failed sign-in, for an endpoint that checks the password itself, too."""
        self.failed(user, Unauthenticated.code, endpoint, user in self._present().users)

    def authenticate_bearer(self, token: str, endpoint: str = "") -> Principal:
        """The principal of a session token; raises Unauthenticated."""
        row = self._token(hashlib.sha256(token.encode()).hexdigest())
        found = None if row is None else self._present().users.get(row.user)
        if row is None or found is None or not self._is_valid(row, found):
            self.failed(row.user if row else "", Unauthenticated.code, endpoint, row is not None)
            raise Unauthenticated("The token is unknown or has expired.", hint="Sign in again.")
        return principal_of(found)

    def issue(self, principal: Principal) -> Token:
        """A new session token for somebody who has just signed in with his password."""
        found = self._user(principal.user)
        value = _PREFIX + secrets.token_urlsafe(32)
        now = datetime.fromtimestamp(self._clock(), UTC)
        expires_at = now + timedelta(hours=self._settings.token_hours)
        row = TokenRow(
            hash=hashlib.sha256(value.encode()).hexdigest(),
            user=principal.user,
            verifier=_fingerprint(found),
            issued_at=moment_text(now),
            expires_at=moment_text(expires_at),
        )
        try:
            with writing(self._engine) as connection:
                insert_token(connection, row)
        except SQLAlchemyError as error:
            raise InternalError("The session could not be kept.", private=str(error)) from error
        return Token(value, expires_at)

    def revoke(self, token: str) -> bool:
        """Sign a session out; False where it is unknown. Other gateways follow in a second."""
        token_hash = hashlib.sha256(token.encode()).hexdigest()
        with self._lock:
            self._tokens.pop(token_hash, None)
        with writing(self._engine) as connection:
            return drop_token(connection, token_hash)

    def act_as(self, principal: Principal, name: str) -> Principal:
        """Somebody else, for one who may impersonate; raises AccessDenied."""
        if name == principal.user:
            return principal
        found = self._present().users.get(name)
        if not principal.may_impersonate or found is None:
            raise AccessDenied(
                f"You may not act as {name!r}.", hint="Sign in as that user, or ask an operator."
            )
        acting = principal_of(found)
        return Principal(acting.user, acting.groups, acting.roles, acting.attributes, False)

    def still(self, name: str, verifier: Verifier) -> Principal:
        """A user as he is now, whose connection was signed in by that verifier.

        Raises Unauthenticated where he has left or has another password.
        """
        directory = self._present()
        if name not in directory.users or directory.verifiers.get(name) != verifier:
            raise Unauthenticated("Your sign-in is no longer valid.", hint="Connect again.")
        return principal_of(directory.users[name])

    def trusted(self, name: str) -> Principal:
        """A user by name alone: for in-process use, where whoever reads the files is trusted."""
        return principal_of(self._user(name))

    def verifier(self, name: str) -> Verifier:
        """The verifier for an endpoint that speaks SCRAM itself; a mock for unknown users.

        The mock is the same at every call in this process; its keys fit no password.
        """
        directory = self._present()
        if name in directory.verifiers:
            return directory.verifiers[name]
        salt = hmac.new(self._key, b"salt " + name.encode(), hashlib.sha256).digest()
        fake = hmac.new(self._key, b"keys " + name.encode(), hashlib.sha256).digest()
        return Verifier(directory.nobody.iterations, salt[:16], fake, fake)

    def _present(self) -> _Directory:
        mesh = self._mesh()
        directory = self._directory
        if directory.mesh is not mesh:
            directory = self._directory = _Directory(mesh)
        return directory

    def _user(self, name: str) -> User:
        found = self._present().users.get(name)
        if found is None:
            raise Unauthenticated(
                f"There is no user {name!r}.", hint="identities.yaml of the mesh lists the users."
            )
        return found

    def _is_right(self, user: str, password: str, verifier: Verifier) -> bool:
        """Whether the password fits. A success is remembered for this verifier, under a key of
        this process, so that a client that sends its password each time does not pay each time.
        """
        text = "\0".join((user, str(verifier), password))
        seen = hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        with self._lock:
            if seen in self._successes:
                self._successes.move_to_end(seen)
                return True
        is_right = fits(password, verifier)
        if is_right:
            with self._lock:
                self._successes[seen] = None
                if len(self._successes) > _KEPT_SUCCESSES:
                    self._successes.popitem(last=False)
        return is_right

    def _token(self, token_hash: str) -> TokenRow | None:
        """The row of a token, at most a second old."""
        now = self._clock()
        with self._lock:
            kept = self._tokens.get(token_hash)
        if kept is not None and 0 <= now - kept[1] < _RECHECK_SECONDS:
            return kept[0]
        try:
            with reading(self._engine) as connection:
                row = find_token(connection, token_hash)
        except SQLAlchemyError as error:
            raise InternalError("The session could not be read.", private=str(error)) from error
        with self._lock:
            self._tokens.pop(token_hash, None)
            if row is not None:
                self._tokens[token_hash] = (row, now)
                if len(self._tokens) > _KEPT_TOKENS:
                    self._tokens.popitem(last=False)
        return row

    def _is_valid(self, row: TokenRow, user: User) -> bool:
        now = moment_text(datetime.fromtimestamp(self._clock(), UTC))
        return row.expires_at > now and hmac.compare_digest(row.verifier, _fingerprint(user))


class _Directory:
    """The users of one revision, and the mock whose cost is that of most of them."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.users: Mapping[str, User] = {one.name: one for one in mesh.users}
        parsed = {one.name: parse_verifier(one.verifier) for one in mesh.users}
        self.verifiers: Mapping[str, Verifier] = {
            name: one for name, one in parsed.items() if one is not None
        }
        counted = Counter(one.iterations for one in self.verifiers.values()).most_common(1)
        iterations = counted[0][0] if counted else DEFAULT_ITERATIONS
        self.nobody = Verifier(iterations, secrets.token_bytes(16), bytes(32), bytes(32))


def _fingerprint(user: User) -> str:
    return hashlib.sha256(user.verifier.encode()).hexdigest()
