"""The body of `POST /v1/tokens`.

Takes: JSON. Gives: the token that somebody wishes. Never makes one.
"""

from __future__ import annotations

from typing import Any

from gateway.api_tokens import Wish
from gateway.errors import TypeMismatch
from gateway.request import TokenScope

_LISTS = ("purposes", "products", "endpoints")
_FIELDS = {"label", "days", *_LISTS}
_EXAMPLE = '{"label": "nightly report", "products": ["network"], "days": 30}'


def read_wish(body: object) -> Wish:
    """A wish; raises TypeMismatch naming the field."""
    if not isinstance(body, dict):
        raise TypeMismatch("The body is no JSON object.", hint=f"Send {_EXAMPLE}.")
    unknown = sorted(str(one) for one in set(body) - _FIELDS)
    if unknown:
        raise TypeMismatch(
            f"The field {unknown[0]!r} is not known.", hint=f"Fields are {', '.join(_FIELDS)}."
        )
    label, days = body.get("label"), body.get("days")
    if not isinstance(label, str):
        raise TypeMismatch("The field label must be text.", hint=f"Send {_EXAMPLE}.")
    if days is not None and (isinstance(days, bool) or not isinstance(days, int | float)):
        raise TypeMismatch("The field days must be a number.")
    scope = TokenScope(*(_words(body, name) for name in _LISTS))
    return Wish(label, scope, days)


def _words(body: dict[str, Any], name: str) -> frozenset[str]:
    """A list of texts. An empty one would bound nothing, which nobody means who sends it."""
    value = body.get(name)
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise TypeMismatch(f"The field {name} must be a list of texts, or absent.")
    return frozenset(value)
