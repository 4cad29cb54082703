"""Names to visible, typed columns (stage 4).

Takes: a `ResolvedQuery` and the visible columns of its tables. Gives: a `BoundQuery`. Never
learns that hidden columns exist (DESIGN 4.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from gateway.resolve import Address

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
