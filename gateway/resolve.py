"""Which tables of the mesh a query names, scope by scope (stage 2).

Takes: a `ParsedStatement`, the `Directory` of what the caller may know, his default domain.
Gives: a `ResolvedQuery`. Never reads a policy; never learns of a table that is not in the
directory (DESIGN 4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp


@dataclass(frozen=True, slots=True)
class Address:
    """`domain.product.table` of one major version, in the case of its declaration."""

    domain: str
    product: str
    table: str
    major: int = 1

    def __str__(self) -> str:
        """Three parts, without the version."""
        return f"{self.domain}.{self.product}.{self.table}"


@dataclass(frozen=True, slots=True)
class KnownProduct:
    """A product that the caller may know: its tables, default table and the majors he may read.

    `preferred` is the major that the unpinned name means (the grant's pin, else the newest active
    one); None where his grants pin different majors. `tables` maps a major to its table names.
    """

    domain: str
    product: str
    tables: Mapping[int, tuple[str, ...]]
    default_tables: Mapping[int, str | None]
    preferred: int | None


@dataclass(frozen=True, slots=True)
class Directory:
    """Everything that one caller may know, by case-folded `(domain, product)`."""

    products: Mapping[tuple[str, str], KnownProduct]


@dataclass(frozen=True, slots=True)
class ResolvedQuery:
    """A query in whose tree each reference to a table of the mesh has been made canonical.

    tree: every exp.Table is either a one-part reference to a CTE in scope, or a table of the mesh
      with catalog, db, this = quoted domain, product, table in declared case, an alias (the last
      part as the caller wrote it where he gave none) and `meta["address"]` = its Address.
      `meta["implicit_alias"]` is true where the alias is ours.
    tables: the distinct addresses in order of first mention, used or not by the result.
    parameters: how many parameters the query has.
    """

    tree: exp.Expression
    tables: tuple[Address, ...]
    parameters: int = 0
