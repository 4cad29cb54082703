"""Names to visible, typed columns (stage 4).

Takes: a `ResolvedQuery` and the visible columns of its tables. Gives: a `BoundQuery`. Never
learns that hidden columns exist (DESIGN 4.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from gateway.binding.check import columns_read
from gateway.binding.queries import Binder
from gateway.binding.scopes import Scope, Shape, Visible
from gateway.errors import UnknownColumn, UnsupportedSql
from gateway.resolve import Address, ResolvedQuery
from gateway.trees import copied, without_notes


@dataclass(frozen=True, slots=True)
class BoundQuery:
    """A query whose every identifier is resolved.

    tree: every exp.Column has a quoted table that is an alias of its scope (or of an enclosing
      one) and a quoted name in declared case; no star but count(*); every projection of every
      query has an alias; tables of the mesh keep `meta["address"]`, are quoted, and have an
      alias, unique among those around it. An ORDER BY or DISTINCT ON that means an output names
      it without a table, or by its number where the name is not its own. USING and NATURAL are
      conditions. Parameters are exp.Parameter or exp.Placeholder normalised to `$1`, `$2` ...
    outputs: the names of the result's columns, as DuckDB would name them.
    columns: per table the visible columns that the query reads anywhere.
    """

    tree: exp.Expression
    outputs: tuple[str, ...]
    columns: Mapping[Address, frozenset[str]]
    parameters: int = 0


def bind(resolved: ResolvedQuery, visible: Visible) -> BoundQuery:
    """Every name bound to a visible column.

    Raises UnknownColumn, AmbiguousName, UnsupportedSql for what is not bound exactly; never
    mentions a name that is not visible.
    """
    try:
        bound = Binder(visible).bind(copied(resolved.tree), Scope(parent=None), Shape())
        columns = columns_read(bound.node, visible)
    except UnknownColumn as error:
        products = {f"{one.domain}.{one.product}" for one in resolved.tables}
        error.product = products.pop() if len(products) == 1 else ""
        raise
    except RecursionError:
        raise UnsupportedSql("The statement is nested too deeply.") from None
    outputs = tuple(one.name for one in bound.outputs)
    # No later stage tells places: what it would say of them is known by now.
    tree = without_notes(bound.node, but="address")
    return BoundQuery(tree, outputs, columns, resolved.parameters)


__all__ = ["BoundQuery", "Visible", "bind"]
