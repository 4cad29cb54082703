"""API tokens: rows that hold the hash of a token, never the token.

Takes: hashes and ids. Gives: rows. Never decides who may sign in, never removes a row: who had a
token, and until when, stays to be told.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, and_, insert, or_, select, update

from gateway.state.tables import API_TOKENS


@dataclass(frozen=True, slots=True)
class ApiTokenRow:
    """A token as state keeps it. Times that have not come yet are ''.

    `scope` is JSON. `verifier` is a hash of what the owner's entry said of his password then.
    """

    id: str
    hash: str
    user_name: str
    verifier: str
    label: str
    scope: str
    created_at: str
    created_by: str
    expires_at: str
    used_at: str = ""
    revoked_at: str = ""
    revoked_by: str = ""


def insert_api_token(connection: Connection, row: ApiTokenRow) -> None:
    """Keep a token."""
    connection.execute(insert(API_TOKENS), asdict(row))


def api_token_by_hash(connection: Connection, token_hash: str) -> ApiTokenRow | None:
    """The row of a token's hash, revoked and expired ones too."""
    found = connection.execute(select(API_TOKENS).where(API_TOKENS.c.hash == token_hash))
    row = found.one_or_none()
    return None if row is None else ApiTokenRow(*row)


def api_token_by_id(connection: Connection, token_id: str) -> ApiTokenRow | None:
    """The row of a token's id."""
    row = connection.execute(select(API_TOKENS).where(API_TOKENS.c.id == token_id)).one_or_none()
    return None if row is None else ApiTokenRow(*row)


def api_tokens(connection: Connection, user: str | None = None) -> tuple[ApiTokenRow, ...]:
    """The tokens of a user, or of all, the oldest first."""
    asked = select(API_TOKENS).order_by(API_TOKENS.c.created_at, API_TOKENS.c.id)
    if user is not None:
        asked = asked.where(API_TOKENS.c.user_name == user)
    return tuple(ApiTokenRow(*row) for row in connection.execute(asked))


def revoke_api_token(connection: Connection, token_id: str, at: str, by: str) -> bool:
    """End a token at a moment; False where it has ended by then, or never was."""
    columns = API_TOKENS.c
    holds = and_(
        columns.id == token_id,
        columns.expires_at > at,
        or_(columns.revoked_at == "", columns.revoked_at > at),
    )
    values = {"revoked_at": at, "revoked_by": by}
    return connection.execute(update(API_TOKENS).where(holds).values(values)).rowcount > 0


def revoked_of(connection: Connection, ids: Collection[str], at: str) -> frozenset[str]:
    """Which of these tokens have been revoked by a moment."""
    columns = API_TOKENS.c
    is_revoked = and_(columns.revoked_at != "", columns.revoked_at <= at)
    found = connection.execute(select(columns.id).where(columns.id.in_(ids), is_revoked))
    return frozenset(found.scalars())


def use_api_token(connection: Connection, token_id: str, at: str) -> None:
    """Say when a token was used last."""
    columns = API_TOKENS.c
    later = and_(columns.id == token_id, columns.used_at < at)
    connection.execute(update(API_TOKENS).where(later).values(used_at=at))
