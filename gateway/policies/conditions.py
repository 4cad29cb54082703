"""Conditions and mask expressions: total SQL over the raw row, the subject and the request.

Takes: the text of a condition and a table of a contract. Gives: a `CompiledCondition` whose
columns are bound and whose constants have exactly their column's type. Never accepts a node or a
function that could fail for a value of a fitting type, or that a session's time zone would change
(DESIGN 5, rule 4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import NoReturn

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from catalog.model import Table
from gateway.allowed import check_patterns
from gateway.constants import family, fold
from gateway.decision import CompiledCondition
from gateway.errors import SqluiceError
from gateway.functions import is_aggregate, is_total
from gateway.policies.signatures import signature_of
from gateway.pushable import same_meaning
from gateway.safe_predicates import COMPARISONS
from gateway.volatile import is_volatile

_REQUEST = {"purpose": "VARCHAR", "now": "TIMESTAMP WITH TIME ZONE"}
_SCALARS = frozenset({"subject.user", "request.purpose", "request.now"})
_ZONED = "TIMESTAMP WITH TIME ZONE"
_BOOLEAN_RESULT = (
    exp.And, exp.Or, exp.Not, exp.Is, exp.In, exp.Between, exp.Like, exp.ILike, exp.Escape,
    *COMPARISONS,
)
_LARGEST = 1_000_000
_KEPT = 10_000
_BOUND: dict[tuple[str, str, tuple[tuple[str, str], ...]], CompiledCondition] = {}


class ConditionError(Exception):
    """A condition that cannot be a policy; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Entitled:
    """What conditions over one table may ask entitlements for.

    `types` map `entitlement.column` to a type; `own` are those that read the table itself.
    """

    types: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    single: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    own: frozenset[str] = frozenset()


def compile_condition(
    policy: str,
    text: str,
    table: Table,
    entitled: Entitled | None = None,
    remember: bool = True,
) -> CompiledCondition:
    """The condition bound to a table; raises ConditionError.

    `remember`: for the next table of its shape; not for what only one statement asks for.
    """
    columns = tuple((one.name, one.type) for one in table.columns)
    known = _BOUND.get((text, table.name, columns))
    if known is not None:
        # Nobody changes an expression without copying it, so tables of one shape share it.
        return replace(known, policy=policy)
    binder = _Binder(table, text, entitled or Entitled())
    holder = exp.Paren(this=_parsed(text).copy())
    binder.bind(holder)
    made = binder.compiled(policy, holder)
    if remember and not made.entitlements and len(_BOUND) < _KEPT:
        _BOUND[text, table.name, columns] = made
    return made


def compile_expression(
    policy: str, text: str, table: Table, type_name: str, entitled: Entitled | None = None
) -> CompiledCondition:
    """A mask's expression of exactly the type; raises ConditionError."""
    binder = _Binder(table, text, entitled or Entitled(), type_name)
    holder = exp.Paren(this=_parsed(text).copy())
    binder.bind_value(holder)
    return binder.compiled(policy, holder)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> exp.Expression:
    try:
        tree: exp.Expression = sqlglot.parse_one(text, dialect="duckdb")  # type: ignore[assignment]
    except SqlglotError as error:
        raise ConditionError(f"is no SQL: {str(error).splitlines()[0]}") from None
    return tree


