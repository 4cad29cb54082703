"""Revocations and approvals that state holds beside the files of the mesh.

Takes: what an operator or an owner says. Gives: the `Standing` that every decision reads. Never
gives access that no file grants: state revokes grants, and approves what a file asks approval for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.decision import Standing
from gateway.errors import SourceUnavailable
from gateway.state.access import AccessEvent, append_event, events_after, last_number
from gateway.state.engine import moment_text, reading, writing

__all__ = ["Access", "AccessEvent", "standing_of"]


class Access:
    """The access events of one state. Every method may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        """Read and write them there."""
        self._engine = engine

    def tell(self, event: AccessEvent) -> int:
        """Say something; it holds from the next statement of every gateway over this state."""
        made = replace(event, at=moment_text(datetime.now(UTC)))
        try:
            with writing(self._engine) as connection:
                return append_event(connection, made)
        except SQLAlchemyError as error:
            raise _unreadable(error) from error

    def number(self) -> int:
        """The number of the newest event."""
        try:
            with reading(self._engine) as connection:
                return last_number(connection)
        except SQLAlchemyError as error:
            raise _unreadable(error) from error

    def events(self, after: int = 0) -> tuple[AccessEvent, ...]:
        """The events after one, oldest first."""
        try:
            with reading(self._engine) as connection:
                return events_after(connection, after)
        except SQLAlchemyError as error:
            raise _unreadable(error) from error


def standing_of(events: Iterable[AccessEvent]) -> Standing:
    """What all events together say."""
    number = 0
    revoked: set[tuple[str, str]] = set()
    approved: set[str] = set()
    epochs: dict[str, int] = {}
    for one in events:
        number = one.number
        match one.kind:
            case "revoke":
                revoked.add((one.subject, one.user))
            case "restore" if one.user:
                revoked.discard((one.subject, one.user))
            case "restore" | "lapse":
                revoked = {pair for pair in revoked if pair[0] != one.subject}
            case "approve":
                approved.add(one.subject)
            case "withdraw":
                approved.discard(one.subject)
            case "rotate":
                epochs[one.subject] = epochs.get(one.subject, 0) + 1
    return Standing(number, frozenset(revoked), frozenset(approved), MappingProxyType(epochs))


def _unreadable(error: SQLAlchemyError) -> SourceUnavailable:
    return SourceUnavailable(
        "What was said about access could not be read from state.",
        hint="Check SQLUICE_STATE and that its database runs and may be written.",
        private=str(error),
    )
