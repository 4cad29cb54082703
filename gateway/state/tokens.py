"""Session tokens: rows that hold the hash of a token, never the token; the key of salts.

Takes: hashes. Gives: rows. Never decides who may sign in.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from gateway.state.tables import SIGN_IN_KEYS, TOKENS


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A session token as state keeps it; `verifier` is a hash of the user's verifier then."""

    hash: str
    user: str
    verifier: str
    issued_at: str
    expires_at: str


def insert_token(connection: Connection, row: TokenRow) -> None:
    """Keep a token; forgets those that have expired before it was issued."""
    connection.execute(delete(TOKENS).where(TOKENS.c.expires_at <= row.issued_at))
    connection.execute(
        insert(TOKENS),
        {
            "hash": row.hash,
            "user_name": row.user,
            "verifier": row.verifier,
            "issued_at": row.issued_at,
            "expires_at": row.expires_at,
        },
    )


def find_token(connection: Connection, token_hash: str) -> TokenRow | None:
    """The row of a token's hash."""
    row = connection.execute(select(TOKENS).where(TOKENS.c.hash == token_hash)).one_or_none()
    return None if row is None else TokenRow(*row)


def drop_token(connection: Connection, token_hash: str) -> bool:
    """Forget a token; False where there was none."""
    found = connection.execute(delete(TOKENS).where(TOKENS.c.hash == token_hash))
    return found.rowcount > 0


def salts_key(connection: Connection) -> bytes:
    """What the salts of unknown users are made of, the same for every gateway over one state."""
    asked = select(SIGN_IN_KEYS.c.content).where(SIGN_IN_KEYS.c.purpose == "salts")
    return bytes(connection.execute(asked).scalar_one())
