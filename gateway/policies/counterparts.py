"""Which columns of an older revision a column of a newer one may be.

Takes: two meshes. Gives: for a column the older ones with the same data, by its place in a source
and by its address. Never opens a source: two names of one database, or a view that copies a
table, look different to it (docs/security.md says so).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from catalog.model import Column, Mesh, Product, Source, Table
from catalog.own_products import DOMAIN

# Escaped characters, and globs: a list of YAML's has a space before its bracket.
_ESCAPES = re.compile(r"""[\\*?]|[\w/.'"-]\[""")


@dataclass(frozen=True, slots=True)
class Spot:
    """A column where it stands in a revision."""

    product: Product
    table: Table
    column: Column

    @property
    def address(self) -> str:
        """`domain.product.table`."""
        return f"{self.product.address}.{self.table.name}"


class Counterparts:
    """Looks older columns up. The gateway's own products have none."""

    def __init__(self, before: Mesh, after: Mesh) -> None:
        """Sort the older columns by address and by physical name."""
        self._before, self._after = before.sources, after.sources
        self._by_address: dict[tuple[str, ...], list[Spot]] = defaultdict(list)
        self._by_name: dict[str, list[Spot]] = defaultdict(list)
        for spot in spots(before):
            self._by_address[_address(spot)].append(spot)
            self._by_name[_folded(spot.column.physical_name)].append(spot)

    def unmoved(self, spot: Spot) -> Spot | None:
        """The older column of the same address and place."""
        for one in self._by_address.get(_address(spot), []):
            if one.product.major == spot.product.major and self._is_unmoved(one, spot):
                return one
        return None

    def named(self, spot: Spot) -> tuple[Spot, ...]:
        """The older columns at its address, in any major."""
        return tuple(self._by_address.get(_address(spot), []))

    def placed(self, spot: Spot) -> tuple[Spot, ...]:
        """The older columns that may hold the same data."""
        found = self._by_name.get(_folded(spot.column.physical_name), [])
        return tuple(one for one in found if self._is_one_place(one, spot))

    def is_one_table(self, old: Spot, new: Spot) -> bool:
        """Whether two columns stand in one physical table."""
        return self._is_one_place(old, new, whole_table=True)

    def _is_unmoved(self, old: Spot, new: Spot) -> bool:
        ours, theirs = self._before.get(old.product.source), self._after.get(new.product.source)
        return (
            old.product.source == new.product.source and ours is not None and theirs is not None
            and _backend(ours) == _backend(theirs)
            and _folded(old.table.physical_name) == _folded(new.table.physical_name)
            and _folded(old.column.physical_name) == _folded(new.column.physical_name)
        )  # fmt: skip

    def _is_one_place(self, old: Spot, new: Spot, whole_table: bool = False) -> bool:
        one_column = _folded(old.column.physical_name) == _folded(new.column.physical_name)
        return (
            (whole_table or one_column)
            and _is_one_name(old.table.physical_name, new.table.physical_name)
            and self._is_one_source(old.product.source, new.product.source)
        )

    def _is_one_source(self, old: str, new: str) -> bool:
        """A source that is new, or whose settings changed, may be any of its kind and domain."""
        ours, theirs = self._before.get(old), self._after.get(new)
        if old == new or ours is None or theirs is None:
            return True
        if _backend(ours) == _backend(theirs):
            return True
        known = self._before.get(new)
        is_new = known is None or _backend(known) != _backend(theirs)
        return is_new and ours.domain == theirs.domain and ours.kind == theirs.kind


def spots(mesh: Mesh) -> Iterator[Spot]:
    """Every column of the domains' products, served or not."""
    for product in mesh.products:
        if product.domain != DOMAIN:
            for table in product.tables:
                for column in table.columns:
                    yield Spot(product, table, column)


def _address(spot: Spot) -> tuple[str, ...]:
    product = spot.product
    return tuple(
        one.casefold()
        for one in (product.domain, product.name, spot.table.name, spot.column.name)
    )


def _backend(source: Source) -> tuple[str, tuple[tuple[str, str], ...]]:
    return source.kind, tuple(sorted(source.settings.items()))


def _folded(name: str) -> str:
    return name.replace('"', "").casefold()


def may_mention(text: str, spot: Spot) -> bool:
    """Whether a file may declare a column at the same place: cheap, and never False for one that
    does. A file that escapes characters or names files by globs may declare anything.
    """
    folded = text.casefold()
    if _folded(spot.column.physical_name) not in folded and "\\" not in folded:
        return False
    table = _last(spot.table.physical_name)
    return table in folded or _ESCAPES.search(folded) is not None or bool(set("*?[") & set(table))


def _is_one_name(one: str, other: str) -> bool:
    """Physical tables: with or without a schema, files by globs that may meet."""
    ours, theirs = _last(one), _last(other)
    if ours == theirs or fnmatchcase(ours, theirs) or fnmatchcase(theirs, ours):
        return True
    return all(set("*?[") & set(name) for name in (ours, theirs))


def _last(name: str) -> str:
    folded = _folded(name)
    if "/" in folded or "*" in folded or folded.endswith((".csv", ".json", ".parquet", ".ndjson")):
        return folded.rsplit("/", maxsplit=1)[-1]
    return folded.rsplit(".", maxsplit=1)[-1]
