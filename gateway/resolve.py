"""Which tables of the mesh a query names, scope by scope (stage 2).

Takes: a `ParsedStatement`, the `Directory` of what the caller may know, his default domain.
Gives: a `ResolvedQuery`. Never reads a policy; never learns of a table that is not in the
directory (DESIGN 4.1).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from gateway.errors import AmbiguousName, InternalError, UnknownTable, UnsupportedSql
from gateway.parse import ParsedStatement


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
      `meta["implicit_alias"]` is true where the alias is ours, `meta["written"]` the parts as
      the caller wrote them.
    tables: the distinct addresses in order of first mention, used or not by the result.
    parameters: how many parameters the query has.
    """

    tree: exp.Expression
    tables: tuple[Address, ...]
    parameters: int = 0


def resolve(statement: ParsedStatement, directory: Directory, domain: str | None) -> ResolvedQuery:
    """The query with its tables found.

    Raises UnknownTable (the same for what is denied and for what does not exist) and
    AmbiguousName, which lists only what the caller may know.
    """
    if statement.tree is None:
        raise InternalError("a statement without a query cannot be resolved")
    tree = statement.tree.copy()
    resolver = _Resolver(directory, domain)
    resolver.walk(tree, frozenset())
    for table in tree.find_all(exp.Table):
        if "address" not in table.meta and "cte" not in table.meta and not _is_function(table):
            raise InternalError("a table was left unresolved")
    return ResolvedQuery(tree, tuple(dict.fromkeys(resolver.found)), statement.parameters)


def _is_function(table: exp.Table) -> bool:
    return isinstance(table.this, exp.Func)


class _Resolver:
    """Walks a tree with the names of the CTEs that are in scope."""

    def __init__(self, directory: Directory, domain: str | None) -> None:
        self._directory = directory
        self._domain = domain
        self.found: list[Address] = []

    def walk(self, node: exp.Expression, ctes: frozenset[str]) -> None:
        """Resolve every table below; CTE names are visible from their definition on."""
        with_ = node.args.get("with_")
        if with_ is not None:
            for cte in with_.expressions:
                own = frozenset({cte.alias.casefold()}) if with_.recursive else frozenset()
                self.walk(cte.this, ctes | own)
                ctes = ctes | {cte.alias.casefold()}
        if isinstance(node, exp.Table) and not _is_function(node):
            self._table(node, ctes)
        for key, value in node.args.items():
            if key == "with_":
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, exp.Expression):
                    self.walk(child, ctes)

    def _table(self, table: exp.Table, ctes: frozenset[str]) -> None:
        parts = tuple(part.name for part in table.parts)
        if len(parts) == 1 and parts[0].casefold() in ctes:
            table.meta["cte"] = True
            return
        address = self._lookup(_split_dotted(parts))
        self.found.append(address)
        alias = table.args.get("alias")
        implicit = alias is None or not alias.name
        columns = alias.args.get("columns") if alias is not None else None
        name = _without_version(parts[-1]) if alias is None or implicit else alias.name
        for key, value in (
            ("this", address.table),
            ("db", address.product),
            ("catalog", address.domain),
        ):
            table.set(key, exp.to_identifier(value, quoted=True))
        table.set(
            "alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True), columns=columns)
        )
        table.meta.update(address=address, implicit_alias=implicit, written=parts)

    def _lookup(self, parts: tuple[str, ...]) -> Address:
        """The first level that matches wins (DESIGN 4.1)."""
        levels = []
        if self._domain is not None and len(parts) <= 2:
            levels.append((self._domain, *parts))
        if len(parts) >= 2:
            levels.append(parts)
        for level in levels:
            matches = self._match(level)
            if len(matches) > 1:
                raise AmbiguousName(
                    f"{'.'.join(parts)} can mean {', '.join(sorted(map(_pinned, matches)))}.",
                    hint='Name the version, as in domain."product@1".table.',
                )
            if matches:
                return matches[0]
        raise UnknownTable(
            f"There is no table {'.'.join(parts)} that you may query.", hint=self._similar(parts)
        )

    def _match(self, parts: tuple[str, ...]) -> list[Address]:
        if len(parts) not in (2, 3):
            return []
        product_name, version = _version(parts[1])
        known = self._directory.products.get((parts[0].casefold(), product_name.casefold()))
        if known is None:
            return []
        majors = (
            [version]
            if version is not None
            else ([known.preferred] if known.preferred is not None else sorted(known.tables))
        )
        found = []
        for major in majors:
            table = _table_of(known, major, parts[2] if len(parts) == 3 else None)
            if table is not None:
                found.append(Address(known.domain, known.product, table, major))
        return found

    def _similar(self, parts: tuple[str, ...]) -> str | None:
        names = []
        for one in self._directory.products.values():
            for tables in one.tables.values():
                names += [f"{one.domain}.{one.product}.{table}" for table in tables]
                names.append(f"{one.domain}.{one.product}")
        close = difflib.get_close_matches(".".join(parts).casefold(), names, 1, 0.75)
        return f"Did you mean {close[0]}? SHOW TABLES lists what you may query." if close else None


def _table_of(known: KnownProduct, major: int, name: str | None) -> str | None:
    tables = known.tables.get(major, ())
    if name is None:
        default = known.default_tables.get(major)
        return default or (tables[0] if len(tables) == 1 else None)
    folded = name.casefold()
    return next((one for one in tables if one.casefold() == folded), None)


def _split_dotted(parts: tuple[str, ...]) -> tuple[str, ...]:
    """`"sales.orders".lines`, as tools with two levels write it."""
    if len(parts) > 3:
        raise UnsupportedSql("A table is named domain.product.table.")
    if len(parts) == 2 and parts[0].count(".") == 1:
        return (*parts[0].split("."), parts[1])
    return parts


def _version(name: str) -> tuple[str, int | None]:
    base, mark, version = name.rpartition("@")
    return (base, int(version)) if mark and version.isdigit() else (name, None)


def _without_version(name: str) -> str:
    return _version(name)[0]


def _pinned(address: Address) -> str:
    return f'{address.domain}."{address.product}@{address.major}".{address.table}'
