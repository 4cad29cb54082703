"""What is done to a whole statement before it is translated, and after.

Takes: trees over the catalogs. Gives: the same trees with names, an order, DuckDB's tables, or an
error for what is on no list. Never changes what a part of a statement means.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from gateway.allowed import check_tree
from gateway.serve.pgwire.catalog.database import SCHEMAS
from gateway.serve.pgwire.catalog.relations import Relation
from gateway.serve.pgwire.catalog.scopes import Scopes, output_name, relation_of, tables_of

# The columns by which these lie in PostgreSQL as they were made.
_ORDERED = {
    "pg_attribute": ("attrelid", "attnum"),
    "columns": ("table_schema", "table_name", "ordinal_position"),
    "key_column_usage": ("constraint_schema", "constraint_name", "ordinal_position"),
}


def name_outputs(select: exp.Select) -> None:
    """Each output gets the name that PostgreSQL gives it."""
    for one in list(select.expressions):
        if isinstance(one, exp.Alias | exp.Star) or one.is_star:
            continue
        if isinstance(one, exp.Column):
            continue
        name = output_name(one)
        made = exp.Alias(this=one.copy(), alias=exp.to_identifier(name, quoted=True))
        one.replace(made)


def number_groups(select: exp.Select) -> None:
    """GROUP BY of an output whose name is a table's too means the output."""
    group = select.args.get("group")
    sources = {one.alias_or_name for one in tables_of(select)}
    outputs = [one.alias for one in select.expressions]
    for one in list(group.expressions) if group is not None else []:
        is_bare = isinstance(one, exp.Column) and not one.table
        if is_bare and one.name in sources and one.name in outputs:
            one.replace(exp.Literal.number(outputs.index(one.name) + 1))


def spell_out_merged(select: exp.Select, scopes: Scopes) -> None:
    """`*` over merged columns: PostgreSQL shows those first."""
    joins = select.args.get("joins") or ()
    is_merged = any(one.args.get("using") or one.method == "NATURAL" for one in joins)
    for one in list(select.expressions) if is_merged else []:
        if isinstance(one, exp.Star):
            columns = [
                exp.column(name, table or None, quoted=True)
                for table, name, _ in scopes.starred(select)
            ]
            place = select.expressions.index(one)
            others = list(select.expressions)
            select.set("expressions", [*others[:place], *columns, *others[place + 1 :]])


def check(tree: exp.Expression) -> None:
    """UnsupportedSql for whatever is on no list; what the templates call is on theirs."""
    copied = tree.copy()
    for node in list(copied.walk(bfs=False))[::-1]:
        if isinstance(node, exp.Anonymous) and node.name.startswith("udf_"):
            node.replace(exp.Coalesce(this=node.expressions[0], expressions=node.expressions[1:]))
        elif isinstance(node, exp.Explode) and not isinstance(node.parent, exp.Table):
            node.replace(exp.Coalesce(this=node.this, expressions=[]))
        elif isinstance(node, exp.Unnest) and isinstance(node.parent, exp.Alias | exp.Dot):
            node.replace(exp.Coalesce(this=node.expressions[0], expressions=[]))
    check_tree(copied)


def arms(query: exp.Expr) -> list[exp.Expr]:
    """The queries that a set operation is made of."""
    if isinstance(query, exp.SetOperation):
        return [*arms(query.this), *arms(query.expression)]
    return arms(query.this) if isinstance(query, exp.Subquery) else [query]


def put_in_order(tree: exp.Expression) -> None:
    """Clients that ask for no order read columns in the order that PostgreSQL happens to have."""
    if not isinstance(tree, exp.Select) or tree.find(exp.AggFunc) is not None:
        return
    if any(tree.args.get(one) for one in ("order", "distinct", "group", "limit", "offset")):
        return
    held = tree.args.get("from_")
    nodes = [held.this] if held is not None else []
    nodes += [one.this for one in tree.args.get("joins") or ()]
    for node in nodes:
        relation = relation_of(node) if isinstance(node, exp.Table) else None
        columns = _ORDERED.get(relation.name if relation is not None else "", ())
        if columns:
            keys = [exp.column(one, node.alias_or_name, quoted=True) for one in columns]
            tree.set("order", exp.Order(expressions=[exp.Ordered(this=one) for one in keys]))
            return


def redirect(
    table: exp.Table, scopes: Scopes, told: Callable[[Relation], exp.Select | None]
) -> None:
    """To the table that holds the relation, or to the rows that the session tells."""
    relation = None if isinstance(table.this, exp.Func) else relation_of(table)
    if relation is None or scopes.cte_of(table) is not None:
        return
    if not table.args.get("alias"):
        table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
    rows = told(relation)
    if rows is not None:
        joins = table.args.get("joins")
        table.replace(exp.Subquery(this=rows, alias=table.args["alias"], joins=joins))
        return
    table.set("catalog", None)
    table.set("db", exp.to_identifier(SCHEMAS[relation.schema], quoted=True))
