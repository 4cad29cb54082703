"""Which policies may concern which tables and columns, found once for a whole mesh.

Takes: a mesh. Gives: for a table its policies, and for each of its columns those that mask or
hide it, or keep its keys at home. Never compiles a condition. Policies are looked up by the words
they match, so that a thousand products with hundreds of policies load while a person waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from catalog.model import Column, Match, Mesh, Policy, Product, Table

# What concerns a column by itself; all else concerns its table.
COLUMN_EFFECTS = ("mask", "hide", "keysStay")
Positions = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Concerned:
    """The policies of one table: those of the table itself, and by column."""

    table: tuple[Policy, ...]
    columns: Mapping[str, tuple[Policy, ...]]


@dataclass(slots=True)
class _Domain:
    """The policies that may concern one domain, by the words that they match."""

    policies: tuple[Policy, ...]
    wide: list[int] = field(default_factory=list)
    by_tag: dict[str, list[int]] = field(default_factory=dict)
    by_class: dict[str, list[int]] = field(default_factory=dict)
    by_column: dict[str, list[int]] = field(default_factory=dict)
    known: dict[tuple[frozenset[str], str | None, str], Positions] = field(default_factory=dict)


class Concerning:
    """Looks policies up by table and column."""

    def __init__(self, mesh: Mesh) -> None:
        """Sort the policies by domain and by word."""
        self._regions = {name: one.region for name, one in mesh.sources.items()}
        self._domains = {one.name: _domain(mesh.policies, one.name) for one in mesh.domains}

    def of(self, product: Product, table: Table) -> Concerned:
        """All policies that may concern a table or one of its columns."""
        domain = self._domains.get(product.domain)
        if domain is None:
            return Concerned((), {})
        outer = table.tags | product.tags
        by_column = {one.name: _positions(domain, one, outer) for one in table.columns}
        named = {position for found in by_column.values() for position in found}
        here = {
            position
            for position in sorted(named)
            if self._is_here(domain.policies[position].match, product, table)
        }
        return Concerned(
            tuple(
                domain.policies[position]
                for position in sorted(here)
                if domain.policies[position].effect not in COLUMN_EFFECTS
            ),
            {
                name: tuple(
                    domain.policies[position]
                    for position in found
                    if position in here and domain.policies[position].effect in COLUMN_EFFECTS
                )
                for name, found in by_column.items()
            },
        )

    def _is_here(self, match: Match, product: Product, table: Table) -> bool:
        return (
            match.domain in (None, product.domain)
            and match.product in (None, product.name, product.address)
            and match.table in (None, table.name, f"{product.address}.{table.name}")
            and match.region in (None, self._regions.get(product.source))
        )


def _domain(policies: Iterable[Policy], name: str) -> _Domain:
    own = tuple(
        one for one in policies if one.domain in (None, name) and one.match.domain in (None, name)
    )
    made = _Domain(own)
    for position, one in enumerate(own):
        match = one.match
        # One kind of word is enough to find a policy; the others are compared afterwards.
        index, words = (
            (made.by_tag, match.tags) if match.tags
            else (made.by_class, match.classifications) if match.classifications
            else (made.by_column, match.columns)
        )  # fmt: skip
        for word in words:
            index.setdefault(word, []).append(position)
        if not words:
            made.wide.append(position)
    return made


def _positions(domain: _Domain, column: Column, outer: frozenset[str]) -> Positions:
    tags = column.tags | outer
    key = (tags, column.classification, column.name)
    found = domain.known.get(key)
    if found is None:
        words = _with_ancestors(tags)
        candidates = set(domain.wide)
        for tag in words:
            candidates.update(domain.by_tag.get(tag, ()))
        candidates.update(domain.by_class.get(column.classification or "", ()))
        candidates.update(domain.by_column.get(column.name, ()))
        found = domain.known[key] = tuple(
            position
            for position in sorted(candidates)
            if _is_meant(domain.policies[position].match, column, words)
        )
    return found


def _with_ancestors(tags: Iterable[str]) -> frozenset[str]:
    """A tag implies those above it."""
    found = set()
    for tag in tags:
        parts = tag.split(".")
        found |= {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return frozenset(found)


def _is_meant(match: Match, column: Column, words: frozenset[str]) -> bool:
    return (
        (not match.tags or bool(match.tags & words))
        and (not match.classifications or column.classification in match.classifications)
        and (not match.columns or column.name in match.columns)
    )
