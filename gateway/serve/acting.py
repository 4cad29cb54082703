"""For whom a request is sent, where somebody acts as another.

Takes: the headers of a call. Gives: a name, or '' for oneself. Never decides whether he may.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.errors import TypeMismatch

HEADERS = ("X-Sqluice-As", "X-Sqluice-User")


def acting_as(values: Iterable[str]) -> str:
    """The one name that the headers say; two that differ are an error."""
    names = {one for one in values if one}
    if len(names) > 1:
        raise TypeMismatch(f"{' and '.join(HEADERS)} name two people.", hint="Send one of the two.")
    return next(iter(names), "")
