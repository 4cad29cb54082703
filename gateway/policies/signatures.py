"""What the total functions of policies take and give.

Takes: a function's name. Gives: its `Signature`. A function without one is no function of a
policy, whatever DuckDB would do with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Signature:
    """Kinds of arguments (text, number: a constant, day, float; the last repeats), the result.

    `result` '' means the type of the first argument.
    """

    kinds: tuple[str, ...]
    result: str
    least: int
    most: int

    def kind(self, number: int) -> str:
        """The kind of an argument, counted from 0."""
        return self.kinds[min(number, len(self.kinds) - 1)]


def _signature(kinds: str, result: str, least: int | None = None, most: int = 0) -> Signature:
    words = tuple(kinds.split())
    return Signature(words, result, len(words) if least is None else least, most or len(words))


_TEXT = _signature("text", "VARCHAR")
_TRIM = _signature("text text", "VARCHAR", 1)
_LENGTH = _signature("text", "BIGINT")
_PART = _signature("day", "BIGINT")
_HOLDS = _signature("text text", "BOOLEAN")
_FINITE = _signature("float", "BOOLEAN")

_SIGNATURES: Mapping[str, Signature] = MappingProxyType({
    **dict.fromkeys(("lower", "upper", "lcase", "ucase", "reverse"), _TEXT),
    **dict.fromkeys(("trim", "ltrim", "rtrim"), _TRIM),
    **dict.fromkeys(("length", "len", "strlen", "char_length", "character_length"), _LENGTH),
    **dict.fromkeys(("year", "month", "day", "quarter"), _PART),
    **dict.fromkeys(("contains", "starts_with", "ends_with", "prefix", "suffix"), _HOLDS),
    **dict.fromkeys(("isnan", "isinf", "isfinite"), _FINITE),
    "left": _signature("text number", "VARCHAR"),
    "right": _signature("text number", "VARCHAR"),
    "concat": _signature("text", "VARCHAR", 1, 20),
    "replace": _signature("text text text", "VARCHAR"),
    "translate": _signature("text text text", "VARCHAR"),
    "substring": _signature("text number number", "VARCHAR", 2),
    "split_part": _signature("text text number", "VARCHAR"),
    "nullif": _signature("text text", "VARCHAR"),
})  # fmt: skip


def signature_of(name: str) -> Signature | None:
    """The signature of a total function."""
    return _SIGNATURES.get(name)
