"""Names to visible, typed columns (stage 4).

Takes: a `ResolvedQuery` and the visible columns of its tables. Gives: a `BoundQuery`. Never
learns that hidden columns exist (DESIGN 4.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import OptimizeError, SchemaError, SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, traverse_scope

from gateway.errors import AmbiguousName, SqluiceError, UnknownColumn, UnsupportedSql
from gateway.names import close, expand_group_by_all, owners_of, prepare_names, similar
from gateway.resolve import Address, ResolvedQuery

# The visible columns of each table: (name, DuckDB type) in contract order.
Visible = Mapping[Address, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class BoundQuery:
    """A query whose every identifier is resolved.

    tree: every exp.Column has a quoted table that is an alias of its scope (or of an enclosing
      one) and a quoted name in declared case; no star but count(*); every projection of every
      query has an alias; tables of the mesh keep `meta["address"]`, are quoted, and have an
      alias. Parameters are exp.Parameter or exp.Placeholder normalised to `$1`, `$2` ...
    outputs: the names of the result's columns, as DuckDB would name them.
    columns: per table the visible columns that the query reads anywhere.
    """

    tree: exp.Expression
    outputs: tuple[str, ...]
    columns: Mapping[Address, frozenset[str]]
    parameters: int = 0


def bind(resolved: ResolvedQuery, visible: Visible) -> BoundQuery:
    """Every name bound to a visible column.

    Raises UnknownColumn, AmbiguousName, UnsupportedSql for what is not bound exactly.
    """
    tree = resolved.tree.copy()
    _refuse_two_majors(resolved.tables)
    prepare_names(tree, visible)
    known = {
        address: {name.casefold(): name for name, _ in columns}
        for address, columns in visible.items()
    }
    tree = _qualified(tree, visible)
    expand_group_by_all(tree)
    columns = _restore_case(tree, known)
    _check(tree, visible)
    outputs = tuple(one.alias_or_name for one in _selects(tree))
    return BoundQuery(tree, outputs, columns, resolved.parameters)


def _refuse_two_majors(tables: tuple[Address, ...]) -> None:
    if len({str(one) for one in tables}) != len(tables):
        raise UnsupportedSql("Two versions of one table in one statement are not served.")


def _selects(tree: exp.Expression) -> list[exp.Expr]:
    return list(tree.selects) if isinstance(tree, exp.Query) else []


def _qualified(tree: exp.Expression, visible: Visible) -> exp.Expression:
    schema: dict[str, object] = {}
    for address, columns in visible.items():
        domain = schema.setdefault(address.domain.casefold(), {})
        product = domain.setdefault(address.product.casefold(), {})  # type: ignore[attr-defined]
        product[address.table.casefold()] = {name.casefold(): kind for name, kind in columns}
    try:
        return qualify(
            tree,
            dialect="duckdb",
            schema=schema or None,
            isolate_tables=False,
            validate_qualify_columns=False,
            quote_identifiers=True,
            identify=True,
        )
    except (OptimizeError, SchemaError) as error:
        raise _name_error(str(error), tree, visible) from None
    except (SqlglotError, KeyError, AttributeError, ValueError, RecursionError) as error:
        raise UnsupportedSql(
            "The names of this statement cannot be bound.",
            hint="Give every table an alias and every column its table.",
            private=repr(error),
        ) from None


def _name_error(message: str, tree: exp.Expression, visible: Visible) -> SqluiceError:
    """sqlglot's wording as ours; it has seen nothing but visible names."""
    found = re.search(r"[`'\":]\s*[\"']?([^\"'`.,]+)[\"']?", message)
    name = found.group(1).strip() if found else ""
    if "mbiguous" in message:
        return AmbiguousName(
            f"The column {name} can mean several tables' columns.", hint="Write it with its table."
        )
    if "table" in message.lower() and "column" not in message.lower():
        return UnknownColumn(f"{name} names no table of this statement.")
    return UnknownColumn(f"There is no column {name}.", hint=similar(name, tree, visible))


