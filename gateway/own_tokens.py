"""One's own API tokens: who may make, see and revoke which, and what the audit is told of it.

Takes: a principal who has signed in, or an operator on the files of a mesh. Gives: tokens. Never
lets a token make another, never lets anybody see or end somebody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from catalog.model import User
from gateway.api_tokens import OF_TOKEN, ApiToken, ApiTokens, Made, Wish
from gateway.audit import Audit
from gateway.errors import AccessDenied
from gateway.identity import Identity, fingerprint_of
from gateway.request import Principal

_SESSION = "session"
_AUDITED = ("id", "purposes", "products", "endpoints", "expires_at")
_NO_GRACE = timedelta()


class TokenBook:
    """Makes and ends tokens, and writes it down in the audit first: none is made unseen."""

    def __init__(self, tokens: ApiTokens, audit: Audit) -> None:
        """Over the tokens of one state."""
        self.tokens = tokens
        self._audit = audit

    def create(self, owner: User, wish: Wish, by: str) -> Made:
        """A token for a user or a service."""
        made = self.tokens.create(owner.name, fingerprint_of(owner), wish, by)
        return self._told(made, "created", by)

    def rotate(self, token: ApiToken, owner: User, by: str, grace: timedelta = _NO_GRACE) -> Made:
        """A token in the place of another, which ends after `grace`."""
        made = self.tokens.rotate(token, fingerprint_of(owner), by, grace)
        return self._told(made, "rotated", by, replaces=token.id)

    def revoke(self, token: ApiToken, by: str) -> bool:
        """End a token; False where it has ended."""
        done = self.tokens.revoke(token, by)
        if done:
            self._note("revoked", token, by)
        return done

    def _told(self, made: Made, what: str, by: str, **besides: str) -> Made:
        try:
            self._note(what, made.token, by, **besides)
        except BaseException:
            # Nobody is given a token that the audit does not know of.
            self.tokens.revoke(made.token, by)
            raise
        return made

    def _note(self, what: str, token: ApiToken, by: str, **besides: str) -> None:
        shown = token.shown(self.tokens.now)
        content = {"what": what, **{key: shown[key] for key in _AUDITED}, **besides}
        self._audit.token(by, token.user, content)


class OwnTokens:
    """What a principal may do with his own tokens over a wire."""

    def __init__(self, book: TokenBook, identity: Identity) -> None:
        """Over the tokens of one state, for those who sign in here."""
        self._book = book
        self._identity = identity

    def list(self, principal: Principal) -> list[Mapping[str, object]]:
        """His tokens; whoever signed in with a token sees that one."""
        _is_himself(principal)
        tokens = self._book.tokens
        found = (one for one in tokens.of(principal.user) if _may_see(principal, one))
        return [one.shown(tokens.now) for one in found]

    def create(self, principal: Principal, wish: Wish) -> Made:
        """A token for himself."""
        _is_himself(principal)
        # Nor does a session's: it would live on for a year in what it made.
        if principal.credential == _SESSION or principal.credential.startswith(OF_TOKEN):
            raise AccessDenied(
                "A token makes no other tokens.", hint="Sign in with your password or provider."
            )
        owner = self._identity.local_user(principal.user)
        return self._book.create(owner, wish, principal.user)

    def revoke(self, principal: Principal, token_id: str) -> bool:
        """End one of his tokens; one who signed in with a token ends that one."""
        _is_himself(principal)
        token = self._book.tokens.get(token_id, principal.user)
        if not _may_see(principal, token):
            raise AccessDenied(
                "A token ends no other tokens.", hint="Sign in with your password or provider."
            )
        return self._book.revoke(token, principal.user)


def _is_himself(principal: Principal) -> None:
    if principal.actor:
        raise AccessDenied(
            "Nobody handles the tokens of one whom he acts for.", hint="Sign in as that user."
        )


def _may_see(principal: Principal, token: ApiToken) -> bool:
    own = principal.credential
    return not own.startswith(OF_TOKEN) or own == f"{OF_TOKEN}{token.id}"
