"""Which entitlements a condition may ask.

Takes: a mesh. Gives: for an author and a table what his conditions may name. Never lets what a
domain can change decide what the governance group restricts, nor a table read itself.
"""

from __future__ import annotations

from types import MappingProxyType

from catalog.model import Mesh
from gateway.policies.conditions import Entitled


class DeclaredEntitlements:
    """What conditions may ask, by who wrote them and over which table."""

    def __init__(self, mesh: Mesh) -> None:
        """Look the tables of the entitlements up."""
        self._declared = mesh.entitlements
        self._tables = {
            f"{product.address}.{table.name}": table
            for product in mesh.products
            for table in product.tables
        }
        self._known: dict[tuple[str | None, str], Entitled] = {}

    def over(self, author: str | None, table: str) -> Entitled:
        """For a condition of `author` (None: the governance group) over a table."""
        if not self._declared:
            return Entitled()
        key = (author, table)
        if key not in self._known:
            self._known[key] = self._made(author, table)
        return self._known[key]

    def _made(self, author: str | None, over: str) -> Entitled:
        types: dict[str, str] = {}
        single: dict[str, str] = {}
        own = set()
        for one in self._declared:
            table = self._tables.get(one.table)
            # What a domain can change must not decide what the governance group restricts.
            if table is None or one.domain not in (None, author):
                continue
            if one.table == over:
                own.add(one.id)
                continue
            for name in one.values:
                column = table.column(name)
                if column is not None:
                    types[f"{one.id}.{name}"] = column.type
            if len(one.values) == 1:
                single[one.id] = f"{one.id}.{one.values[0]}"
        return Entitled(MappingProxyType(types), MappingProxyType(single), frozenset(own))
