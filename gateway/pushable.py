"""What a source may take over.

Takes: an expression, the types of its columns, a source's abilities. Gives: `refusal`, a reason
code where the source must not evaluate the expression (DESIGN 6). Never changes the expression: use
`folded` for the form that is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time

from sqlglot import exp

from connectors.base import Abilities
from gateway.computed import ZONED, TypedText, name_of_type
from gateway.constants import INTEGERS, bound_parameter, family, fold, value_of
from gateway.doubles import common_type, is_exact
from gateway.safe_predicates import COMPARISONS, TypeOf, is_safe
from gateway.spelling import (
    ARITHMETIC,
    ORDERINGS,
    PART_FUNCTIONS,
    TOTAL_CASTS,
    TRUNCATIONS,
    as_position,
    decimal_result,
    form_refusal,
    name_of,
    part_of,
    spelled,
)
from gateway.trees import text_of
from gateway.volatile import is_volatile
from gateway.windows import WINDOW_INTEGERS, window_refusal

_SAME_TYPE = (
    exp.Paren, exp.Alias, exp.Filter, exp.Abs, exp.Neg, exp.Nullif, exp.Window, exp.Lag, exp.Lead,
)  # fmt: skip
_RESULTS: tuple[tuple[tuple[type[exp.Expr], ...], str], ...] = (
    (
        (
            exp.Count, exp.Length, exp.StrPosition, exp.Extract, *PART_FUNCTIONS,
            *WINDOW_INTEGERS,
        ),
        "BIGINT",
    ),
    ((exp.Avg, exp.Div), "DOUBLE"),
    ((exp.Left, exp.Right, exp.Substring, exp.Replace, exp.DPipe, exp.Concat), "VARCHAR"),
    (
        (
            exp.And, exp.Or, exp.Not, exp.Is, exp.In, exp.Between, exp.StartsWith, exp.Like,
            *COMPARISONS,
        ),
        "BOOLEAN",
    ),
)


@dataclass(frozen=True, slots=True)
class Checker:
    """The question "may this source evaluate that?" for one statement.

    type_of: the DuckDB type of a column, None where unknown. parameters, timezone: what
    constants mean. is_policy: it must not fail on any value that a source can hold, also on one
    that the contract's type has not: a policy that fails tells of hidden rows.
    """

    abilities: Abilities
    type_of: TypeOf
    parameters: tuple[object, ...]
    timezone: str
    is_policy: bool = False

    def refusal(self, expression: exp.Expression) -> str | None:
        """A reason code where the source cannot evaluate it with identical meaning, else None."""
        if is_volatile(expression):
            return "volatile"
        if self.abilities.is_reference:
            if mixes_collations(expression, self.abilities):
                return "collation"
            return self._zone_refusal(expression)
        return self._refusal(expression)

    def _zone_refusal(self, expression: exp.Expression) -> str | None:
        """Sources keep to UTC; in a session of another zone only what reads no zone goes there."""
        if self.timezone == "UTC" or is_safe(expression, lambda _: True, self):
            return None
        columns = expression.find_all(exp.Column)
        types = [self.type_of(one) or "TIME ZONE" for one in columns]
        return "timezone" if reads_zone(expression, types, self.parameters) else None

    def _refusal(self, node: exp.Expression) -> str | None:
        match node:
            case exp.Paren() | exp.Not():
                return self._refusal(node.this)
            case exp.And() | exp.Or():
                return self._refusal(node.this) or self._refusal(node.expression)
            case exp.Boolean() | exp.Null():
                return None
            case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
                return self._comparison(node, node.this, node.expression)
            case exp.NullSafeEQ() | exp.NullSafeNEQ():
                return self._comparison(node, node.this, node.expression)
            case exp.Between():
                return self._comparison(node, node.this, node.args["low"]) or self._comparison(
                    node, node.this, node.args["high"]
                )
            case exp.In():
                return self._membership(node)
            case exp.Is():
                null = isinstance(node.expression, exp.Null | exp.Boolean)
                return self._refusal(node.this) if null else "function_not_identical"
            case _:
                return self._value(node)

    def _comparison(
        self, node: exp.Expression, left: exp.Expression, right: exp.Expression
    ) -> str | None:
        if isinstance(node, exp.NullSafeEQ | exp.NullSafeNEQ) and (
            type(node).__name__ not in self.abilities.functions and not self.abilities.can_filter
        ):
            return "function_not_identical"
        left_type, right_type = self._compared_type(left), self._compared_type(right)
        if left_type is None and right_type is not None:
            left, right, left_type, right_type = right, left, right_type, left_type
        if left_type is None:
            return "type_unknown"
        if self._kind(left_type) not in self.abilities.comparable:
            return "collation" if left_type == "VARCHAR" else "type_not_comparable"
        if right_type is None:
            if fold(right, left_type, self.parameters, self.timezone) is None:
                return "constant_not_exact"
            return self._value(left)
        if not (
            same_meaning(left_type, right_type)
            or (isinstance(node, ORDERINGS) and self.mixes(left, right))
        ):
            return "type_mismatch"
        return self._value(left) or self._value(right)

    def mixes(self, left: exp.Expression, right: exp.Expression) -> bool:
        """Whether two numbers of different kinds compare as in the merge engine, in one type."""
        one, other = (self.type_name(side) or "" for side in (left, right))
        target = common_type(one, other)
        if target is None or self.is_policy:
            return False
        kinds = {family(one), family(other), family(target)}
        casts = {f"{kind}>{family(target)}" for kind in kinds - {family(target)}}
        if not (kinds <= self.abilities.comparable and casts <= self.abilities.casts):
            return False
        return target != "DOUBLE" or (
            "Div" in self.abilities.functions
            and all(is_exact(side, self.type_name) for side in (left, right))
        )

    @property
    def has_doubles(self) -> bool:
        """Whether a decimal becomes the same double there, so that a mean may be a division."""
        return "DECIMAL>DOUBLE" in self.abilities.casts

    def _compared_type(self, node: exp.Expression) -> str | None:
        """The type of a side of a comparison; None also for sums and casts of constants."""
        is_constant = not isinstance(node, exp.Column) and node.find(exp.Column) is None
        if is_constant and value_of(node, self.parameters, self.timezone) is not None:
            return None
        return self.type_name(node)

    def _membership(self, node: exp.In) -> str | None:
        if node.args.get("query") or node.args.get("unnest") or node.args.get("field"):
            return "subquery"
        if len(node.expressions) > self.abilities.maximum_list:
            return "list_too_long"
        for one in node.expressions:
            if self._compared_type(one) is not None:
                return "type_mismatch"
            reason = self._comparison(node, node.this, one)
            if reason:
                return reason
        return None

    def _value(self, node: exp.Expression) -> str | None:
        if isinstance(node, exp.Column):
            return None if self.type_of(node) else "type_unknown"
        if isinstance(node, exp.Paren):
            return self._value(node.this)
        if isinstance(node, exp.Literal | exp.Null | exp.Boolean):
            return None
        if isinstance(node, exp.Filter):
            return self._value(node.this) or self._refusal(node.expression.this)
        if isinstance(node, exp.Window):
            return window_refusal(node, self.abilities, self._value, self.type_name)
        if isinstance(node, exp.AggFunc):
            return self._call(node, self.abilities.aggregates)
        if isinstance(node, (*COMPARISONS, exp.And, exp.Or, exp.Not, exp.In, exp.Is, exp.Between)):
            return self._refusal(node)
        if isinstance(node, exp.Cast) and not isinstance(node, exp.TryCast):
            return self._cast(node)
        return self._function(node)

    def _cast(self, node: exp.Cast) -> str | None:
        source = self.type_name(node.this)
        target = name_of_type(node.to)
        if source is None or f"{family(source)}>{family(target)}" not in self.abilities.casts:
            return "cast"
        if target == "DECIMAL":
            # How many digits that are is not the same everywhere.
            return "cast"
        if self.is_policy and f"{family(source)}>{family(target)}" not in TOTAL_CASTS:
            return "may_fail"
        return self._out_of_zone(node.this) or self._value(node.this)

    def _out_of_zone(self, node: exp.Expression) -> str | None:
        """A moment with a zone is turned into something else in UTC; in other zones it stays."""
        zoned = self.type_name(node) == ZONED
        return "timezone" if zoned and self.timezone != "UTC" else None

    def _function(self, node: exp.Expression) -> str | None:
        """A function; a source without our LIKE may still know where a text begins in another."""
        other = None if "Like" in self.abilities.functions else as_position(node)
        known = self.abilities.functions
        return self._call(node, known) if other is None else self._refusal(other)

    def _call(self, node: exp.Expression, allowed: object) -> str | None:
        table = allowed if hasattr(allowed, "get") else {}
        if self.is_policy and isinstance(node, (*ARITHMETIC, exp.Div)):
            return "may_fail"
        types = table.get(name_of(node))
        if types is None or form_refusal(node) is not None:
            return "function_not_identical"
        if isinstance(node, (*TRUNCATIONS, *PART_FUNCTIONS, exp.Extract)):
            if self.is_policy:
                # Days beyond all moments, and infinity.
                return "may_fail"
            part = part_of(node)
            value = part[1] if part else node.this
            return self._out_of_zone(value) or self._argument(value, types)
        for argument in node.iter_expressions():
            if isinstance(argument, exp.Distinct):
                inner = argument.expressions
                kind = self._kind_of(inner[0]) if len(inner) == 1 else ""
                if kind not in self.abilities.groupable:
                    return "collation" if kind == "VARCHAR" else "distinct"
                reason = self._argument(inner[0], types)
                if reason:
                    return reason
                continue
            if isinstance(argument, exp.Star | exp.DataType | exp.Var):
                continue
            if isinstance(argument, exp.If):
                reason = self._refusal(argument.this) or self._argument(
                    argument.args["true"], types
                )
            else:
                reason = self._argument(argument, types)
            if reason:
                return reason
        return None

    def _argument(self, node: exp.Expression, types: tuple[str, ...]) -> str | None:
        name = self.type_name(node)
        # A bare NULL has a type of its own only between branches that have one.
        is_branch = isinstance(node.parent, exp.If | exp.Case | exp.Coalesce)
        is_constant = isinstance(node, exp.Literal | exp.Boolean)
        if name is None and not (is_constant or (is_branch and isinstance(node, exp.Null))):
            return "type_unknown"
        if types and name is not None and self._kind(name) not in types:
            return "type_not_identical"
        return self._value(node)

    def _kind(self, type_name: str) -> str:
        return family(type_name)

    def _kind_of(self, node: exp.Expression) -> str:
        return self._kind(self.type_name(node) or "")

    def type_name(self, node: exp.Expression) -> str | None:
        """The DuckDB type of an expression where it is certain; None for constants too."""
        known = next((name for kinds, name in _RESULTS if isinstance(node, kinds)), None)
        if known is not None:
            return known
        match node:
            case exp.Column():
                return self.type_of(node)
            case exp.Sum():
                return _sum_type(self._argument_type(node))
            case exp.Min() | exp.Max():
                return self._argument_type(node)
            case exp.Cast():
                return None if isinstance(node.this, exp.Literal) else name_of_type(node.to)
            case exp.Greatest() | exp.Least() | exp.Coalesce():
                return self._common([node.this, *node.expressions])
            case exp.Case():
                branches = [one.args["true"] for one in node.args["ifs"]]
                return self._common([*branches, node.args.get("default")])
            case exp.Add() | exp.Sub() | exp.Mul():
                found = decimal_result(node, self.type_name)
                return found[0] if found is not None else self._arithmetic(node)
            case exp.Subquery() if isinstance(node.this, exp.Select):
                outputs = node.this.expressions
                return self.type_name(outputs[0]) if len(outputs) == 1 else None
            case exp.TimestampTrunc() | exp.DateTrunc():
                name = self.type_name(node.this)
                return "TIMESTAMP" if name == "DATE" else name
            case _:
                return self.type_name(node.this) if isinstance(node, _SAME_TYPE) else None

    def _arithmetic(self, node: exp.Binary) -> str | None:
        """The type of a sum, difference or product of whole numbers: the wider one's."""
        names = set()
        for one in (node.this, node.expression):
            value = value_of(one, self.parameters) if self.type_name(one) is None else None
            small = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
            names.add("INTEGER" if small else self.type_name(one))
        if names == {"INTEGER"}:
            return "INTEGER"
        return "BIGINT" if names <= {"INTEGER", "BIGINT"} else None

    def _argument_type(self, node: exp.Expression) -> str | None:
        inner = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
        return self.type_name(inner)

    def _common(self, nodes: list[exp.Expression | None]) -> str | None:
        """The one type of several branches; constants among them must take it exactly."""
        given = [one for one in nodes if one is not None and not isinstance(one, exp.Null)]
        names = {self.type_name(one) for one in given} - {None}
        constants = [one for one in given if self.type_name(one) is None]
        if len(names) > 1:
            return None
        name = names.pop() if names else _constant_type(constants)
        if not given or name is None or not all(_takes(name, one) for one in constants):
            return None
        return name