class _Binder:
    """Checks and binds a tree in place."""

    def __init__(self, table: Table, text: str, entitled: Entitled, wanted: str = "") -> None:
        self._table = table
        self._text_of_policy = text
        self._entitled = entitled
        self._wanted = wanted

    def bind(self, holder: exp.Paren) -> None:
        self._names(holder)
        self._boolean(holder.this)
        self._lists(holder)

    def bind_value(self, holder: exp.Paren) -> None:
        """The whole must have the wanted type; a constant becomes one of it."""
        self._names(holder)
        found = self._type(holder.this)
        if found is None:
            self._constant(holder, "this", holder.this, self._wanted)
        elif found != self._wanted:
            self._fail(holder.this, f"is {found}, and the column shows {self._wanted}")
        self._lists(holder)

    def compiled(self, policy: str, holder: exp.Paren) -> CompiledCondition:
        try:
            check_patterns(holder, None)
        except SqluiceError as error:
            raise ConditionError(error.message) from None
        made = holder.this
        needed = frozenset(
            one.name.removeprefix("entitlement.")
            for one in made.find_all(exp.Placeholder)
            if one.name.startswith("entitlement.")
        )
        return CompiledCondition(policy, made, made.sql("duckdb"), needed)

    def _fail(self, node: exp.Expr, message: str) -> NoReturn:
        starts = [
            one.meta["start"] for one in node.walk() if one.meta and "start" in one.meta
        ]
        if not starts:
            # A function without brackets, such as current_date: its name is all there is.
            name = node.sql("duckdb").split("(")[0].strip()
            found = re.search(rf"\b{re.escape(name)}\b", self._text_of_policy, re.IGNORECASE)
            if found is None:
                raise ConditionError(message)
            starts = [found.start()]
        before = self._text_of_policy[: min(starts)]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise ConditionError(f"line {line}, column {column}: {message}")

    def _names(self, holder: exp.Paren) -> None:
        for query in holder.find_all(exp.Query, exp.Exists):
            names = {one.name.casefold() for one in query.find_all(exp.Table)}
            if self._table.name.casefold() in names:
                self._fail(query, f"reads {self._table.name}, its own table: it is recursive")
            self._fail(
                query, "holds a sub-query; write IN (entitlement.<name>) for a declared table"
            )
        window = holder.find(exp.Window)
        if window is not None:
            self._fail(window, "holds a window function; a policy reads one row")
        for column in list(holder.find_all(exp.Column)):
            self._column(column)

    def _column(self, column: exp.Column) -> None:
        scope = column.table.casefold()
        if column.text("db").casefold() == "entitlement" or scope == "entitlement":
            made = self._entitlement(column)
        elif scope == "request":
            name = column.name.casefold()
            if name not in _REQUEST:
                self._fail(column, f"request.{column.name} is not known; there are purpose, now")
            made = exp.Placeholder(this=f"request.{name}")
            made.meta["type"] = _REQUEST[name]
        elif scope == "subject":
            made = exp.Placeholder(this=f"subject.{column.name}")
            made.meta["type"] = "VARCHAR"
        else:
            made = self._own_column(column, scope)
        position = column.this.meta if isinstance(column.this, exp.Identifier) else {}
        made.meta.update(position)
        column.replace(made)

    def _own_column(self, column: exp.Column, scope: str) -> exp.Expression:
        found = self._table.column(column.name)
        if found is None or (scope and scope != self._table.name.casefold()):
            self._fail(column, f"names {column.sql('duckdb')}, which {self._table.name} lacks")
        made = exp.column(found.name, quoted=True)
        made.meta["type"] = found.type
        return made

    def _entitlement(self, column: exp.Column) -> exp.Expression:
        name = column.name if column.table.casefold() == "entitlement" else column.table
        known = self._entitled
        if name in known.own:
            self._fail(column, f"entitlement.{name} reads this very table: it is recursive")
        key = known.single.get(name, "") if name == column.name else f"{name}.{column.name}"
        if key not in known.types:
            choices = ", ".join(f"entitlement.{one}" for one in sorted(known.types)) or "none"
            self._fail(column, f"{column.sql('duckdb')} is not known here; there are: {choices}")
        made = exp.Placeholder(this=f"entitlement.{key}")
        made.meta["type"] = made.meta["of"] = known.types[key]
        return made

    def _lists(self, holder: exp.Paren) -> None:
        """A list of the subject's stands in IN alone: elsewhere nobody could say which value."""
        for one in holder.find_all(exp.Placeholder):
            if one.name not in _SCALARS and not isinstance(one.parent, exp.In):
                self._fail(one, f"{one.name} is a list; compare it by = or IN")

    def _boolean(self, node: exp.Expr) -> None:  # noqa: PLR0912 - one line a node class
        match node:
            case exp.Paren() | exp.Not():
                self._boolean(node.this)
            case exp.And() | exp.Or():
                self._boolean(node.this)
                self._boolean(node.expression)
            case exp.Boolean() | exp.Null():
                return
            case exp.Is():
                if not isinstance(node.expression, exp.Null | exp.Boolean):
                    self._fail(node, "IS takes NULL, TRUE or FALSE")
                self._value(node.this)
            case exp.In():
                self._membership(node)
            case exp.Between():
                self._compare(node, "this", "low")
                self._compare(node, "this", "high")
            case exp.Like() | exp.ILike():
                self._text(node.this)
            case exp.Escape():
                self._boolean(node.this)
            case exp.Column() if node.meta.get("type") == "BOOLEAN":
                return
            case exp.Case() | exp.Coalesce():
                self._value(node)
            case _ if isinstance(node, COMPARISONS):
                self._compare(node, "this", "expression")
            case exp.Func() if self._function(node) == "BOOLEAN":
                return
            case _:
                self._fail(node, f"{node.sql('duckdb')} may fail or is no condition")

    def _compare(self, node: exp.Expr, left_key: str, right_key: str) -> None:
        left, right = node.args[left_key], node.args[right_key]
        left_type, right_type = self._type(left), self._type(right)
        if left_type is not None and right_type is not None:
            if not same_meaning(left_type, right_type):
                self._fail(node, f"compares {left_type} with {right_type}")
        elif left_type is not None:
            self._constant(node, right_key, right, left_type)
        elif right_type is not None:
            self._constant(node, left_key, left, right_type)
        else:
            self._of_subject_only(node, left, right)

    def _of_subject_only(
        self, node: exp.Expr, left: exp.Expression, right: exp.Expression
    ) -> None:
        for one in (left, right):
            plain = isinstance(one, exp.Placeholder) or (
                isinstance(one, exp.Literal) and one.is_string
            )
            if not plain:
                self._fail(node, "compares constants that are no text")
        for one, other in ((left, right), (right, left)):
            if isinstance(one, exp.Placeholder) and one.name not in _SCALARS:
                self._as_membership(node, one, other)
                return

    def _constant(
        self, node: exp.Expr, key: str, value: exp.Expression, type_name: str
    ) -> None:
        if isinstance(value, exp.Placeholder):
            self._typed(value, type_name)
            if value.name not in _SCALARS:
                other = node.this if key == "expression" else node.expression
                self._as_membership(node, value, other)
            return
        if isinstance(value, exp.Null):
            return
        folded = fold(value, type_name, (), "UTC")
        if folded is None:
            self._fail(
                value, f"{value.sql('duckdb')} is no constant of exactly the type {type_name}"
            )
        node.set(key, folded)

    def _as_membership(
        self, node: exp.Expr, value: exp.Placeholder, other: exp.Expression
    ) -> None:
        """Equality with a list means membership."""
        if not isinstance(node, exp.EQ):
            self._fail(value, f"{value.name} is a list; compare it by = or IN")
        node.replace(exp.In(this=other.copy(), expressions=[value.copy()]))

    def _typed(self, value: exp.Placeholder, type_name: str) -> None:
        """The values of a placeholder get the type of what they meet."""
        declared = value.meta.get("of")
        if declared is not None and family(str(declared)) != family(type_name):
            self._fail(value, f"compares {type_name} with {value.name}, which is {declared}")
        value.meta["type"] = type_name

    def _membership(self, node: exp.In) -> None:
        if node.args.get("query") or node.args.get("unnest") or node.args.get("field"):
            self._fail(node, "IN takes constants, subject attributes and entitlements, in brackets")
        type_name = self._type(node.this)
        values: list[exp.Expression] = []
        for one in node.expressions:
            inner: exp.Expression = one.this if isinstance(one, exp.Paren) else one
            if isinstance(inner, exp.Placeholder):
                self._typed(inner, type_name or "VARCHAR")
                values.append(inner)
                continue
            folded = fold(inner, type_name or "VARCHAR", (), "UTC")
            if folded is None:
                self._fail(inner, f"{inner.sql('duckdb')} is no constant of type {type_name}")
            values.append(folded)
        node.set("expressions", values)

    def _text(self, node: exp.Expr) -> None:
        if self._type(node) != "VARCHAR":
            self._fail(node, f"{node.sql('duckdb')} is no text")

    def _value(self, node: exp.Expr) -> None:
        if self._type(node) is None and not isinstance(node, exp.Literal | exp.Null | exp.Boolean):
            self._fail(node, f"the type of {node.sql('duckdb')} is not certain")

    def _type(self, node: exp.Expr) -> str | None:  # noqa: PLR0912 - one line a node class
        """The type of what is no constant; raises for what may fail."""
        match node:
            case exp.Column():
                return str(node.meta["type"])
            case exp.Paren():
                return self._type(node.this)
            case exp.Literal() | exp.Null() | exp.Boolean() | exp.Placeholder() | exp.Neg():
                return None
            case exp.TryCast():
                return self._try_cast(node)
            case exp.Cast() if isinstance(node.this, exp.Literal):
                return None
            case exp.AtTimeZone():
                return self._at_utc(node)
            case exp.Case():
                return self._case(node)
            case exp.Coalesce():
                return self._common(node, [node.this, *node.expressions])
            case _ if isinstance(node, _BOOLEAN_RESULT):
                self._boolean(node)
                return "BOOLEAN"
            case exp.DPipe():
                for one in (node.this, node.expression):
                    if not (isinstance(one, exp.Literal) and one.is_string):
                        self._text(one)
                return "VARCHAR"
            case exp.Func():
                return self._function(node)
            case _:
                self._fail(node, f"{node.sql('duckdb')} may fail; policies use total functions")

    def _try_cast(self, node: exp.TryCast) -> str:
        self._value(node.this)
        made = node.to.sql("duckdb")
        target = {"TEXT": "VARCHAR", "INT": "INTEGER", "TIMESTAMPTZ": _ZONED}.get(made, made)
        source = self._type(node.this) or "VARCHAR"
        if (source == _ZONED) != (target == _ZONED):
            self._fail(node, "depends on the session's time zone; use AT TIME ZONE 'UTC'")
        return target

    def _at_utc(self, node: exp.AtTimeZone) -> str:
        zone = node.args.get("zone")
        if not (isinstance(zone, exp.Literal) and zone.name == "UTC"):
            self._fail(node, "the time zone of a policy is 'UTC'")
        source = self._type(node.this)
        if source not in (_ZONED, "TIMESTAMP"):
            self._fail(node, f"AT TIME ZONE takes a timestamp, not {source}")
        return "TIMESTAMP" if source == _ZONED else _ZONED

    def _case(self, node: exp.Case) -> str | None:
        if node.this is not None:
            self._fail(node, "write CASE WHEN condition THEN ..., not CASE value WHEN")
        for one in node.args["ifs"]:
            self._boolean(one.this)
        branches = [one.args["true"] for one in node.args["ifs"]]
        return self._common(node, [*branches, node.args.get("default")])

    def _common(self, whole: exp.Expr, nodes: list[exp.Expression | None]) -> str | None:
        types = {self._type(one) for one in nodes if one is not None}
        types.discard(None)
        if not types and self._wanted:
            types = {self._wanted}
        if len(types) != 1:
            self._fail(whole, "branches differ in type")
        name = types.pop()
        for one in nodes:
            if one is None or self._type(one) is not None or isinstance(one, exp.Null):
                continue
            folded = fold(one, name or "", (), "UTC")
            if folded is None:
                self._fail(one, f"{one.sql('duckdb')} is no {name}")
            one.replace(folded)
        return name

    def _function(self, node: exp.Expr) -> str | None:
        name = node.sql("duckdb").split("(")[0].strip().casefold()
        if is_aggregate(name) or isinstance(node, exp.AggFunc):
            self._fail(node, f"{name} is an aggregate, and may fail; a policy reads one row")
        if isinstance(node, exp.Expression) and is_volatile(node):
            self._fail(node, f"{name} is volatile, and may fail to repeat; use request.now")
        signature = signature_of(name)
        if not is_total(name) or signature is None:
            self._fail(node, f"{name} may fail; policies use total functions only")
        arguments = [one for one in node.iter_expressions() if not isinstance(one, exp.Var)]
        if not signature.least <= len(arguments) <= signature.most:
            self._fail(node, f"{name} takes {signature.least} to {signature.most} arguments")
        for number, one in enumerate(arguments):
            self._argument(one, signature.kind(number), name)
        return signature.result or self._type(arguments[0])

    def _argument(self, node: exp.Expr, kind: str, name: str) -> None:
        literal = isinstance(node, exp.Literal)
        if kind == "number":
            sign = node.this if isinstance(node, exp.Neg) else node
            whole = isinstance(sign, exp.Literal) and sign.name.isdigit()
            if not whole or int(sign.name) > _LARGEST:
                self._fail(node, f"{name} takes a whole number here, at most {_LARGEST}")
        elif kind == "text":
            if not (literal and node.is_string) and not (
                isinstance(node, exp.Placeholder) and node.name in _SCALARS
            ):
                self._text(node)
        elif kind == "day":
            found = self._type(node)
            if found not in ("DATE", "TIMESTAMP", _ZONED):
                self._fail(node, f"{name} takes a date or a timestamp, not {found}")
            if found == _ZONED:
                # Read in UTC: the caller's time zone must not choose his rows.
                utc = exp.AtTimeZone(this=node.copy(), zone=exp.Literal.string("UTC"))
                node.replace(exp.Paren(this=utc))
        else:
            found = self._type(node)
            if found is not None and family(found) not in ("DOUBLE", "REAL", "FLOAT"):
                self._fail(node, f"{name} takes a floating-point number, not {found}")
