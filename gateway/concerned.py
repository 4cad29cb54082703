"""Which policy and which product an error concerns.

Takes: errors, the decision of the statement. Gives: the same errors with what is known of them.
Never names what the caller may not know: only what his own decision is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.decision import Decision
from gateway.errors import AccessDenied, SqluiceError


def concern(error: SqluiceError | None, decision: Decision) -> None:
    """Say which product an error is about, where a policy has made it and it is the only one.

    Access that ends while a statement runs is that to its only product.
    """
    if error is None or error.product:
        return
    found: set[str] = set()
    if error.policy:
        found = {_product(one.subject) for one in decision.reasons if one.policy == error.policy}
    elif isinstance(error, AccessDenied):
        found = {f"{one.domain}.{one.product}" for one in decision.tables}
    error.product = found.pop() if len(found) == 1 else ""


@contextmanager
def concerning(decision: Decision) -> Iterator[None]:
    """The same for whatever is raised inside."""
    try:
        yield
    except SqluiceError as error:
        concern(error, decision)
        raise


def _product(subject: str) -> str:
    """What a reason is about begins with domain and product; names hold no dots."""
    return ".".join(subject.split(".")[:2])
