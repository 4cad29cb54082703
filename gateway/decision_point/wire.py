"""Questions and answers in the words of Trino's plugin for OPA.

Takes: who asks, why, tables and columns. Gives: `Inquiry` values: the bodies of the calls and what
their answers mean. Never sends anything; an answer that says anything but what the words allow is
no answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from gateway import __version__
from gateway.constants import decimal_shape, family
from gateway.request import Principal
from gateway.resolve import Address

Meaning = TypeVar("Meaning")
Resource = Mapping[str, object]
_SIMPLE = {
    "FLOAT": "real", "BLOB": "varbinary", "HUGEINT": "decimal(38,0)", "UBIGINT": "decimal(20,0)",
    "UTINYINT": "smallint", "USMALLINT": "integer", "UINTEGER": "bigint", "TIME": "time(6)",
    "TIMESTAMP": "timestamp(6)", "TIMESTAMP WITH TIME ZONE": "timestamp(6) with time zone",
}  # fmt: skip


class AnswerError(Exception):
    """An answer that is none. The text is for operators: it names the question, never a value."""


@dataclass(frozen=True, slots=True)
class Question:
    """One call: `key` of the address in the settings, and the body."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Inquiry(Generic[Meaning]):
    """What one wants to know: the calls that it takes, and what their answers mean together."""

    questions: tuple[Question, ...]
    meaning: Callable[[Sequence[object]], Meaning]


@dataclass(frozen=True, slots=True)
class Wire:
    """Makes inquiries for one asker. `keys` are the addresses that the settings name."""

    principal: Principal
    purpose: str | None
    keys: frozenset[str]

    def may_execute(self) -> Inquiry[bool]:
        """Whether he may run statements at all."""
        question = self._question("url", {"operation": "ExecuteQuery"})
        return Inquiry((question,), lambda found: _permitted(found[0], "ExecuteQuery"))

    def may(self, operation: str, resources: Sequence[Resource]) -> Inquiry[tuple[bool, ...]]:
        """Which of the resources he may use: one call where they can be asked together."""
        if "batched_url" not in self.keys or not resources:
            questions = tuple(
                self._question("url", {"operation": operation, "resource": one})
                for one in resources
            )
            return Inquiry(
                questions, lambda found: tuple(_permitted(one, operation) for one in found)
            )
        action = {"operation": operation, "filterResources": list(resources)}
        return Inquiry(
            (self._question("batched_url", action),),
            lambda found: _chosen(found[0], len(resources), operation),
        )

    def columns(self, address: Address, names: Sequence[str]) -> Inquiry[tuple[bool, ...]]:
        """Which columns of a table he may know of."""
        operation = "FilterColumns"
        if "batched_url" not in self.keys:
            return self.may(operation, [table(address, [one]) for one in names])
        action = {"operation": operation, "filterResources": [table(address, names)]}
        return Inquiry(
            (self._question("batched_url", action),),
            lambda found: _chosen(found[0], len(names), operation),
        )

    def row_filters(self, address: Address) -> Inquiry[tuple[str, ...]]:
        """The conditions that rows of a table must meet."""
        if "row_filters_url" not in self.keys:
            return Inquiry((), lambda _: ())
        action = {"operation": "GetRowFilters", "resource": table(address)}
        return Inquiry(
            (self._question("row_filters_url", action),),
            lambda found: self._filters(found[0], str(address)),
        )

    def masks(
        self, columns: Sequence[tuple[Address, str, str]]
    ) -> Inquiry[Mapping[tuple[Address, str], str]]:
        """What is shown instead of columns, given as (table, name, type)."""
        operation, user = "GetColumnMask", self.principal.user
        resources = [_column(*one) for one in columns]
        if "batched_column_masks_url" in self.keys and columns:
            action = {"operation": operation, "filterResources": resources}
            return Inquiry(
                (self._question("batched_column_masks_url", action),),
                lambda found: {
                    columns[number][:2]: text
                    for number, text in _indexed(found[0], len(columns), user).items()
                },
            )
        if "column_masks_url" not in self.keys:
            return Inquiry((), lambda _: {})
        questions = tuple(
            self._question("column_masks_url", {"operation": operation, "resource": one})
            for one in resources
        )
        return Inquiry(
            questions,
            lambda found: {
                column[:2]: text
                for column, one in zip(columns, found, strict=True)
                if (text := _mask(one, user)) is not None
            },
        )

    def _filters(self, answer: object, subject: str) -> tuple[str, ...]:
        found = _result(answer, f"the row filters of {subject}", list)
        return tuple(_expression(one, self.principal.user) for one in found)

    def _question(self, key: str, action: Mapping[str, object]) -> Question:
        context: dict[str, object] = {
            "identity": {
                "user": self.principal.user,
                "principal": self.principal.user,
                "groups": sorted(self.principal.groups),
            },
            "softwareStack": {"trinoVersion": f"sqluice {__version__}"},
        }
        if self.purpose is not None:
            context["properties"] = {"purpose": self.purpose}
        body = {"input": {"context": context, "action": action}}
        return Question(key, json.dumps(body, sort_keys=True).encode())


