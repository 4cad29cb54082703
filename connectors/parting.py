"""A source that several sessions may read one table of, all under one state of it.

Takes: nothing of a kind of source. Gives: what such a connection offers beside `Connection`. Never
decides how many sessions there may be: who has them to lend does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self

from connectors.base import Connection, ConnectorError, Fragment


class NotPartedError(ConnectorError):
    """The sessions could not be brought to one state; nothing has been read."""


class Parting(Connection, Protocol):
    """A connection that can share a fragment with others of its source."""

    def streams(self, fragment: Fragment) -> int:
        """In how many sessions it is worth being read; one where it cannot be shared."""
        ...

    def parted(
        self, fragment: Fragment, others: Sequence[Self]
    ) -> AbstractContextManager[tuple[Fragment, ...]]:
        """While all see one state: a fragment for this session, and one for each of the others.

        Each row of the whole is in one of them. NotPartedError where it cannot be had at once.
        """
        ...
