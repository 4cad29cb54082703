"""Conditions of policies: total SQL over the raw row, the subject and the request.

Takes: the text of a condition and a table of a contract. Gives: a `CompiledCondition` whose
columns are bound and whose constants have exactly their column's type. Never accepts a node or a
function that could fail for a value of a fitting type (DESIGN 5, rule 4).
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from catalog.model import Table
from gateway.allowed import check_patterns
from gateway.constants import family, fold
from gateway.decision import CompiledCondition
from gateway.errors import SqluiceError
from gateway.functions import is_total
from gateway.pushable import COMPARISONS, same_meaning

_SUBJECTS = ("subject", "request")
_REQUEST = {"purpose": "VARCHAR", "now": "TIMESTAMP WITH TIME ZONE"}
_TEXT_RESULT = (exp.Lower, exp.Upper, exp.Trim, exp.Left, exp.Right, exp.Concat, exp.DPipe)
_BOOLEAN_RESULT = (
    exp.And,
    exp.Or,
    exp.Not,
    exp.Is,
    exp.In,
    exp.Between,
    exp.Like,
    exp.ILike,
    exp.Escape,
    *COMPARISONS,
)
_DATE_PARTS = (exp.Year, exp.Month, exp.Day, exp.Quarter)
_ZONED = "TIMESTAMP WITH TIME ZONE"


class ConditionError(Exception):
    """A condition that cannot be a policy; the text says why."""


def compile_condition(policy: str, text: str, table: Table) -> CompiledCondition:
    """The condition bound to a table; raises ConditionError."""
    try:
        tree = sqlglot.parse_one(text, dialect="duckdb")
    except SqlglotError as error:
        raise ConditionError(f"is no SQL: {str(error).splitlines()[0]}") from None
    holder = exp.Paren(this=tree)
    _Binder(table).bind(holder)
    try:
        check_patterns(holder, None)
    except SqluiceError as error:
        raise ConditionError(error.message) from None
    made = holder.this
    return CompiledCondition(policy, made, made.sql("duckdb"))


class _Binder:
    """Checks and binds a tree in place."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def bind(self, holder: exp.Expression) -> None:
        if holder.find(exp.Query):
            raise ConditionError("holds a sub-query; only declared entitlement tables may be one")
        for column in list(holder.find_all(exp.Column)):
            self._column(column)
        self._boolean(holder.this)

    def _column(self, column: exp.Column) -> None:
        scope = column.table.casefold()
        if scope in _SUBJECTS:
            if scope == "request" and column.name.casefold() not in _REQUEST:
                raise ConditionError(f"request.{column.name} is not known; there are purpose, now")
            name = f"{scope}.{column.name if scope == 'subject' else column.name.casefold()}"
            made = exp.Placeholder(this=name)
            made.meta["type"] = _REQUEST.get(column.name.casefold(), "VARCHAR")
            column.replace(made)
            return
        found = self._table.column(column.name)
        if found is None or (scope and scope != self._table.name.casefold()):
            raise ConditionError(f"names {column.sql('duckdb')}, which {self._table.name} lacks")
        made_column = exp.column(found.name, quoted=True)
        made_column.meta["type"] = found.type
        column.replace(made_column)

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
                    raise ConditionError("IS takes NULL, TRUE or FALSE")
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
            case exp.StartsWith() | exp.EndsWith() | exp.Contains():
                self._text(node.this)
                self._text_or_constant(node.expression)
            case _:
                raise ConditionError(f"{node.sql('duckdb')} may fail or is no condition")

    def _compare(self, node: exp.Expr, left_key: str, right_key: str) -> None:
        left, right = node.args[left_key], node.args[right_key]
        left_type, right_type = self._type(left), self._type(right)
        if left_type is not None and right_type is not None:
            if not same_meaning(left_type, right_type):
                raise ConditionError(f"compares {left_type} with {right_type}")
        elif left_type is not None:
            self._constant(node, right_key, right, left_type)
        elif right_type is not None:
            self._constant(node, left_key, left, right_type)
        else:
            self._of_subject_only(left, right)

    def _of_subject_only(self, left: exp.Expression, right: exp.Expression) -> None:
        for one in (left, right):
            plain = isinstance(one, exp.Placeholder) or (
                isinstance(one, exp.Literal) and one.is_string
            )
            if not plain:
                raise ConditionError("compares constants that are no text")

    def _constant(self, node: exp.Expr, key: str, value: exp.Expression, type_name: str) -> None:
        if isinstance(value, exp.Placeholder):
            value.meta["type"] = type_name
            if value.name.startswith("subject.") and value.name not in ("subject.user",):
                # A list: equality means membership.
                if not isinstance(node, exp.EQ):
                    raise ConditionError(f"{value.name} is a list; compare it by = or IN")
                other = node.this if key == "expression" else node.expression
                node.replace(exp.In(this=other.copy(), expressions=[value.copy()]))
            return
        if isinstance(value, exp.Null):
            return
        folded = fold(value, type_name, (), "UTC")
        if folded is None:
            raise ConditionError(
                f"{value.sql('duckdb')} is no constant of exactly the type {type_name}"
            )
        node.set(key, folded)

    def _membership(self, node: exp.In) -> None:
        if node.args.get("query") or node.args.get("unnest") or node.args.get("field"):
            raise ConditionError("IN takes constants and subject attributes")
        type_name = self._type(node.this)
        values: list[exp.Expression] = []
        for one in node.expressions:
            inner: exp.Expression = one.this if isinstance(one, exp.Paren) else one
            if isinstance(inner, exp.Placeholder):
                inner.meta["type"] = type_name or "VARCHAR"
                values.append(inner)
                continue
            folded = fold(inner, type_name or "VARCHAR", (), "UTC")
            if folded is None:
                raise ConditionError(f"{inner.sql('duckdb')} is no constant of type {type_name}")
            values.append(folded)
        node.set("expressions", values)

    def _text(self, node: exp.Expr) -> None:
        if self._type(node) != "VARCHAR":
            raise ConditionError(f"{node.sql('duckdb')} is no text")

    def _text_or_constant(self, node: exp.Expr) -> None:
        """Text, or a literal: of other types the text would depend on the caller's settings."""
        if not (isinstance(node, exp.Literal) and node.is_string):
            self._text(node)

    def _value(self, node: exp.Expr) -> None:
        if self._type(node) is None and not isinstance(node, exp.Literal | exp.Null | exp.Boolean):
            raise ConditionError(f"the type of {node.sql('duckdb')} is not certain")

    def _type(self, node: exp.Expr) -> str | None:
        """The type of what is no constant; raises for what may fail."""
        match node:
            case exp.Column():
                return str(node.meta["type"])
            case exp.Paren():
                return self._type(node.this)
            case exp.Literal() | exp.Null() | exp.Boolean() | exp.Placeholder() | exp.Neg():
                return None
            case exp.Cast() if isinstance(node.this, exp.Literal) and not isinstance(
                node, exp.TryCast
            ):
                return None
            case exp.TryCast():
                return self._cast(node)
            case exp.Case():
                for one in node.args["ifs"]:
                    self._boolean(one.this)
                return self._common(
                    [one.args["true"] for one in node.args["ifs"]] + [node.args.get("default")]
                )
            case exp.Coalesce():
                return self._common([node.this, *node.expressions])
            case _ if isinstance(node, _BOOLEAN_RESULT):
                self._boolean(node)
                return "BOOLEAN"
            case exp.Func():
                return self._function(node)
            case exp.DPipe():
                self._text_or_constant(node.this)
                self._text_or_constant(node.expression)
                return "VARCHAR"
            case _:
                raise ConditionError(f"{node.sql('duckdb')} may fail; policies use total functions")

    def _cast(self, node: exp.TryCast) -> str:
        self._value(node.this)
        target = node.to.sql("duckdb")
        zoned = (self._type(node.this) == _ZONED) + (target in ("TIMESTAMPTZ", _ZONED))
        if zoned:
            raise ConditionError(f"{node.sql('duckdb')} depends on the caller's time zone")
        return {"TEXT": "VARCHAR", "INT": "INTEGER"}.get(target, target)

    def _common(self, nodes: list[exp.Expression | None]) -> str | None:
        types = {self._type(one) for one in nodes if one is not None}
        types.discard(None)
        if len(types) != 1:
            raise ConditionError("branches differ in type")
        name = types.pop()
        for one in nodes:
            if isinstance(one, exp.Literal) and fold(one, name or "", (), "UTC") is None:
                raise ConditionError(f"{one.sql('duckdb')} is no {name}")
        return name

    def _function(self, node: exp.Expr) -> str | None:
        name = node.sql("duckdb").split("(")[0].strip().casefold()
        if not is_total(name):
            raise ConditionError(f"{name} may fail; policies use total functions only")
        if isinstance(node, _DATE_PARTS):
            return self._date_part(node)
        for argument in node.iter_expressions():
            if not isinstance(argument, exp.Literal | exp.Var | exp.Null):
                self._type(argument)
        if isinstance(node, exp.Concat):
            for argument in node.expressions:
                self._text_or_constant(argument)
            return "VARCHAR"
        if isinstance(node, _TEXT_RESULT):
            self._text(node.this)
            return "VARCHAR"
        if isinstance(node, exp.Length):
            self._text(node.this)
            return "BIGINT"
        inner = self._type(node.this) if isinstance(node.this, exp.Expression) else None
        # Zoned ones are left out: what a period of them is depends on the caller's time zone.
        if inner is None or family(inner) not in ("DATE", "TIMESTAMP"):
            raise ConditionError(f"the type of {name} is not certain")
        return inner

    def _date_part(self, node: exp.Func) -> str:
        """Of a zoned timestamp in UTC: the caller's time zone must not choose his rows."""
        if isinstance(node.this, exp.Paren) and isinstance(node.this.this, exp.AtTimeZone):
            return "BIGINT"
        kind = self._type(node.this)
        if kind not in ("DATE", "TIMESTAMP", _ZONED):
            raise ConditionError(f"{node.sql('duckdb')} takes a date or a timestamp")
        if kind == _ZONED:
            utc = exp.AtTimeZone(this=node.this.copy(), zone=exp.Literal.string("UTC"))
            node.set("this", exp.Paren(this=utc))
        return "BIGINT"
