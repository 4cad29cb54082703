"""Which tables of the mesh a query names, scope by scope (stage 2).

Takes: a `ParsedStatement`, the `Directory` of what the caller may know, his default domain.
Gives: a `ResolvedQuery`. Never reads a policy; never learns of a table that is not in the
directory (DESIGN 4.1).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from gateway.errors import AmbiguousName, InternalError, ParseError, UnknownTable
from gateway.parse import ParsedStatement
from gateway.places import place_of, refusal
from gateway.trees import copied, noted


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

    def __deepcopy__(self, memo: object) -> Address:
        """Itself: trees that are copied carry addresses, and nothing of one can change."""
        return self


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
      It is shared by all who ask the same: whoever changes it copies it first.
    tables: the distinct addresses in order of first mention, used or not by the result.
    parameters: how many parameters the query has.
    references: what each reference to a table means, in the order of the text.
    """

    tree: exp.Expression
    tables: tuple[Address, ...]
    parameters: int = 0
    references: tuple[Address, ...] = ()


def resolve(statement: ParsedStatement, directory: Directory, domain: str | None) -> ResolvedQuery:
    """The query with its tables found.

    Raises UnknownTable (the same for what is denied and for what does not exist) and
    AmbiguousName, which lists only what the caller may know.
    """
    if statement.tree is None:
        raise InternalError("a statement without a query cannot be resolved")
    tree = copied(statement.tree)
    resolver = _Resolver(directory, domain)
    resolver.walk(tree, frozenset())
    for table in tree.find_all(exp.Table):
        if "address" not in table.meta and "cte" not in table.meta and not _is_function(table):
            raise InternalError("a table was left unresolved")
    found = tuple(address for _, address in sorted(resolver.found, key=lambda one: one[0]))
    return ResolvedQuery(tree, tuple(dict.fromkeys(found)), statement.parameters, found)


def survey(
    statement: ParsedStatement, directory: Directory, domain: str | None
) -> exp.Expression:
    """The tree with its tables found as far as the caller may know them, for explanations only.

    A table that he may not know stays as he wrote it, with `meta["missing"]` = the error that he
    meets: it is the same whether there is such a table or not.
    """
    if statement.tree is None:
        raise InternalError("a statement without a query cannot be surveyed")
    tree = statement.tree.copy()
    _Resolver(directory, domain, is_lenient=True).walk(tree, frozenset())
    return tree


def _is_function(table: exp.Table) -> bool:
    return isinstance(table.this, exp.Func)


_WITHOUT_TABLES = frozenset({exp.Column, exp.Identifier, exp.Literal, exp.DataType})


