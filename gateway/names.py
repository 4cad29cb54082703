"""Names that sqlglot does not bind as DuckDB does, expanded or refused by hand.

Takes: a resolved tree and the visible columns. Gives: the tree made ready for qualification, and
words for errors. Never sees a hidden column (DESIGN 4.5).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from gateway.errors import AmbiguousName, TypeMismatch, UnsupportedSql
from gateway.resolve import Address

Columns = Mapping[Address, tuple[tuple[str, str], ...]]


def prepare_names(tree: exp.Expression, visible: Columns) -> None:
    """Everything that has to be done by hand before names are qualified, in place."""
    for union in tree.find_all(exp.SetOperation):
        if union.args.get("by_name"):
            raise UnsupportedSql("UNION BY NAME is not served.", hint="List the columns in order.")
    _name_table_functions(tree)
    for select in list(tree.find_all(exp.Select)):
        _refuse_duplicate_aliases(select)
        _shorten_paths(select)
        _expand_columns(select, visible)
        _check_exclusions(select, visible)
        _name_outputs(select)


def _sources(select: exp.Select) -> list[exp.Expression]:
    first = select.args.get("from_")
    joins = select.args.get("joins") or []
    found = ([first.this] if first is not None else []) + [one.this for one in joins]
    found += select.args.get("laterals") or []
    nested = [join.this for one in found for join in one.args.get("joins") or []]
    return found + nested


def _refuse_duplicate_aliases(select: exp.Select) -> None:
    seen: set[str] = set()
    for source in _sources(select):
        name = source.alias_or_name.casefold()
        if name and name in seen:
            raise AmbiguousName(
                f"The name {source.alias_or_name} stands for two tables.",
                hint="Give each its own alias.",
            )
        seen.add(name)


def _name_table_functions(tree: exp.Expression) -> None:
    """`FROM range(5)` is a table `range` with a column `range`."""
    for table in list(tree.find_all(exp.Table)):
        if isinstance(table.this, exp.Func) and not table.alias:
            name = table.this.sql("duckdb").split("(")[0].strip().lower()
            table.set("alias", _table_alias(name, name))
        elif isinstance(table.this, exp.Func) and not table.args["alias"].columns:
            name = table.this.sql("duckdb").split("(")[0].strip().lower()
            table.set("alias", _table_alias(table.alias, name))
    for unnest in list(tree.find_all(exp.Unnest)):
        if not isinstance(unnest.parent, exp.From | exp.Join | exp.Lateral):
            continue
        if not unnest.alias:
            unnest.set("alias", _table_alias("unnest", "unnest"))
        elif not unnest.args["alias"].columns:
            unnest.set("alias", _table_alias(unnest.alias, "unnest"))


def _table_alias(name: str, column: str) -> exp.TableAlias:
    return exp.TableAlias(this=exp.to_identifier(name), columns=[exp.to_identifier(column)])


def _shorten_paths(select: exp.Select) -> None:
    """`domain.product.table.column` and `product.table.column` become `alias.column`."""
    for column in list(select.find_all(exp.Column)):
        if not column.args.get("db"):
            continue
        path = [column.table, column.text("db"), column.text("catalog")]
        for source in _sources(select):
            address = source.meta.get("address") if isinstance(source, exp.Table) else None
            if (
                isinstance(source, exp.Table)
                and isinstance(address, Address)
                and _is_path_to(path, address, source)
            ):
                column.set("db", None)
                column.set("catalog", None)
                column.set("table", exp.to_identifier(source.alias, quoted=True))
                break


def _is_path_to(path: list[str], address: Address, source: exp.Table) -> bool:
    table, product, domain = (one.casefold() for one in path)
    named = {address.table.casefold()}
    if not source.meta.get("implicit_alias"):
        named = {source.alias.casefold()}
    return (
        table in named
        and product == address.product.casefold()
        and domain in ("", address.domain.casefold())
    )


def _expand_columns(select: exp.Select, visible: Columns) -> None:
    """COLUMNS(*) and COLUMNS('pattern') over mesh tables become a list."""
    made: list[exp.Expression] = []
    changed = False
    for projection in select.expressions:
        inner = projection.unalias()
        if not isinstance(inner, exp.Columns):
            made.append(projection)
            continue
        changed = True
        made += _matching(select, inner, visible)
    if changed:
        select.set("expressions", made)


def _matching(select: exp.Select, node: exp.Columns, visible: Columns) -> list[exp.Expression]:
    what = node.this
    pattern = what.name if isinstance(what, exp.Literal) and what.is_string else None
    if pattern is None and not isinstance(what, exp.Star):
        raise UnsupportedSql("COLUMNS takes * or a regular expression.")
    found: list[exp.Expression] = []
    for source in _sources(select):
        address = source.meta.get("address") if isinstance(source, exp.Table) else None
        if not isinstance(address, Address):
            raise UnsupportedSql("COLUMNS is served over tables of the mesh only.")
        for name, _ in visible[address]:
            if pattern is None or _matches(pattern, name):
                found.append(exp.column(name, table=source.alias, quoted=True))
    if not found:
        raise TypeMismatch("COLUMNS matches no column.")
    return found


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        raise TypeMismatch("The regular expression is not well formed.") from None


def _check_exclusions(select: exp.Select, visible: Columns) -> None:
    """`* EXCLUDE (nope)` is an error, as in DuckDB."""
    names: set[str] | None = set()
    for source in _sources(select):
        address = source.meta.get("address") if isinstance(source, exp.Table) else None
        if isinstance(address, Address) and names is not None:
            names |= {name.casefold() for name, _ in visible[address]}
        else:
            names = None
    for projection in select.expressions:
        star = projection.this if isinstance(projection, exp.Column) else projection
        if not isinstance(star, exp.Star):
            continue
        if star.args.get("rename"):
            raise UnsupportedSql("* RENAME is not served.", hint="List the columns with AS.")
        listed = [one.name for one in star.args.get("except_") or []]
        listed += [one.alias for one in star.args.get("replace") or []]
        for name in listed:
            if names is None:
                raise UnsupportedSql("EXCLUDE and REPLACE are served over tables of the mesh only.")
            if name.casefold() not in names:
                raise TypeMismatch(f"There is no column {name} to exclude or replace.")


def _name_outputs(select: exp.Select) -> None:
    """Unnamed outputs get DuckDB's name where it is simple, so that outer queries can say it."""
    named = []
    for one in select.expressions:
        plain = isinstance(one, exp.Alias | exp.Column | exp.Star | exp.Aliases | exp.Dot)
        if plain or isinstance(select.parent, exp.Exists | exp.In):
            named.append(one)
            continue
        named.append(exp.alias_(one, duckdb_name(one), quoted=True))
    select.set("expressions", named)