def _restore_case(
    tree: exp.Expression, known: Mapping[Address, Mapping[str, str]]
) -> Mapping[Address, frozenset[str]]:
    """Declared names for tables and their columns; gives which columns are read."""
    read: dict[Address, set[str]] = {address: set() for address in known}
    done: set[int] = set()
    for scope in traverse_scope(tree):
        for column in scope.columns:
            address = _address_of(scope, column.table)
            if address is None or id(column) in done:
                continue
            declared = known[address].get(column.name.casefold())
            if declared is None:
                raise UnknownColumn(
                    f"There is no column {column.name} in {address}.",
                    hint=close(column.name, list(known[address].values())),
                )
            done.add(id(column))
            column.set("this", exp.to_identifier(declared, quoted=True))
            read[address].add(declared)
    for table in tree.find_all(exp.Table):
        found = table.meta.get("address")
        if found is not None:
            for key, value in (
                ("this", found.table),
                ("db", found.product),
                ("catalog", found.domain),
            ):
                table.set(key, exp.to_identifier(value, quoted=True))
    return {address: frozenset(names) for address, names in read.items()}


def _address_of(scope: Scope | None, alias: str) -> Address | None:
    """The mesh table behind an alias, in this scope or the nearest enclosing one."""
    while scope is not None:
        source = scope.sources.get(alias)
        if source is not None:
            found = source.meta.get("address") if isinstance(source, exp.Table) else None
            return found if isinstance(found, Address) else None
        scope = scope.parent
    return None


def _check(tree: exp.Expression, visible: Visible) -> None:
    """The postcondition: what is not bound is refused, never passed on."""
    lambdas = {
        name.name.casefold() for one in tree.find_all(exp.Lambda) for name in one.expressions
    } | {
        one.name.casefold()
        for each in tree.find_all(exp.Comprehension)
        for one in each.find_all(exp.Identifier)
        if one.parent is each or one.arg_key == "this"
    }
    aliases = {
        one.alias_or_name.casefold()
        for one in tree.find_all(
            exp.Table, exp.Subquery, exp.CTE, exp.Unnest, exp.Lateral, exp.Values
        )
    }
    for node in tree.walk():
        if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count):
            raise UnsupportedSql("* is not served here.", hint="Name the columns.")
        if isinstance(node, exp.Columns):
            raise UnsupportedSql("COLUMNS(...) is not served here.", hint="Name the columns.")
        if isinstance(node, exp.TableColumn):
            raise UnsupportedSql(
                f"The whole row of {node.name} is no value here.",
                hint=f"Write {node.name}.* or name the columns.",
            )
        if isinstance(node, exp.Column) and not _is_free_name(node, lambdas):
            _check_column(node, aliases, visible, tree)


def _is_free_name(column: exp.Column, lambdas: set[str]) -> bool:
    """A lambda's parameter, or an output named in ORDER BY."""
    if column.table:
        return False
    inside = column.find_ancestor(exp.Lambda, exp.Comprehension) is not None
    return (inside and column.name.casefold() in lambdas) or _is_output(column)


def _check_column(
    column: exp.Column, aliases: set[str], visible: Visible, tree: exp.Expression
) -> None:
    if column.table:
        if column.table.casefold() not in aliases:
            raise UnknownColumn(f"{column.table} names no table of this statement.")
        return
    owners = owners_of(column, tree, visible)
    if len(owners) > 1:
        raise AmbiguousName(
            f"The column {column.name} can mean that of {' or '.join(sorted(owners))}.",
            hint="Write it with its table.",
        )
    raise UnknownColumn(
        f"There is no column {column.name}.", hint=similar(column.name, tree, visible)
    )


def _is_output(column: exp.Column) -> bool:
    """Whether an ORDER BY, or DISTINCT ON, names an output of its own query."""
    clause = column.find_ancestor(exp.Order, exp.Distinct, exp.Query)
    query = clause.parent if isinstance(clause, exp.Order | exp.Distinct) else None
    if not isinstance(query, exp.Query):
        return False
    return column.name in {one.alias_or_name for one in query.selects}