class _Resolver:
    """Walks a tree with the names of the CTEs that are in scope."""

    def __init__(
        self, directory: Directory, domain: str | None, is_lenient: bool = False
    ) -> None:
        self._directory = directory
        self._defaults = _defaults(domain)
        self._is_lenient = is_lenient
        self._recursive: dict[int, str] = {}
        # Each with its place in the text, since the tree has an order of its own.
        self.found: list[tuple[int, Address]] = []

    def walk(self, node: exp.Expr, ctes: frozenset[str]) -> None:
        """Resolve every table below; CTE names are visible from their definition on."""
        with_ = node.args.get("with_")
        if isinstance(with_, exp.With):
            ctes = self._define(with_, ctes)
        own = self._recursive.get(id(node))
        if own is not None:
            ctes = ctes | {own}
        if isinstance(node, exp.Table) and not _is_function(node):
            self._table(node, ctes)
        for key, value in node.args.items():
            if key == "with_":
                continue
            for child in value if type(value) is list else (value,):
                if isinstance(child, exp.Expr) and type(child) not in _WITHOUT_TABLES:
                    self.walk(child, ctes)

    def _define(self, with_: exp.With, ctes: frozenset[str]) -> frozenset[str]:
        defined: set[str] = set()
        for cte in with_.expressions:
            name = cte.alias.casefold()
            if name in defined:
                line, column = place_of(cte)
                raise ParseError(
                    f"Two CTEs of one WITH are named {cte.alias}.", line=line, column=column
                )
            body = cte.this.unnest() if isinstance(cte.this, exp.Subquery) else cte.this
            if with_.recursive and isinstance(body, exp.Union):
                # As in DuckDB a CTE knows itself in the second arm only: in the first its name
                # still means what it meant outside.
                self._recursive[id(body.expression)] = name
            self.walk(cte.this, ctes)
            ctes = ctes | {name}
            defined.add(name)
        return ctes

    def _table(self, table: exp.Table, ctes: frozenset[str]) -> None:
        parts = tuple(part.name for part in table.parts)
        if len(parts) == 1 and parts[0].casefold() in ctes:
            noted(table, cte=True)
            return
        if len(parts) > 3:
            raise refusal(
                "A name of more than three parts is not served",
                table,
                "A table is named domain.product.table.",
            )
        try:
            address = self._lookup(table, _split_dotted(parts))
        except UnknownTable as error:
            if not self._is_lenient:
                raise
            noted(table, missing=error, written=parts)
            return
        self.found.append((int(table.parts[-1].meta.get("start", 0)), address))
        alias = table.args.get("alias")
        implicit = alias is None or not alias.name
        columns = alias.args.get("columns") if alias is not None else None
        name = _without_version(parts[-1]) if alias is None or implicit else alias.name
        place = dict(table.parts[-1].meta)
        for key, value in (
            ("this", address.table),
            ("db", address.product),
            ("catalog", address.domain),
        ):
            table.set(key, exp.to_identifier(value, quoted=True))
        noted(table.this, **place)
        table.set(
            "alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True), columns=columns)
        )
        noted(table, address=address, implicit_alias=implicit, written=parts)

    def _lookup(self, table: exp.Table, parts: tuple[str, ...]) -> Address:
        """The first level that matches wins (DESIGN 4.1)."""
        levels = [(*one, *parts) for one in self._defaults if len(one) + len(parts) <= 3]
        if len(parts) >= 2:
            levels.append(parts)
        for level in levels:
            matches = self._match(level)
            if len(matches) > 1:
                raise self._ambiguous(table, parts, matches)
            if matches:
                return matches[0]
        raise self._unknown(table, parts)

    def _match(self, parts: tuple[str, ...]) -> list[Address]:
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

    def _ambiguous(
        self, table: exp.Table, parts: tuple[str, ...], matches: list[Address]
    ) -> AmbiguousName:
        line, column = place_of(table)
        made = AmbiguousName(
            f"{_shown(parts)} can mean {', '.join(sorted(map(_pinned, matches)))}"
            f"{_at(line, column)}.",
            line=line,
            column=column,
            hint='Name the version, as in domain."product@1".table.',
        )
        made.product = f"{matches[0].domain}.{matches[0].product}"
        return made

    def _unknown(self, table: exp.Table, parts: tuple[str, ...]) -> UnknownTable:
        line, column = place_of(table)
        return UnknownTable(
            f"There is no table {_shown(parts)} that you may query.",
            line=line,
            column=column,
            hint=self._similar(parts),
        )

    def _similar(self, parts: tuple[str, ...]) -> str | None:
        """What he may have meant, among what he may know."""
        spelled: dict[str, str] = {}
        for one in self._directory.products.values():
            product = f"{one.domain}.{one.product}"
            for tables in one.tables.values():
                for name in (f"{product}.{table}" for table in tables):
                    spelled.setdefault(name.casefold(), name)
                    spelled.setdefault(name.casefold().partition(".")[2], name)
                    spelled.setdefault(name.casefold().rpartition(".")[2], name)
            if any(_table_of(one, major, None) is not None for major in one.tables):
                spelled[product.casefold()] = product
                spelled.setdefault(one.product.casefold(), product)
        written = ".".join(parts).casefold()
        close = difflib.get_close_matches(written, spelled, 1, 0.75)
        if not close:
            return None
        return f"Did you mean {spelled[close[0]]}? SHOW TABLES lists what you may query."


def _table_of(known: KnownProduct, major: int, name: str | None) -> str | None:
    tables = known.tables.get(major, ())
    if name is None:
        default = known.default_tables.get(major)
        return default or (tables[0] if len(tables) == 1 else None)
    folded = name.casefold()
    return next((one for one in tables if one.casefold() == folded), None)


def written_address(
    parts: tuple[str, ...], directory: Directory, domain: str | None
) -> tuple[str, str, str | None, int | None] | None:
    """Domain, product, table and major that a name would mean; None where it is too short.

    Known from the name and from what the caller may know alone.
    """
    parts = _split_dotted(parts)
    is_domain = any(key[0] == parts[0].casefold() for key in directory.products)
    if domain is not None and (len(parts) == 1 or (len(parts) == 2 and not is_domain)):
        parts = (_defaults(domain)[-1][0], *parts)
    if len(parts) not in (2, 3):
        return None
    product, major = _version(parts[1])
    return parts[0], product, parts[2] if len(parts) == 3 else None, major


def _defaults(domain: str | None) -> tuple[tuple[str, ...], ...]:
    """Where short names are looked up: in the product, where one is named, then in its domain."""
    if domain is None:
        return ()
    name, dot, product = domain.partition(".")
    return ((name, product), (name,)) if dot else ((name,),)


def _split_dotted(parts: tuple[str, ...]) -> tuple[str, ...]:
    """`"sales.orders".lines`, as tools with two levels write it."""
    if len(parts) == 2 and parts[0].count(".") == 1:
        return (*parts[0].split("."), parts[1])
    return parts


_PINNED = re.compile(r"(.+)@([0-9]{1,9})", re.DOTALL)


def _version(name: str) -> tuple[str, int | None]:
    match = _PINNED.fullmatch(name)
    return (match.group(1), int(match.group(2))) if match else (name, None)


def _without_version(name: str) -> str:
    return _version(name)[0]


def _pinned(address: Address) -> str:
    return f'{address.domain}."{address.product}@{address.major}".{address.table}'


def _shown(parts: tuple[str, ...]) -> str:
    return ".".join(parts)[:200]


def _at(line: int | None, column: int | None) -> str:
    return "" if line is None else f" (line {line}, column {column})"
