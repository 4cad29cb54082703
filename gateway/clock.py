"""The clock of a statement is read once, by the gateway.

Takes: a bound tree, a request. Gives: the tree in which every reading of the clock is a parameter
after the caller's own, and the values of those. So one statement has one time at every source, and
a plan that is used again binds another. Never reads a clock: the request carries the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

from sqlglot import exp

from gateway.request import Request

_NODES: Mapping[type[exp.Expr], str] = MappingProxyType(
    {
        exp.CurrentTimestamp: "now",
        exp.CurrentDate: "today",
        exp.Localtimestamp: "localtimestamp",
        exp.Localtime: "localtime",
    }
)
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "now": "now",
        "get_current_timestamp": "now",
        "transaction_timestamp": "now",
        "today": "today",
        "current_localtimestamp": "localtimestamp",
        "current_localtime": "localtime",
    }
)
_READINGS: Mapping[str, Callable[[datetime], object]] = MappingProxyType(
    {
        "now": lambda local: local,
        "today": lambda local: local.date(),
        "localtimestamp": lambda local: local.replace(tzinfo=None, fold=0),
        "localtime": lambda local: local.time().replace(fold=0),
    }
)


def without_clock(
    tree: exp.Expression, parameters: int
) -> tuple[exp.Expression, tuple[str, ...]]:
    """The tree with parameters numbered after the first ones, and what each of them reads."""
    if not any(_reading(one) for one in tree.find_all(exp.Anonymous, *_NODES)):
        return tree, ()
    root = exp.Paren(this=tree.copy())
    kinds: list[str] = []
    for node in list(root.walk()):
        kind = _reading(node)
        if kind is None:
            continue
        if kind not in kinds:
            kinds.append(kind)
        number = parameters + 1 + kinds.index(kind)
        node.replace(exp.Parameter(this=exp.Literal.number(number)))
    made: exp.Expression = root.this.pop()
    return made, tuple(kinds)


def _reading(node: exp.Expr) -> str | None:
    if isinstance(node, exp.Anonymous):
        return None if node.expressions else _NAMES.get(node.name.casefold())
    kind = _NODES.get(type(node))
    return None if kind is None or node.args.get("this") is not None else kind


def readings(kinds: tuple[str, ...], request: Request) -> tuple[object, ...]:
    """What the request's clock shows in its time zone."""
    if not kinds:
        return ()
    local = request.now.astimezone(ZoneInfo(request.timezone))
    return tuple(_READINGS[kind](local) for kind in kinds)