def duckdb_name(node: exp.Expression) -> str:
    """DuckDB's name of an unnamed output, for the common forms."""
    if isinstance(node, exp.Count) and isinstance(node.this, exp.Star):
        return "count_star()"
    if isinstance(node, exp.Func) and not isinstance(node, exp.Cast | exp.Case):
        text = node.sql("duckdb")
        head, mark, rest = text.partition("(")
        return head.lower() + mark + rest
    if isinstance(node, exp.Binary):
        return f"({node.sql('duckdb')})"
    return node.sql("duckdb")


def expand_group_by_all(tree: exp.Expression) -> None:
    """GROUP BY ALL lists every output that holds no aggregate."""
    for select in tree.find_all(exp.Select):
        group = select.args.get("group")
        if group is None or not group.args.get("all"):
            continue
        keys = [
            one.unalias().copy()
            for one in select.expressions
            if not any(True for _ in _own_aggregates(one))
        ]
        keys = [one for one in keys if not isinstance(one, exp.Literal | exp.Null | exp.Boolean)]
        select.set("group", exp.Group(expressions=keys) if keys else None)


def _own_aggregates(node: exp.Expression) -> list[exp.AggFunc]:
    inner = {id(one) for query in node.find_all(exp.Query) for one in query.find_all(exp.AggFunc)}
    return [one for one in node.find_all(exp.AggFunc) if id(one) not in inner]


def owners_of(column: exp.Column, tree: exp.Expression, visible: Columns) -> set[str]:
    """The sources of the column's own query that have a column of that name."""
    for scope in traverse_scope(tree):
        if any(one is column for one in scope.columns):
            return {
                alias
                for alias, source in scope.sources.items()
                if column.name.casefold() in _output_names(source, visible)
            }
    return set()


def _output_names(source: exp.Expression | Scope, visible: Columns) -> set[str]:
    if isinstance(source, Scope):
        query = source.expression
        return (
            {one.alias_or_name.casefold() for one in query.selects}
            if isinstance(query, exp.Query)
            else set()
        )
    address = source.meta.get("address")
    return {name.casefold() for name, _ in visible.get(address, ())} if address else set()


def similar(name: str, tree: exp.Expression, visible: Columns) -> str | None:
    """A hint from the names that the statement's tables have, as the caller sees them."""
    used = {one.meta.get("address") for one in tree.find_all(exp.Table)}
    names = {
        column for address, columns in visible.items() if address in used for column, _ in columns
    }
    return close(name, sorted(names))


def close(name: str, names: list[str]) -> str | None:
    """`Did you mean ...` where one name is close."""
    folded = {one.casefold(): one for one in names}
    found = difflib.get_close_matches(name.casefold(), list(folded), 1, 0.7)
    return f"Did you mean {folded[found[0]]}?" if found else None
