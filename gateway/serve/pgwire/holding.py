"""Answers of one connection that have not left, so that what is stopped is held back.

Takes: the answers that are opened, and the link on which they leave. Gives: the reason to whoever
reads or sends one that is killed or revoked. Never waits for a client who does not read: soon after
he is dropped with what waits for him.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.errors import SqluiceError
from gateway.queries import Queries, Sending
from gateway.result import Result
from gateway.serve.pgwire.answers import Answer
from gateway.serve.pgwire.link import Link

# So long he whose answer is held back may still read what he is told of it.
CUT_SECONDS = 5.0


class Unsent:
    """What is opened and has not left yet."""

    def __init__(
        self, queries: Queries, link: Link, tell: Callable[[str, SqluiceError], bool]
    ) -> None:
        """`tell` is told, on the loop, of a statement whose answer is held back; True: its client
        asked for that himself, and is waited for."""
        self._queries = queries
        self._link = link
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        # None: the answer is still to come.
        self._held: dict[Sending, Answer | None] = {}

    def opened(
        self, query_id: str, answered: Callable[[], Result], made: Callable[[Result], Answer]
    ) -> Answer:
        """An answer, in any thread, which can be held back from its beginning on."""
        sending = self._queries.sending(query_id)
        sending.cut = lambda reason: self._hold_back(sending, reason)
        self._held[sending] = None
        try:
            result = answered()
            result.held_back = lambda: sending.reason
            answer = self._held[sending] = made(result)
        except BaseException:
            self._release(sending)
            raise
        return answer

    def release(self, everything: bool = False) -> None:
        """What has left need not be held back any more."""
        if self._held and (everything or self._link.has_left(self._link.laid)):
            for sending, answer in list(self._held.items()):
                if everything or (answer is not None and answer.ended):
                    self._release(sending)

    def _release(self, sending: Sending) -> None:
        self._held.pop(sending, None)
        self._queries.sent(sending)

    def _hold_back(self, sending: Sending, reason: SqluiceError) -> None:
        """In any thread: no more of an answer may leave, whether it is being sent or waits."""
        answer = self._held.get(sending)
        if answer is not None:
            answer.cancel(reason)
        self._loop.call_soon_threadsafe(self._cut, sending.query_id, reason)

    def _cut(self, query_id: str, reason: SqluiceError) -> None:
        laid = self._link.laid
        if not self._tell(query_id, reason):
            self._loop.call_later(CUT_SECONDS, self._drop, laid, self._link.left)

    def _drop(self, laid: int, before: int) -> None:
        """Whoever has taken something since then reads, and will be told."""
        if self._link.has_left(laid):
            return
        if self._link.left == before:
            self._link.cut()
        else:
            self._loop.call_later(CUT_SECONDS, self._drop, laid, self._link.left)
