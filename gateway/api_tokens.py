"""API tokens: made, found, rotated, revoked.

Takes: an owner, a scope, a time. Gives: a token, once; rows without it ever after. A token is
`sqt_`, a public id, a secret and a checksum, so that scanners find it and a misspelt one is told
without a look at state. Never keeps a token, only its hash; never decides what its owner may do.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import secrets
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import (
    InternalError,
    LimitExceeded,
    SourceUnavailable,
    TypeMismatch,
    UnknownTable,
)
from gateway.request import TokenScope
from gateway.state import api_tokens as rows
from gateway.state.api_tokens import ApiTokenRow
from gateway.state.engine import moment_text, reading, writing

log = logging.getLogger("gateway.tokens")

PREFIX = "sqt_"
ENDPOINTS = ("http", "flight", "postgres", "mcp")
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID, _SECRET, _CHECKSUM = 10, 32, 6
_FORM = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{_ID + _SECRET}}})([0-9A-Za-z]{{{_CHECKSUM}}})")
_LABEL = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_PRODUCT = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)?")
_RECHECK_SECONDS = 1.0
_USED_SECONDS = 60.0
_KEPT = 10_000
_MOST_ACTIVE = 100
_MOST_WORDS = 100
# What a principal's credential begins with who signed in by one; its id follows.
OF_TOKEN = "token "


@dataclass(frozen=True, slots=True)
class Wish:
    """A token as somebody wants it; `days` None: as long as the settings say."""

    label: str
    scope: TokenScope = TokenScope()
    days: float | None = None


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token as its owner may know it, without what signs in."""

    id: str
    user: str
    label: str
    scope: TokenScope
    created_at: str
    created_by: str
    expires_at: str
    used_at: str
    revoked_at: str

    def shown(self, now: datetime) -> Mapping[str, object]:
        """As JSON can hold it."""
        return {
            "id": self.id, "user": self.user, "label": self.label,
            "purposes": sorted(self.scope.purposes), "products": sorted(self.scope.products),
            "endpoints": sorted(self.scope.endpoints), "created_at": self.created_at,
            "created_by": self.created_by, "expires_at": self.expires_at,
            "used_at": self.used_at or None, "revoked_at": self.revoked_at or None,
            "state": self.state(now),
        }  # fmt: skip

    def state(self, now: datetime) -> str:
        """active, revoked or expired."""
        at = moment_text(now)
        if self.revoked_at and self.revoked_at <= at:
            return "revoked"
        return "expired" if self.expires_at <= at else "active"


@dataclass(frozen=True, slots=True)
class Made:
    """A token with what signs in: told once."""

    value: str
    token: ApiToken


def is_api_token(text: str) -> bool:
    """Whether a text looks like one of ours; its checksum need not be right."""
    return text.startswith(PREFIX)


def is_whole(text: str) -> bool:
    """Whether form and checksum are right: what is not was never a token of ours."""
    found = _FORM.fullmatch(text)
    return found is not None and found.group(2) == _checksum(found.group(1))


