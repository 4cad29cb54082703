"""A statement over PostgreSQL's catalogs as one over the tables that hold them in DuckDB.

Takes: a text, what the session is. Gives: DuckDB's SQL, PostgreSQL's types of its outputs and of
its parameters. Never lets a class of nodes, a function or a relation through that is not on a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from gateway.errors import UnsupportedSql
from gateway.serve.pgwire.catalog.building import (
    KEYWORDS,
    OPTIONS,
    REGISTERED,
    activity_rows,
    array_of,
    as_type,
    call_of,
    duckdb_type,
    keywords,
    options,
    settings_rows,
)
from gateway.serve.pgwire.catalog.calling import FLOATS, Calls, SessionValues
from gateway.serve.pgwire.catalog.calls import (
    aggregated,
    is_pattern,
    is_waiting,
    is_whole_sum,
    matched,
    series_of,
    similar_to,
)
from gateway.serve.pgwire.catalog.reading import read
from gateway.serve.pgwire.catalog.relations import Relation, type_numbers
from gateway.serve.pgwire.catalog.scopes import (
    Outputs,
    element_of,
    refuse_unknown,
    relation_of,
    type_name,
)
from gateway.serve.pgwire.catalog.shaping import (
    arms,
    check,
    name_outputs,
    number_groups,
    put_in_order,
    redirect,
    spell_out_merged,
)
from gateway.serve.pgwire.faults import WireError

_NUMBERS = frozenset({"oid", "int2", "int4", "int8", "xid", *REGISTERED})
_TEXTS = frozenset({"text", "varchar", "name", "bpchar"})
# Functions whose rows are a relation's.
_RELATIONS = {
    "pg_show_all_settings": "pg_settings", "pg_available_extensions": "pg_available_extensions",
    "pg_available_extension_versions": "pg_available_extension_versions",
}  # fmt: skip
# The number of all transactions: nothing is written, so that none comes after another.
_TRANSACTION = 3
# Functions that need no name: operators, and what the grammar itself has.
_TRUTH = (exp.And, exp.Or, exp.Case, exp.Cast, exp.Coalesce, exp.If, exp.Array, exp.RegexpLike,
          exp.RegexpILike, exp.Exists)  # fmt: skip
_WHOLE = frozenset({"int2", "int4", "int8", "oid"})


@dataclass(frozen=True, slots=True)
class Translated:
    """SQL of DuckDB's; `parameters` are types by number, of as many as there are."""

    sql: str
    outputs: tuple[tuple[str, str | None], ...]
    parameters: tuple[str, ...]
    used: tuple[int, ...] = ()

    def bound(self, values: Sequence[object]) -> Mapping[str, object]:
        """The values of the parameters that are left, by number."""
        return {str(at): values[at - 1] if at <= len(values) else None for at in self.used}


def translate(sql: str, session: SessionValues) -> Translated:
    """The statement for DuckDB; errors say what is not served."""
    tree = read(sql)
    made = _Translation(session)
    return made.whole(tree)