def _constant_type(constants: list[exp.Expression]) -> str | None:
    for name in ("INTEGER", "VARCHAR", "BOOLEAN"):
        if all(_takes(name, one) for one in constants):
            return name
    return None


def _takes(name: str, constant: exp.Expression) -> bool:
    """Whether a bare constant beside values of a type becomes a value of it, everywhere."""
    value = value_of(constant, ()) if constant.find(exp.Parameter) is None else None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    bare = isinstance(value, bool | str) and not isinstance(value, TypedText)
    fits = family(name) in ("VARCHAR", "BOOLEAN") if bare else is_whole
    return fits and fold(constant, name, (), "UTC") is not None


def _sum_type(argument: str | None) -> str | None:
    if argument is None:
        return None
    kind = family(argument)
    if kind in INTEGERS:
        return "HUGEINT"
    if kind == "DECIMAL":
        return "DECIMAL(38," + argument.split(",")[1]
    return "DOUBLE" if kind in ("DOUBLE", "REAL") else None


def same_meaning(left: str, right: str) -> bool:
    """Whether values of two types compare without a cast that could change or fail."""
    kinds = {family(left), family(right)}
    return len(kinds) == 1 or kinds <= INTEGERS


def mixes_collations(expression: exp.Expression, abilities: Abilities) -> bool:
    """Whether a collation of the statement's own may meet that in which columns are sent."""
    return bool(abilities.text_collation) and expression.find(exp.Collate) is not None


