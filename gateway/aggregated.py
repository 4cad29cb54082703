"""A query block over a table that shows groups only (part of stage 5).

Takes: the SELECT around a reference to such a table, and the table's decision. Gives: an
`AggregatedBlock`, and changes the SELECT so that it reads the block's groups instead of rows.
Refuses every block whose groups could be anything but counts, sums and averages over rows chosen
by dimensions (DESIGN 5, rule 6). Never lets an expression of the user's near a row: what he writes
around keys and aggregates, HAVING and ORDER BY included, reads the groups that are left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from sqlglot import exp

from gateway.aggregates import is_aggregation, stands_in_aggregate
from gateway.constants import INTEGERS, family
from gateway.decision import AggregateRule, TableDecision
from gateway.errors import UnsupportedSql

_ALLOWED_PARTS = frozenset(
    {
        "expressions", "from_", "where", "group", "having", "order", "limit", "offset", "distinct",
        "with_", "qualify", "windows",
    }
)
_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ, exp.NullSafeNEQ)


@dataclass(frozen=True, slots=True)
class Measure:
    """An aggregate of a block. `column` None: rows are counted. type: the DuckDB type it gives."""

    name: str
    function: str
    column: str | None
    distinct: bool
    type: str

    @property
    def sql(self) -> str:
        """The call, over rows called `r`."""
        if self.column is None:
            return "COUNT(*)"
        inner = f"r.{quoted(self.column)}"
        return f"{self.function}({'DISTINCT ' if self.distinct else ''}{inner})"


@dataclass(frozen=True, slots=True)
class AggregatedBlock:
    """Groups of a table: keys with their types, measures, and the predicate on dimensions.

    The predicate's columns are unqualified; its constants are still the user's: whoever runs it
    folds them first, since a comparison that casts a column may fail on a row.
    """

    rule: AggregateRule
    keys: tuple[tuple[str, str], ...]
    measures: tuple[Measure, ...]
    predicate: exp.Expression | None = field(compare=False)

    @property
    def shape(self) -> tuple[tuple[str, str], ...]:
        """The columns of the groups, with their types."""
        return (*self.keys, *((one.name, one.type) for one in self.measures))

    @property
    def columns(self) -> frozenset[str]:
        """The visible columns that the groups are made from."""
        read = {name for name, _ in self.keys}
        read |= {one.column for one in self.measures if one.column is not None}
        if self.predicate is not None:
            read |= {column.name for column in self.predicate.find_all(exp.Column)}
        return frozenset(read)


def take_block(select: exp.Select, table: exp.Table, decided: TableDecision) -> AggregatedBlock:
    """The block of a reference, taken out of its SELECT; raises UnsupportedSql."""
    assert decided.aggregate is not None
    return _Taker(select, table, decided, decided.aggregate).take()


class _Taker:
    """Takes one block apart."""

    def __init__(
        self, select: exp.Select, table: exp.Table, decided: TableDecision, rule: AggregateRule
    ) -> None:
        self.select = select
        self.alias = table.alias_or_name
        self.address = decided.address
        self.rule = rule
        self.types = {one.name: one.type for one in decided.columns}
        self.raw_types = {one.name: one.raw_type for one in decided.columns}
        self.keys: dict[str, str] = {}
        self.measures: dict[str, Measure] = {}
        self._check_form(table)

    def take(self) -> AggregatedBlock:
        self._keys()
        predicate = self._predicate()
        for key in ("expressions", "having", "qualify", "order", "distinct", "windows"):
            held = self.select.args.get(key)
            for node in held if isinstance(held, list) else [held] if held else []:
                self._rewrite(node)
        if not self.keys and not self.measures:
            self._refuse("it names neither groups nor aggregates")
        having = self.select.args.get("having")
        if having is not None:
            self.select.set("where", exp.Where(this=having.this))
            self.select.set("having", None)
        self.select.set("group", None)
        keys = tuple(self.keys.items())
        return AggregatedBlock(self.rule, keys, tuple(self.measures.values()), predicate)

    def _check_form(self, table: exp.Table) -> None:
        source = self.select.args.get("from_")
        joined = self.select.args.get("joins") or table.args.get("joins")
        if source is None or source.this is not table or joined:
            self._refuse("it has to stand alone in its FROM: join its groups instead")
        extra = {key for key, value in self.select.args.items() if value} - _ALLOWED_PARTS
        if extra:
            self._refuse(f"{sorted(extra)[0].rstrip('_').upper()} is not possible beside it")

    def _keys(self) -> None:
        group = self.select.args.get("group")
        if group is None:
            return
        totals = any(value for key, value in group.args.items() if key != "expressions")
        if totals or group.find(exp.Rollup, exp.Cube, exp.GroupingSets):
            self._refuse("ROLLUP, CUBE and GROUPING SETS show totals beside groups")
        for one in group.expressions:
            if not isinstance(one, exp.Column) or one.table != self.alias:
                self._refuse("GROUP BY takes its dimensions as they are")
            self.keys[one.name] = self._dimension(one)

    def _dimension(self, column: exp.Column) -> str:
        if column.name not in self.rule.dimensions or column.name == self.rule.entity:
            self._refuse(f"{column.name} is no dimension of it")
        return self.types[column.name]

    def _predicate(self) -> exp.Expression | None:
        where = self.select.args.get("where")
        if where is None:
            return None
        self._check_predicate(where.this)
        self.select.set("where", None)
        found: exp.Expression = where.this.copy()
        for column in found.find_all(exp.Column):
            column.set("table", None)
        return found

    def _check_predicate(self, node: exp.Expression) -> None:
        match node:
            case exp.And() | exp.Or():
                self._check_predicate(node.this)
                self._check_predicate(node.expression)
            case exp.Not() | exp.Paren():
                self._check_predicate(node.this)
            case exp.In() if node.expressions and not (
                node.args.get("query") or node.args.get("unnest")
            ):
                self._check_operands(node.this, *node.expressions)
            case exp.Between() if not node.args.get("symmetric"):
                self._check_operands(node.this, node.args["low"], node.args["high"])
            case exp.Is() if isinstance(node.expression, exp.Null):
                self._check_operands(node.this)
            case _ if isinstance(node, _COMPARISONS):
                left, right = node.this, node.expression
                if not isinstance(left, exp.Column):
                    left, right = right, left
                self._check_operands(left, right)
            case _:
                self._refuse("WHERE compares its dimensions with constants")

    def _check_operands(self, column: exp.Expression, *constants: exp.Expression) -> None:
        if not isinstance(column, exp.Column) or column.table != self.alias:
            self._refuse("WHERE compares its dimensions with constants")
        self._dimension(column)
        if any(one.find(exp.Column, exp.Query, exp.Func) for one in constants if not _is_cast(one)):
            self._refuse("WHERE compares its dimensions with constants")

    def _rewrite(self, node: exp.Expression) -> None:
        """Keys and aggregates become columns of the groups; anything else of a row is refused."""
        if isinstance(node, exp.Window):
            # What a window is over is no aggregate of this block; what stands in it may be.
            for child in [*node.this.iter_expressions(), *_parts(node)]:
                self._rewrite(child)
        elif is_aggregation(node):
            self._measure(node)
        elif isinstance(node, exp.Column):
            if node.table == self.alias and node.name not in self.keys:
                self._refuse(f"{node.name} stands outside GROUP BY and aggregates")
        elif isinstance(node, exp.Query):
            self._check_nested(node)
        else:
            for child in list(node.iter_expressions()):
                self._rewrite(child)

    def _check_nested(self, query: exp.Expression) -> None:
        """A sub-query may read this block's keys, and no other column of its rows."""
        for column in query.find_all(exp.Column):
            if column.table == self.alias and (
                column.name not in self.keys or stands_in_aggregate(column)
            ):
                self._refuse(f"{column.name} stands in a sub-query")

    def _measure(self, node: exp.Expression) -> None:
        made = self._measure_of(node)
        self.measures.setdefault(made.name, made)
        node.replace(exp.column(made.name, table=self.alias, quoted=True))

    def _measure_of(self, node: exp.Expression) -> Measure:
        function = type(node).__name__.upper()
        if function not in ("COUNT", "SUM", "AVG") or node.parent_select is not self.select:
            self._refuse("only COUNT, SUM and AVG are possible over it")
        argument = node.this
        distinct = isinstance(argument, exp.Distinct)
        if isinstance(argument, exp.Distinct):
            if function != "COUNT" or len(argument.expressions) != 1 or argument.args.get("on"):
                self._refuse("DISTINCT is possible inside COUNT of one column")
            argument = argument.expressions[0]
        if isinstance(node.parent, exp.Filter | exp.WithinGroup) or node.expressions:
            self._refuse("FILTER and several arguments are not possible in its aggregates")
        if function == "COUNT" and (argument is None or isinstance(argument, exp.Star)):
            return Measure("count_star()", "COUNT", None, False, "BIGINT")
        if not isinstance(argument, exp.Column) or argument.table != self.alias:
            self._refuse("its aggregates take columns as they are")
        name = argument.name
        if name == self.rule.entity and function != "COUNT":
            self._refuse(f"{name} may only be counted")
        output = f"{function.lower()}({'DISTINCT ' if distinct else ''}{name})"
        return Measure(output, function, name, distinct, self._type(function, name))

    def _type(self, function: str, name: str) -> str:
        if function == "COUNT":
            return "BIGINT"
        kind = family(self.types[name])
        if kind not in INTEGERS | {"DECIMAL", "DOUBLE", "REAL", "FLOAT"}:
            self._refuse(f"{name} is no number")
        if function == "AVG" or kind in ("DOUBLE", "REAL", "FLOAT"):
            return "DOUBLE"
        if kind in INTEGERS:
            return "HUGEINT"
        return "DECIMAL(38," + self.types[name].split(",")[1]

    def _refuse(self, why: str) -> NoReturn:
        dimensions = ", ".join(sorted(self.rule.dimensions & set(self.types)))
        refused = UnsupportedSql(
            f"{self.address} shows groups only: {why}.",
            hint=f"Ask as SELECT dimensions, count(*) FROM {self.address} GROUP BY dimensions; its "
            f"dimensions are: {dimensions}.",
        )
        refused.policy = self.rule.policy
        refused.product = f"{self.address.domain}.{self.address.product}"
        raise refused


def _parts(window: exp.Window) -> list[exp.Expr]:
    return [child for child in window.iter_expressions() if child is not window.this]


def _is_cast(node: exp.Expression) -> bool:
    return isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal)


def quoted(name: str) -> str:
    """A name as an identifier."""
    return '"' + name.replace('"', '""') + '"'
