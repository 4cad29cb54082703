"""Who asks: local users by SCRAM verifiers, session and API tokens, tokens of an OpenID provider.

Takes: a user and a password, or a token. Gives: a `Principal`. Never keeps a password or a token
(only the hash of a token), never says whether a user exists: unknown users, users without a
password and wrong passwords cost the same and read the same.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from types import MappingProxyType

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from catalog.model import Mesh, User
from gateway.api_tokens import OF_TOKEN, PREFIX, ApiTokens, is_api_token, is_whole, scope_of
from gateway.config import SignIn
from gateway.errors import AccessDenied, InternalError, SqluiceError, Unauthenticated
from gateway.openid import Claims, OpenId, looks_like_jwt
from gateway.request import Principal
from gateway.scram import DEFAULT_ITERATIONS, Verifier, fits, parse_verifier
from gateway.sign_in import Slowing, near
from gateway.state.engine import moment_text, reading, writing
from gateway.state.tokens import TokenRow, drop_token, find_token, insert_token, salts_key

_PREFIX = "sqs_"
_SESSION = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{43}}")
_RECHECK_SECONDS = 1.0
_KEPT_TOKENS = 10_000
_KEPT_OF_A_NAME = 200
_KEPT_SUCCESSES = 1_000
_MAKE = "Make a new one: sqluice token create, or POST /v1/tokens."
_WRONG = "The user or the password is wrong."
# The name that was given (empty for a token), the code, the endpoint, whether a user has the name,
# the address, as far as the wire tells it.
Failed = Callable[[str, str, str, bool, str], None]


def _unrecorded(_user: str, _code: str, _endpoint: str, _is_known: bool, _address: str) -> None:
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
        may_impersonate=user.impersonates is not None,
    )


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody who has signed in, for a connection that lasts.

    `again` gives the principal as he is now; it raises what signing in would raise now, so that
    whatever was revoked meanwhile ends the connection at its next statement.
    """

    principal: Principal
    again: Callable[[], Principal]