def catalog(domain: str) -> Resource:
    """A domain, as a catalog."""
    return {"catalog": {"name": domain}}


def table(address: Address, columns: Sequence[str] | None = None) -> Resource:
    """A table, and which of its columns."""
    named: dict[str, object] = {
        "catalogName": address.domain,
        "schemaName": address.product,
        "tableName": address.table,
    }
    if columns is not None:
        named["columns"] = list(columns)
    return {"table": named}


def _column(address: Address, name: str, type_name: str) -> Resource:
    return {
        "column": {
            "catalogName": address.domain,
            "schemaName": address.product,
            "tableName": address.table,
            "columnName": name,
            "columnType": trino_type(type_name),
        }
    }


def trino_type(type_name: str) -> str:
    """A DuckDB type as Trino writes it."""
    if family(type_name) == "DECIMAL":
        precision, scale = decimal_shape(type_name)
        return f"decimal({precision},{scale})"
    return _SIMPLE.get(type_name, type_name.lower())


Wanted = TypeVar("Wanted")


def _result(answer: object, what: str, kind: type[Wanted]) -> Wanted:
    """What stands under `result`; OPA leaves it out where a rule is undefined."""
    if not isinstance(answer, dict):
        raise AnswerError(f"the answer to {what} is no JSON object")
    if "result" not in answer:
        raise AnswerError(f"the answer to {what} has no result: is the rule defined?")
    found = answer["result"]
    if type(found) is not kind:
        raise AnswerError(f"the result for {what} is no {kind.__name__}")
    return found


def _permitted(answer: object, what: str) -> bool:
    return _result(answer, what, bool)


def _chosen(answer: object, count: int, what: str) -> tuple[bool, ...]:
    """The positions of a list, as yes or no for each."""
    found: list[object] = _result(answer, what, list)
    chosen = [_position(one, count, what) for one in found]
    if len(set(chosen)) != len(chosen):
        raise AnswerError(f"the result for {what} names a position twice")
    return tuple(number in chosen for number in range(count))


def _position(value: object, count: int, what: str) -> int:
    if type(value) is not int or not 0 <= value < count:
        raise AnswerError(f"the result for {what} names a position that was not asked for")
    return value


def _indexed(answer: object, count: int, user: str) -> Mapping[int, str]:
    what = "GetColumnMask"
    found: dict[int, str] = {}
    for one in _result(answer, what, list):
        if not isinstance(one, dict) or set(one) != {"index", "viewExpression"}:
            raise AnswerError(f"an item of the result for {what} is no index with viewExpression")
        number = _position(one["index"], count, what)
        if number in found:
            raise AnswerError(f"the result for {what} names a position twice")
        found[number] = _expression(one["viewExpression"], user)
    return found


def _mask(answer: object, user: str) -> str | None:
    """One column's mask; none is said by null, since an undefined rule may as well be misspelt."""
    if isinstance(answer, dict) and answer.get("result", "") is None:
        return None
    return _expression(_result(answer, "GetColumnMask", dict), user)


def _expression(value: object, user: str) -> str:
    if not isinstance(value, dict) or not set(value) <= {"expression", "identity"}:
        raise AnswerError("an expression is no object with expression and identity")
    text, identity = value.get("expression"), value.get("identity")
    if not isinstance(text, str):
        raise AnswerError("an expression is no text")
    if identity is not None and identity != user:
        raise AnswerError("an expression is to run as somebody else; nothing here runs as others")
    return text