class _Translation(Calls):
    def whole(self, tree: exp.Expression) -> Translated:
        for table in tree.find_all(exp.Table):
            self._check_table(table)
        for select in tree.find_all(exp.Select):
            spell_out_merged(select, self._scopes)
            number_groups(select)
            name_outputs(select)
        self._scopes.forget()
        # From the leaves up: whatever stands around a part sees its PostgreSQL type.
        for node in list(tree.walk(bfs=False))[::-1]:
            made = self._rewritten(node)
            if made is not node:
                self._scopes.called.setdefault(id(made), self._scopes.type_of(node) or "")
                node.replace(made)
        parameters = self._parameters(tree)
        outputs: Outputs = self._scopes.outputs(tree)
        outputs = self._as_text(tree, outputs)
        put_in_order(tree)
        for table in list(tree.find_all(exp.Table)):
            redirect(table, self._scopes, self._told)
        check(tree)
        used = {int(one.name) for one in tree.find_all(exp.Parameter)}
        return Translated(tree.sql("duckdb"), tuple(outputs), parameters, tuple(sorted(used)))

    def _told(self, relation: Relation) -> exp.Select | None:
        """The rows of a relation that only the session knows; None for all others."""
        if relation.name == "pg_settings":
            return settings_rows(relation, self._session.settings())
        if relation.name in ("pg_stat_activity", "pg_stat_gssapi"):
            return activity_rows(relation, self._session.speakers())
        return None

    def _check_table(self, table: exp.Table) -> None:
        if isinstance(table.this, exp.Func):
            return
        if self._scopes.cte_of(table) is None and relation_of(table) is None:
            raise refuse_unknown(table)
        if table.catalog and table.catalog != self._session.database:
            raise WireError(
                "0A000", f"The database {table.catalog[:100]} is another one.",
                "Connect to it: names of one connection are of one database.",
            )  # fmt: skip

    def _rewritten(self, node: exp.Expr) -> exp.Expr:
        match node:
            case exp.Cast():
                return self._cast(node)
            case exp.Div():
                return self._divided(node)
            case exp.SimilarTo():
                return similar_to(node)
            case exp.Column() if node.name in ("tableoid", "xmin"):
                return self._place(node)
            case exp.Bracket():
                return self._bracket(node)
            case exp.EQ() | exp.NEQ() if isinstance(node.expression, exp.Any | exp.All):
                return self._quantified(node)
            case exp.EQ() | exp.NEQ():
                self._align(node)
                return node
            case exp.Table() if isinstance(node.this, exp.Func):
                return self._table_function(node)
            case exp.Func() | exp.DPipe() | exp.Filter() | exp.Window():
                return self._called(node)
            case _:
                return node

    def _called(self, node: exp.Expr) -> exp.Expr:
        """A call, with all that belongs to it."""
        found = self._aggregated(node)
        if found is not None:
            return self._typed(*found)
        match node:
            case exp.DPipe() | exp.Concat() | exp.ConcatWs():
                self._join_texts(node)
            case exp.Substring() if is_pattern(node.args.get("start"), self._scopes.type_of):
                return self._typed(matched(node), "text")
            case exp.Extract():
                return self._typed(as_type(node.copy(), "DECIMAL(38, 6)"), "numeric")
            case exp.StrPosition():
                return self._typed(as_type(node.copy(), "INTEGER"), "int4")
            case exp.Func() if not (
                isinstance(node, _TRUTH) or is_waiting(node) or _is_source(node)
            ):
                return self._call(node)
            case _:
                pass
        return node

    def _aggregated(self, node: exp.Expr) -> tuple[exp.Expr, str] | None:
        if is_whole_sum(node, self._scopes.type_of):
            return as_type(node.copy(), "BIGINT"), "int8"

        return aggregated(node, self._scopes.type_of, self._in_json)

    def _place(self, node: exp.Column) -> exp.Expr:
        """`tableoid`, the number of a row's relation; `xmin`, which tells none apart."""
        relation = self._scopes.relation_of_alias(node)
        if relation is None:
            return node
        value, kind = (relation.oid, "oid") if node.name == "tableoid" else (_TRANSACTION, "xid")
        number = as_type(exp.Literal.number(value), "UINTEGER")
        # NULL where an outer join has no row.
        column = exp.column(relation.attributes[0].name, node.table or None, quoted=True)
        is_there = exp.Not(this=exp.Is(this=column, expression=exp.Null()))
        return self._typed(exp.Case(ifs=[exp.If(this=is_there, true=number)]), kind)

    def _join_texts(self, node: exp.DPipe | exp.Concat | exp.ConcatWs) -> None:
        """What is joined to texts is joined as PostgreSQL writes it; arrays stay arrays."""
        for one in list(node.iter_expressions()):
            kind = self._scopes.type_of(one)
            if kind == "bool" and not isinstance(node, exp.DPipe):
                one.replace(self._written(one))
            elif kind in REGISTERED or kind in FLOATS:
                one.replace(self._text(one.copy(), kind))

    def _divided(self, node: exp.Div) -> exp.Expr:
        """Of whole numbers the quotient is whole."""
        sides = (node.this, node.expression)
        if all(self._scopes.type_of(one) in _WHOLE or one.is_int for one in sides):
            return self._typed(exp.IntDiv(this=sides[0], expression=sides[1]), "int4")
        return node

    def _align(self, node: exp.EQ | exp.NEQ) -> None:
        """A text beside the number of a thing is the thing's name."""
        for one, other in ((node.this, node.expression), (node.expression, node.this)):
            kind = self._scopes.type_of(one)
            if kind in REGISTERED and isinstance(other, exp.Literal) and other.is_string:
                other.replace(self._named(REGISTERED[kind][0], as_type(other.copy(), "VARCHAR")))

    def _quantified(self, node: exp.EQ | exp.NEQ) -> exp.Expr:
        """`= ANY (array)`; where the array is a text, as what it says."""
        held = node.expression.this
        inner = held.this if isinstance(held, exp.Paren) else held
        kind = self._scopes.type_of(node.this)
        target = duckdb_type(f"_{kind}") if kind else None
        if isinstance(inner, exp.Literal) and inner.is_string:
            listed = array_of(inner.name)
            node.expression.set("this", as_type(listed, target) if target else listed)
        elif isinstance(inner, exp.Parameter):
            made = as_type(inner.copy(), target or "VARCHAR[]")
            node.expression.set("this", self._typed(made, f"_{kind}" if kind else "_text"))
        if isinstance(node, exp.NEQ) and isinstance(node.expression, exp.All):
            equal = exp.EQ(this=node.this, expression=exp.Any(this=node.expression.this))
            return exp.Not(this=exp.Paren(this=equal))
        return node

    def _cast(self, node: exp.Cast) -> exp.Expr:
        kind, inner = type_name(node.to), node.this
        held = self._scopes.type_of(inner)
        if kind in REGISTERED:
            if held in _NUMBERS and not isinstance(inner, exp.Literal):
                return self._typed(as_type(inner, "UINTEGER"), kind)
            return self._typed(self._named(REGISTERED[kind][0], as_type(inner, "VARCHAR")), kind)
        if kind in _TEXTS:
            made: exp.Expr = as_type(self._text(inner, held), "VARCHAR")
            if node.to.expressions:
                made = exp.func("LEFT", made, exp.Literal.number(node.to.expressions[0].name))
            return self._typed(made, kind)
        if kind == "char":
            first = exp.func("LEFT", as_type(inner, "VARCHAR"), exp.Literal.number(1))
            return self._typed(first, kind)
        element = element_of(kind)
        if element is not None and isinstance(inner, exp.Literal) and inner.is_string:
            inner = array_of(inner.name)
        if kind.startswith("numeric") or kind.startswith("decimal"):
            sizes = ", ".join(one.name for one in node.to.expressions) or "38, 10"
            return self._typed(as_type(inner, f"DECIMAL({sizes})"), "numeric")
        duckdb = duckdb_type(kind)
        if duckdb is None:
            raise WireError("0A000", f"The type {kind[:100]} is not served by the catalog.")
        if element in REGISTERED:
            duckdb = "UINTEGER[]"
        return self._typed(as_type(inner, duckdb), kind)

    def _bracket(self, node: exp.Bracket) -> exp.Expr:
        """Vectors count from 0, where arrays count from 1."""
        if self._scopes.type_of(node.this) in ("int2vector", "oidvector"):
            kind = self._scopes.type_of(node) or ""
            for one in node.expressions:
                if not isinstance(one, exp.Slice):
                    one.replace(exp.Add(this=one.copy(), expression=exp.Literal.number(1)))
            self._scopes.called[id(node)] = kind
        return node

    def _table_function(self, node: exp.Table) -> exp.Expr:
        """`unnest(x) AS u`: in PostgreSQL the column is called like the table."""
        written: exp.Func = node.this
        call: exp.Expr = written
        name, arguments = call_of(written)
        alias = node.args.get("alias")
        if isinstance(call, exp.Explode):
            kind = element_of(self._scopes.type_of(call.this))
            call = self._typed(exp.Unnest(expressions=[call.this]), kind or "")
        elif name == KEYWORDS and not arguments:
            return keywords(alias)
        elif name == OPTIONS and len(arguments) == 1:
            return options(arguments[0], alias)
        elif name in _RELATIONS and not arguments:
            named = exp.to_identifier(_RELATIONS[name], quoted=True)
            return exp.Table(this=named, alias=alias, joins=node.args.get("joins"))
        elif isinstance(call, exp.GenerateSeries | exp.ExplodingGenerateSeries):
            series, kind = series_of(call, self._scopes.type_of)
            call = self._typed(exp.Unnest(expressions=[self._typed(series, f"_{kind}")]), kind)
        elif not isinstance(call, exp.Unnest):
            made = self._call(written)
            if not isinstance(made, exp.Explode | exp.Unnest):
                return _one_row(made, alias or exp.TableAlias(this=exp.to_identifier(name, True)))
            inner = made.this if isinstance(made, exp.Explode) else made.expressions[0]
            call = self._typed(exp.Unnest(expressions=[inner]), self._scopes.type_of(made) or "")
        node.set("db", None)
        if alias is None:
            alias = exp.TableAlias(this=exp.to_identifier(name, quoted=True))
        if not alias.args.get("columns"):
            alias.set("columns", [exp.to_identifier(alias.name, quoted=True)])
        if node.args.get("ordinality"):
            columns = alias.args["columns"]
            place = columns[1] if len(columns) > 1 else exp.to_identifier("ordinality", True)
            alias.set("columns", columns[:1])
            call.set("offset", place.copy())
        call.set("alias", alias)
        return call

    def _as_text(self, tree: exp.Expression, outputs: Outputs) -> Outputs:
        """What the client gets of numbers that stand for names is text."""
        selects = [one for one in arms(tree) if isinstance(one, exp.Select)]
        made = list(outputs)
        for at, (name, kind) in enumerate(outputs):
            if kind not in REGISTERED:
                continue
            made[at] = (name, "text")
            for select in selects:
                self._spell_out(select)
                if len(select.expressions) != len(outputs):
                    raise UnsupportedSql("Name the columns here: * is not served.")
                one = select.expressions[at]
                inner = one.this if isinstance(one, exp.Alias) else one
                inner.replace(self._text(inner.copy(), kind))
        return made

    def _spell_out(self, select: exp.Select) -> None:
        """The columns that a star stands for."""
        made: list[exp.Expr] = []
        for one in select.expressions:
            table = one.table if isinstance(one, exp.Column) else ""
            if not one.is_star or isinstance(one, exp.Alias):
                made.append(one)
                continue
            for name, source in self._scopes.sources(select):
                if not table or name == table:
                    made += [exp.column(column, name, quoted=True) for column, _ in source]
        select.set("expressions", made)

    def _parameters(self, tree: exp.Expression) -> tuple[str, ...]:
        found = dict(self._taken)
        for one in tree.find_all(exp.Parameter):
            number = int(one.name) if one.name.isdigit() else 0
            if not 1 <= number <= 65_535:
                raise UnsupportedSql("A parameter is written $1, $2 ...")
            kind = self._parameter(one)
            if kind:
                found.setdefault(number, kind)
            else:
                found.setdefault(number, "")
        return tuple(found.get(at) or "text" for at in range(1, max(found, default=0) + 1))

    def _parameter(self, one: exp.Parameter) -> str | None:
        parent = one.parent
        if isinstance(parent, exp.Cast):
            return self._scopes.called.get(id(parent))
        if isinstance(parent, exp.Binary):
            other = parent.expression if parent.this is one else parent.this
            return self._scopes.type_of(other)
        if isinstance(parent, exp.In):
            return self._scopes.type_of(parent.this)
        if isinstance(parent, exp.Any) and isinstance(parent.parent, exp.Binary):
            kind = self._scopes.type_of(parent.parent.this)
            return f"_{kind}" if kind else None
        return None


def number_of_type(kind: str) -> int:
    """The number by which a client is told of the type of a parameter."""
    return 25 if kind in REGISTERED else type_numbers().get(kind, 25)


def _one_row(call: exp.Expr, alias: exp.TableAlias) -> exp.Subquery:
    """A function in FROM that gives a single value: a row with a column of its name."""
    columns = alias.args.get("columns") or [alias.this]
    held = exp.select(exp.Alias(this=call, alias=columns[0].copy()))
    return exp.Subquery(this=held, alias=exp.TableAlias(this=alias.this.copy()))


def _is_source(node: exp.Func) -> bool:
    """Whether a function stands in FROM."""
    return isinstance(node.parent, exp.Table | exp.Lateral) and node.arg_key == "this"
