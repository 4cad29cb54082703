"""Where tables of the mesh lie.

Takes: addresses, a snapshot. Gives: `PhysicalTable`s, by their contracts. Never asks a source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from catalog.model import Product
from gateway.draft import PhysicalTable
from gateway.resolve import Address
from gateway.snapshot import Snapshot


def physical_tables(
    addresses: tuple[Address, ...],
    snapshot: Snapshot,
    tables_of: Callable[[Product], Mapping[Address, PhysicalTable]] | None = None,
) -> Mapping[Address, PhysicalTable]:
    """Where the tables lie, by their contracts. `tables_of` may remember those of a product."""
    wanted = {(one.domain, one.product, one.major) for one in addresses}
    found: dict[Address, PhysicalTable] = {}
    for product in snapshot.mesh.products:
        if (product.domain, product.name, product.major) not in wanted:
            continue
        found.update((tables_of or tables_of_product)(product))
    return found


def tables_of_product(product: Product) -> Mapping[Address, PhysicalTable]:
    """Where the tables of one product lie."""
    found: dict[Address, PhysicalTable] = {}
    for table in product.tables:
        address = Address(product.domain, product.name, table.name, product.major)
        columns = {one.name: (one.physical_name, one.type) for one in table.columns}
        key = table.primary_key
        found[address] = PhysicalTable(
            product.source,
            table.physical_name,
            columns,
            unique=frozenset(key if len(key) == 1 else ())
            | {one.name for one in table.columns if one.unique},
            keys_stay=frozenset(one.name for one in table.columns if one.keys_stay),
        )
    return found
