"""Plans that were made before, by what shaped them.

Takes: a request, its resolved tables and its decision. Gives: the `Key` of its plan, the values
that a plan may be made with, remembered forms, and a plan with other parameters in the places of
the earlier ones. Never gives a plan that was made for another decision, revision, time zone or
types of parameters (DESIGN 6), nor one that rests on a value that its key does not hold.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from sqlglot import exp

from gateway.constants import example_of, type_of_value, value_at_source
from gateway.decision import Decision
from gateway.draft import Plan, PlannedFragment
from gateway.request import Request
from gateway.resolve import Address, ResolvedQuery
from gateway.safe_predicates import COMPARISONS

KEPT = 512
# Longer ones are planned each time.
_LONGEST = 20_000
# Where a value shapes neither the plan nor the types of the answer.
_PLAIN = (*COMPARISONS, exp.Between, exp.In, exp.Limit, exp.Offset)
Form = TypeVar("Form")


@dataclass(frozen=True, slots=True)
class Key:
    """All that shapes a plan.

    `tables` is what each reference means, in the text's order: one name may mean two majors to two
    callers who may query both. `parameters` are types; where a parameter stands elsewhere than
    beside a comparison, values. `editions` are those of the sources' abilities, and of what was
    counted under the decision. `is_described`: only the shape of the answer was asked for.
    """

    sql: str
    dialect: str
    domain: str | None
    timezone: str
    options: tuple[bool | str, ...]
    tables: tuple[Address, ...]
    decision: str
    parameters: tuple[object, ...]
    editions: tuple[int, ...] = ()
    is_described: bool = False


def key_of(
    request: Request,
    resolved: ResolvedQuery,
    decision: Decision,
    editions: tuple[int, ...] = (),
    shaping_of: Callable[[exp.Expression], frozenset[int]] | None = None,
) -> Key | None:
    """The key of a request's plan; None where a value cannot be part of a key, or is too long.

    `shaping_of` may remember what `shaping_parameters` says of a tree.
    """
    if _size(request) > _LONGEST:
        return None
    types = [type_of_value(one) for one in request.parameters]
    free = (shaping_of or shaping_parameters)(resolved.tree) if types else frozenset()
    shaping: list[object] = []
    for number, (kind, value) in enumerate(zip(types, request.parameters, strict=True), start=1):
        if kind is None:
            return None
        shaping.append((kind, repr(value)) if number in free else kind)
    return Key(
        request.sql,
        request.dialect,
        request.domain,
        request.timezone,
        (request.push_down, request.require_pushdown, request.link_cost),
        resolved.references,
        decision.fingerprint,
        tuple(shaping),
        editions,
    )


def examples(key: Key, values: tuple[object, ...]) -> tuple[object, ...]:
    """The values of a request as far as its key tells them, and for the others some of their types.

    What is made with these follows from the key alone: whoever finds it learns of no other value.
    """
    held = zip(key.parameters, values, strict=True)
    return tuple(value if isinstance(one, tuple) else example_of(value) for one, value in held)


def for_these_values(key: Key, values: tuple[object, ...]) -> Key:
    """The key of what is made for these values alone."""
    held = zip(key.parameters, values, strict=True)
    return replace(
        key,
        parameters=tuple(one if isinstance(one, tuple) else (one, repr(v)) for one, v in held),
    )


def _size(request: Request) -> int:
    """Characters and bytes that a plan would keep: what is remembered must stay small."""
    texts = (len(one) for one in request.parameters if isinstance(one, str | bytes))
    return len(request.sql) + 8 * len(request.parameters) + sum(texts)


def shaping_parameters(tree: exp.Expression) -> frozenset[int]:
    """The numbers of the parameters whose values may shape the answer's types."""
    found: set[int] = set()
    for node in tree.find_all(exp.Parameter):
        holder = node.parent
        while isinstance(holder, exp.Paren | exp.Neg):
            holder = holder.parent
        if not isinstance(holder, _PLAIN):
            found.add(int(node.name))
    return frozenset(found)


class PlanCache(Generic[Form]):
    """Forms by key, the latest used; thread-safe."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._forms: OrderedDict[Key, Form] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Form | None:
        """What was kept under a key."""
        with self._lock:
            found = self._forms.get(key)
            if found is not None:
                self._forms.move_to_end(key)
            return found

    def put(self, key: Key, form: Form) -> None:
        """Keep a form, and forget the one that was used longest ago."""
        with self._lock:
            self._forms[key] = form
            self._forms.move_to_end(key)
            while len(self._forms) > self._kept:
                self._forms.popitem(last=False)


class Remembered(Generic[Form]):
    """What a function makes of values that never change, by their identity; thread-safe.

    Texts count by what they say. It holds on to the values, so that no other gets their identity.
    """

    def __init__(self, make: Callable[..., Form], kept: int = KEPT) -> None:
        self._make = make
        self._kept = kept
        self._known: OrderedDict[tuple[object, ...], tuple[object, Form]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, *given: object) -> Form:
        """What the function makes of them; an error is not remembered."""
        key = tuple([one if isinstance(one, str) else id(one) for one in given])
        with self._lock:
            found = self._known.get(key)
            if found is not None:
                self._known.move_to_end(key)
                return found[1]
        made = self._make(*given)
        with self._lock:
            self._known[key] = (given, made)
            while len(self._known) > self._kept:
                self._known.popitem(last=False)
        return made


def with_parameters(plan: Plan, parameters: tuple[object, ...], timezone: str) -> Plan | None:
    """The plan with other values bound; None where one does not fit where it was pushed to."""
    if not parameters:
        return plan
    made: list[PlannedFragment] = []
    for one in plan.fragments:
        values = _values(one, parameters, timezone)
        if values is None or one.groups is not None:
            return None
        made.append(replace(one, fragment=replace(one.fragment, parameters=values)))
    return replace(plan, fragments=tuple(made))


def _values(
    one: PlannedFragment, parameters: tuple[object, ...], timezone: str
) -> tuple[object, ...] | None:
    """What a fragment binds for these parameters; None where one does not fit."""
    values: list[object] = []
    fragment = one.fragment
    for constant, kind, known in zip(
        one.constants, fragment.parameter_types, fragment.parameters, strict=True
    ):
        value = known if constant is None else value_at_source(constant, kind, parameters, timezone)
        if value is None and kind:
            return None
        values.append(value)
    return tuple(values)