class Identity:
    """Signs principals in. Every method may be called from any thread.

    `failed` is told every failed sign-in; `openid` checks the tokens of a provider, where there is
    one. `mesh` gives the present revision: a user who left it,
    or whose verifier changed, is out at once, his tokens too.
    """

    # What a text begins with that is a token of ours, not a password.
    token_prefix = (_PREFIX, PREFIX)

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
        self.openid: OpenId | None = None
        self.api_tokens = ApiTokens(
            engine, settings.longest_api_token_days, settings.api_token_days, clock
        )
        self._slowing = slowing or Slowing(settings.free_failures, settings.longest_delay)
        self._directory = _Directory(mesh())
        self._key = secrets.token_bytes(32)
        with reading(engine) as connection:
            self._salts = salts_key(connection)
        self._lock = Lock()
        self._successes: OrderedDict[bytes, None] = OrderedDict()
        self._tokens: OrderedDict[str, tuple[TokenRow, float]] = OrderedDict()

    def sign_in(
        self, user: str, secret: str, endpoint: str, address: str = "", acting_as: str = ""
    ) -> SignedIn:
        """Sign in with a user and what is sent as his password, for every wire that has both.

        That may be a token of his in the place of the password. `acting_as` names somebody else.
        Raises Unauthenticated, AccessDenied or RateLimited.
        """
        if self._is_token(secret):

            def again() -> Principal:
                found = self.authenticate_bearer(secret, endpoint, address)
                if found.user != user:
                    self.sign_in_failed(user, endpoint, address)
                    raise Unauthenticated(
                        "The token is not that user's.", hint="Name the user whose token it is."
                    )
                return self.act_as(found, acting_as, endpoint, address) if acting_as else found

            return SignedIn(again(), again)
        found = self.authenticate_basic(user, secret, endpoint, address)
        return self._lasting(found, endpoint, acting_as, address)

    def _is_token(self, secret: str) -> bool:
        """Whether what is sent as a password is a token; a password may begin as one does."""
        if looks_like_jwt(secret):
            return self.openid is not None
        return is_whole(secret) or bool(_SESSION.fullmatch(secret))

    def _lasting(
        self, found: Principal, endpoint: str, acting_as: str, address: str
    ) -> SignedIn:
        """A password is not kept: whose verifier changes has to sign in again."""
        name, verifier = found.user, self.verifier(found.user)

        def again() -> Principal:
            made = self.still(name, verifier)
            return self.act_as(made, acting_as, endpoint, address) if acting_as else made

        return SignedIn(again(), again)

    def still(self, name: str, verifier: Verifier) -> Principal:
        """A user as he is now, whose connection was signed in by that verifier.

        Raises Unauthenticated where he has left or has another password.
        """
        directory = self._present()
        found = directory.users.get(name)
        if found is None or directory.verifiers.get(name) != verifier:
            raise Unauthenticated("Your sign-in is no longer valid.", hint="Connect again.")
        return directory.principal(found, "password")

    def authenticate_proof(
        self, user: str, proves: Callable[[Verifier], bool], endpoint: str = "", address: str = ""
    ) -> Principal:
        """The principal of a user who proved to know his password; an endpoint that speaks SCRAM
        itself says whether the proof fits a verifier. Slowed and recorded like a password.
        """
        with self._slowing.attempt(f"{user}\0{near(address)}") as attempt:
            directory = self._present()
            found = directory.users.get(user)
            is_right = proves(self.verifier(user)) and user in directory.verifiers
            attempt.succeeded = is_right
        if found is None or not is_right:
            self.sign_in_failed(user, endpoint, address)
            raise Unauthenticated(_WRONG)
        return directory.principal(found, "password")

    def authenticate_basic(
        self, user: str, password: str, endpoint: str = "", address: str = ""
    ) -> Principal:
        """The principal of a user and his password; raises Unauthenticated or RateLimited."""
        directory = self._present()
        found = directory.users.get(user)
        verifier = directory.verifiers.get(user, directory.nobody)
        # Whose password was right lately waits for nobody who tries to guess it.
        is_right = self._was_right(user, password, verifier)
        if not is_right:
            with self._slowing.attempt(f"{user}\0{near(address)}") as attempt:
                fitting = self._is_right(user, password, verifier)
                attempt.succeeded = is_right = fitting and user in directory.verifiers
        if found is None or not is_right:
            self.sign_in_failed(user, endpoint, address)
            raise Unauthenticated(_WRONG)
        return directory.principal(found, "password")

    def sign_in_failed(self, user: str, endpoint: str, address: str = "") -> None:
        """Record a failed sign-in, for an endpoint that checks the password itself, too."""
        is_known = user in self._present().users
        # Whoever is refused does not say how much is kept of it.
        kept = user[:_KEPT_OF_A_NAME]
        self.failed(kept, Unauthenticated.code, endpoint, is_known, address)

    def authenticate_bearer(self, token: str, endpoint: str = "", address: str = "") -> Principal:
        """The principal of a token, of whatever kind; raises Unauthenticated or AccessDenied.

        What is right is never slowed; what is not is, by the address that it comes from.
        """
        try:
            if is_api_token(token):
                return self._by_api_token(token, endpoint)
            if self.openid is not None and looks_like_jwt(token):
                return self._by_openid(self.openid.claims_of(token))
            return self._by_session(token)
        except _Refused as refused:
            self._slowed(refused.user, refused.code, endpoint, address)
            raise refused.error from None
        except Unauthenticated as error:
            self._slowed("", error.code, endpoint, address)
            raise

    def certified(self, name: str) -> str:
        """The user that is listed for a certificate; '' where nobody is."""
        return self._settings.certificates.get(name, "")

    def authenticate_certificate(self, name: str, endpoint: str, address: str = "") -> Principal:
        """The user for whom a certificate stands that the endpoint has verified."""
        user = self.certified(name)
        found = self._present().users.get(user)
        if found is None:
            self._slowed(user, Unauthenticated.code, endpoint, address)
            raise Unauthenticated(
                "The certificate stands for nobody here.",
                hint="Ask an operator to add it to [sign_in] certificates, or send a token.",
            )
        return replace(principal_of(found), credential="certificate")

    def _slowed(self, user: str, code: str, endpoint: str, address: str) -> None:
        """Count a failure, and record it. Raises RateLimited where many wait."""
        with self._slowing.attempt(f"\0token {near(address)}"):
            pass
        self.failed(user, code, endpoint, bool(user), address)

    def _by_session(self, token: str) -> Principal:
        row = self._token(hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest())
        directory = self._present()
        found = None if row is None else directory.users.get(row.user)
        if row is None or found is None or not self._is_valid(row, found):
            raise _Refused(row.user if row else "", _unknown("Sign in again."))
        return directory.principal(found, "session")

    def _by_api_token(self, token: str, endpoint: str) -> Principal:
        """Its owner as he is now, within its scope: it never outlives or exceeds him."""
        row = self.api_tokens.find(token)
        found = None if row is None else self._present().users.get(row.user_name)
        if row is None or found is None or not self.api_tokens.is_active(row):
            raise _Refused(row.user_name if row else "", _unknown(_MAKE))
        if not hmac.compare_digest(row.verifier, fingerprint_of(found)):
            raise _Refused(row.user_name, _unknown(_MAKE))
        scope = scope_of(row)
        if scope.endpoints and endpoint not in scope.endpoints:
            raise _Refused(row.user_name, AccessDenied(
                "The token does not sign in at this endpoint.",
                hint=f"It is good for: {', '.join(sorted(scope.endpoints))}.",
            ))  # fmt: skip
        self.api_tokens.used(row)
        return replace(principal_of(found), scope=scope, credential=f"{OF_TOKEN}{row.id}")

    def _by_openid(self, claims: Claims) -> Principal:
        """A user of the mesh with the groups of his claims besides; a stranger where that is set.

        What the mesh's own file says of an attribute stands, and only that gives a role.
        """
        found = self._present().users.get(claims.user)
        if found is None:
            if self.openid is None or not self.openid.takes_unknown_users:
                raise _Refused("", Unauthenticated(
                    "The token is valid, but nobody here has its user name.",
                    hint="Ask an operator to add you to identities.yaml.",
                ))  # fmt: skip
            attributes = MappingProxyType(dict(claims.attributes))
            return Principal(claims.user, claims.groups, attributes=attributes, credential="openid")
        own = principal_of(found)
        return replace(
            own, groups=own.groups | claims.groups, credential="openid",
            attributes=MappingProxyType({**claims.attributes, **own.attributes}),
        )  # fmt: skip

    def issue(self, principal: Principal) -> Token:
        """A new session token for somebody who has just signed in with his password."""
        found = self._user(principal.user)
        if principal.actor or not principal.scope.is_whole:
            raise AccessDenied("A session begins with one's own sign-in.", hint="Sign in again.")
        value = _PREFIX + secrets.token_urlsafe(32)
        now = datetime.fromtimestamp(self._clock(), UTC)
        expires_at = now + timedelta(hours=self._settings.token_hours)
        row = TokenRow(
            hash=hashlib.sha256(value.encode()).hexdigest(),
            user=principal.user,
            verifier=fingerprint_of(found),
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

    def act_as(
        self, principal: Principal, name: str, endpoint: str = "", address: str = ""
    ) -> Principal:
        """Somebody else, for one who may act for him; raises AccessDenied.

        What is granted is granted to that one alone, within the scope of the token that signed in.
        """
        if name == principal.user:
            return principal
        users = self._present().users
        found, own = users.get(name), users.get(principal.user)
        right = own.impersonates if own is not None and principal.may_impersonate else None
        if found is None or right is None or not right.means(found):
            self.failed(principal.user, AccessDenied.code, endpoint, own is not None, address)
            raise AccessDenied(
                f"You may not act as {name!r}.",
                hint="Sign in as that user, or ask an operator for the right (mayImpersonate).",
            )
        return replace(
            principal_of(found), may_impersonate=False, scope=principal.scope,
            actor=principal.user, credential=principal.credential,
        )  # fmt: skip

    def trusted(self, name: str) -> Principal:
        """A user by name alone: for in-process use, where whoever reads the files is trusted."""
        return principal_of(self._user(name))

    def local_user(self, name: str) -> User:
        """The entry of identities.yaml, for what needs one: an API token must not outlive it."""
        found = self._present().users.get(name)
        if found is None:
            raise AccessDenied(
                "Only users of identities.yaml have API tokens.",
                hint="Ask an operator for a service account.",
            )
        return found

    def verifier(self, name: str) -> Verifier:
        """The verifier for an endpoint that speaks SCRAM itself; a mock for unknown users.

        The mock is the same at every call, now and later and in every gateway over this state, as a
        real one is; its keys fit no password.
        """
        directory = self._present()
        if name in directory.verifiers:
            return directory.verifiers[name]
        text = name.encode("utf-8", "surrogatepass")
        salt = hmac.new(self._salts, b"salt " + text, hashlib.sha256).digest()
        fake = hmac.new(self._salts, b"keys " + text, hashlib.sha256).digest()
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

    def _seen(self, user: str, password: str, verifier: Verifier) -> bytes:
        """What a success is remembered by: for this verifier, under a key of this process."""
        text = "\0".join((user, str(verifier), password))
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()

    def _was_right(self, user: str, password: str, verifier: Verifier) -> bool:
        """Whether the password was found to fit before: who sends it each time pays once."""
        seen = self._seen(user, password, verifier)
        with self._lock:
            is_known = seen in self._successes
            if is_known:
                self._successes.move_to_end(seen)
            return is_known

    def _is_right(self, user: str, password: str, verifier: Verifier) -> bool:
        is_right = fits(password, verifier)
        if is_right:
            with self._lock:
                self._successes[self._seen(user, password, verifier)] = None
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
        return row.expires_at > now and hmac.compare_digest(row.verifier, fingerprint_of(user))


class _Refused(Exception):
    """A token that does not sign in; `user` is its owner, where that is known."""

    def __init__(self, user: str, error: SqluiceError) -> None:
        super().__init__()
        self.user = user
        self.error = error
        self.code = error.code


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
        self._principals: dict[tuple[str, str], Principal] = {}

    def principal(self, user: User, credential: str) -> Principal:
        """A user of this revision who has signed in with that kind of credential."""
        key = (user.name, credential)
        found = self._principals.get(key)
        if found is None:
            made = replace(principal_of(user), credential=credential)
            found = self._principals.setdefault(key, made)
        return found


def _unknown(hint: str) -> Unauthenticated:
    """The same for what never was, what was revoked and what has expired."""
    return Unauthenticated("The token is unknown or has expired.", hint=hint)


def fingerprint_of(user: User) -> str:
    """What a token remembers of its owner's entry: it ends when his verifier changes."""
    return hashlib.sha256(user.verifier.encode()).hexdigest()