# What makes a timestamp with a time zone of something else, by its text.
_ZONED = re.compile(
    "timestamptz|timetz|time zone|strptime|to_timestamp|timezone|uuid_extract_timestamp|from_json|"
    "json_transform|time_bucket",
    re.IGNORECASE,
)


def reads_zone(
    expression: exp.Expression, types: Iterable[str], parameters: tuple[object, ...]
) -> bool:
    """Whether the session's time zone may have a say, for columns of these types."""
    return (
        any("TIME ZONE" in one for one in types)
        or bool(_ZONED.search(text_of(expression)))
        or any(_is_zoned(one, parameters) for one in expression.find_all(exp.Parameter))
    )


def _is_zoned(node: exp.Parameter, parameters: tuple[object, ...]) -> bool:
    value = node.meta["value"] if "value" in node.meta else parameters[int(node.name) - 1]
    return isinstance(value, datetime | time) and value.tzinfo is not None


def folded(expression: exp.Expression, checker: Checker) -> exp.Expression | None:
    """A copy of what a source may evaluate, its constants of exactly their column's type.

    Every parameter in it is bound; None where one cannot be.
    """
    root = exp.Paren(this=expression.copy())
    _fold_constants(root, checker)
    if not checker.abilities.is_reference:
        spelled(root, checker.type_name, checker.has_doubles)
    for node in list(root.find_all(exp.Parameter)):
        if "value" in node.meta:
            continue
        if not checker.abilities.is_reference:
            return None
        # The merge engine's own kind reads a value as the merge would.
        node.replace(bound_parameter(node, checker.parameters[int(node.name) - 1], ""))
    done: exp.Expression = root.this
    return done


def _fold_constants(root: exp.Expression, checker: Checker) -> None:
    for node in list(root.walk()):
        if isinstance(node, COMPARISONS):
            _fold_side(node, "expression", checker.type_name(node.this), checker)
            _fold_side(node, "this", checker.type_name(node.expression), checker)
        elif isinstance(node, exp.Between):
            for key in ("low", "high"):
                _fold_side(node, key, checker.type_name(node.this), checker)
        elif isinstance(node, exp.In):
            name = checker.type_name(node.this)
            if name and not node.args.get("query"):
                node.set(
                    "expressions",
                    [
                        fold(one, name, checker.parameters, checker.timezone) or one
                        for one in node.expressions
                    ],
                )
        elif isinstance(node, exp.Limit | exp.Offset):
            _fold_side(node, "expression", "BIGINT", checker)


def _fold_side(node: exp.Expression, key: str, type_name: str | None, checker: Checker) -> None:
    if type_name is None:
        return
    made = fold(node.args[key], type_name, checker.parameters, checker.timezone)
    if made is not None:
        node.set(key, made)
