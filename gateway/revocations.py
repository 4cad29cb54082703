"""What runs ends when the token is revoked by which it runs.

Takes: the queries that run, the tokens of state. Gives: a look at both, four times a second while
something runs by a token, so that a revocation by another gateway or a command is seen, too. Never
ends what runs by anything else, never reads state where nothing runs by a token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.api_tokens import OF_TOKEN, ApiTokens
from gateway.errors import SqluiceError
from gateway.queries import Queries
from gateway.repeating import repeat

log = logging.getLogger("gateway.tokens")
LOOK_SECONDS = 0.25


def end_revoked(queries: Queries, tokens: ApiTokens) -> int:
    """Stop the queries of revoked tokens; gives how many."""
    running = {
        one.removeprefix(OF_TOKEN) for one in queries.credentials() if one.startswith(OF_TOKEN)
    }
    if not running:
        return 0
    return sum(queries.end_of(f"{OF_TOKEN}{one}") for one in tokens.revoked(running))


def follow_tokens(
    queries: Queries, tokens: ApiTokens, seconds: float = LOOK_SECONDS
) -> Callable[[], None]:
    """Look again and again; gives what stops the looking."""

    def look() -> None:
        try:
            end_revoked(queries, tokens)
        except SqluiceError as error:
            log.warning("tokens cannot be read", extra={"code": error.code})

    return repeat(look, seconds, "token-follow")