class ApiTokens:
    """The tokens of one state. Every method may be called from any thread."""

    def __init__(
        self,
        engine: Engine,
        longest_days: float,
        usual_days: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep them in a state."""
        self._engine = engine
        self._longest = timedelta(days=longest_days)
        self._usual = timedelta(days=min(usual_days, longest_days))
        self._clock = clock
        self._lock = Lock()
        self._known: OrderedDict[str, tuple[ApiTokenRow, float]] = OrderedDict()

    @property
    def now(self) -> datetime:
        """The time."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def create(self, user: str, verifier: str, wish: Wish, by: str) -> Made:
        """A new token for a user; `verifier` is the fingerprint of his entry."""
        checked = self._checked(wish)
        if sum(one.state(self.now) == "active" for one in self.of(user)) >= _MOST_ACTIVE:
            raise LimitExceeded(
                f"{user} has {_MOST_ACTIVE} tokens already, the most that anybody may have.",
                hint="Revoke what is of no more use: sqluice token list tells the last use.",
            )
        return self._insert(user, verifier, checked, self._until(checked.days), by)

    def of(self, user: str | None = None) -> tuple[ApiToken, ...]:
        """The tokens of a user, or of all, those that ended too."""
        try:
            with reading(self._engine) as connection:
                return tuple(_shown(one) for one in rows.api_tokens(connection, user))
        except SQLAlchemyError as error:
            raise _unreadable(error) from error

    def get(self, token_id: str, user: str | None = None) -> ApiToken:
        """One token, by its id; of that user where one is given."""
        try:
            with reading(self._engine) as connection:
                row = rows.api_token_by_id(connection, token_id)
        except SQLAlchemyError as error:
            raise _unreadable(error) from error
        if row is None or user not in (None, row.user_name):
            raise UnknownTable(
                f"There is no token {token_id[:40]!r}.", hint="sqluice token list shows the ids."
            )
        return _shown(row)

    def revoke(self, token: ApiToken, by: str, grace: timedelta = timedelta()) -> bool:
        """End a token, now or after `grace`; False where it has ended already.

        Every gateway over this state follows within a second.
        """
        at = moment_text(self.now + grace)
        try:
            with writing(self._engine) as connection:
                return rows.revoke_api_token(connection, token.id, at, by)
        except SQLAlchemyError as error:
            raise _unreadable(error) from error
        finally:
            with self._lock:
                self._known.clear()

    def revoked(self, ids: Collection[str]) -> frozenset[str]:
        """Which of these tokens are revoked now, by whatever gateway or command."""
        try:
            with reading(self._engine) as connection:
                return rows.revoked_of(connection, ids, moment_text(self.now))
        except SQLAlchemyError as error:
            raise _unreadable(error) from error

    def rotate(self, token: ApiToken, verifier: str, by: str, grace: timedelta) -> Made:
        """A token in the place of another, with its scope and its length of life."""
        life = _moment(token.expires_at) - _moment(token.created_at)
        wish = Wish(token.label, token.scope, life.total_seconds() / 86_400)
        until = self.now + min(life, self._longest)
        made = self._insert(token.user, verifier, wish, until, by)
        self.revoke(token, by, grace)
        return made

    def find(self, text: str) -> ApiTokenRow | None:
        """The row of a token, at most a second old; None for what is none of ours."""
        if not is_whole(text):
            return None
        token_hash = _hash(text)
        now = self._clock()
        with self._lock:
            kept = self._known.get(token_hash)
        if kept is not None and 0 <= now - kept[1] < _RECHECK_SECONDS:
            return kept[0]
        try:
            with reading(self._engine) as connection:
                row = rows.api_token_by_hash(connection, token_hash)
        except SQLAlchemyError as error:
            raise InternalError("The token could not be read.", private=str(error)) from error
        with self._lock:
            self._known.pop(token_hash, None)
            if row is not None:
                self._known[token_hash] = (row, now)
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return row

    def is_active(self, row: ApiTokenRow) -> bool:
        """Whether a token holds now."""
        return _shown(row).state(self.now) == "active"

    def used(self, row: ApiTokenRow) -> None:
        """Say that it was used, once a minute; that it cannot be said refuses nobody."""
        now = self.now
        if row.used_at and now - _moment(row.used_at) < timedelta(seconds=_USED_SECONDS):
            return
        try:
            with writing(self._engine) as connection:
                rows.use_api_token(connection, row.id, moment_text(now))
        except SQLAlchemyError:
            log.warning("the last use of a token could not be kept")
        with self._lock:
            # What is read next knows of it.
            self._known.pop(row.hash, None)

    def _insert(self, user: str, verifier: str, wish: Wish, until: datetime, by: str) -> Made:
        body = "".join(secrets.choice(_LETTERS) for _ in range(_ID + _SECRET))
        value = f"{PREFIX}{body}{_checksum(body)}"
        row = ApiTokenRow(
            id=body[:_ID], hash=_hash(value), user_name=user, verifier=verifier, label=wish.label,
            scope=_scope_text(wish.scope), created_at=moment_text(self.now), created_by=by,
            expires_at=moment_text(until),
        )  # fmt: skip
        try:
            with writing(self._engine) as connection:
                rows.insert_api_token(connection, row)
        except SQLAlchemyError as error:
            raise _unreadable(error) from error
        return Made(value, _shown(row))

    def _until(self, days: float | None) -> datetime:
        if days is None:
            return self.now + self._usual
        if not 0 < days <= self._longest.total_seconds() / 86_400:
            raise TypeMismatch(
                f"A token lasts {self._longest.days} days at most, and some time at least.",
                hint="Ask for fewer days; [sign_in] longest_api_token_days is the bound.",
            )
        return self.now + timedelta(days=days)

    def _checked(self, wish: Wish) -> Wish:
        if not _LABEL.fullmatch(wish.label):
            raise TypeMismatch(
                "A token needs a label of 1 to 200 characters.", hint="Say what it is for."
            )
        for words in (wish.scope.purposes, wish.scope.products):
            if len(words) > _MOST_WORDS or any(not _LABEL.fullmatch(one) for one in words):
                raise TypeMismatch(
                    f"A token is bounded by {_MOST_WORDS} names at most, of 1 to 200 characters.",
                    hint="Make a token for each use.",
                )
        products = frozenset(one.casefold() for one in wish.scope.products)
        wrong = sorted(one for one in products if not _PRODUCT.fullmatch(one))
        if wrong:
            raise TypeMismatch(
                f"{wrong[0][:80]!r} is no domain and no product.",
                hint="Write domain or domain.product.",
            )
        others = sorted(wish.scope.endpoints - set(ENDPOINTS))
        if others:
            raise TypeMismatch(
                f"There is no endpoint {others[0][:80]!r}.",
                hint=f"Endpoints are {', '.join(ENDPOINTS)}.",
            )
        scope = TokenScope(wish.scope.purposes, products, wish.scope.endpoints)
        return Wish(wish.label, scope, wish.days)


def scope_of(row: ApiTokenRow) -> TokenScope:
    """The scope that a row holds; one that cannot be read is an error, never the whole."""
    known = json.loads(row.scope)
    return TokenScope(
        frozenset(known["purposes"]), frozenset(known["products"]), frozenset(known["endpoints"])
    )


def _scope_text(scope: TokenScope) -> str:
    return json.dumps({
        "purposes": sorted(scope.purposes), "products": sorted(scope.products),
        "endpoints": sorted(scope.endpoints),
    })  # fmt: skip


def _shown(row: ApiTokenRow) -> ApiToken:
    return ApiToken(
        row.id, row.user_name, row.label, scope_of(row), row.created_at, row.created_by,
        row.expires_at, row.used_at, row.revoked_at,
    )  # fmt: skip


def _checksum(body: str) -> str:
    value, letters = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM):
        value, place = divmod(value, len(_LETTERS))
        letters = _LETTERS[place] + letters
    return letters


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _unreadable(error: SQLAlchemyError) -> SourceUnavailable:
    return SourceUnavailable(
        "The tokens in state could not be read or written.",
        hint="Try again; if it stays, tell an operator of the gateway.",
        private=str(error),
    )
