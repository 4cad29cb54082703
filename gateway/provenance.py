"""What a caller is told of where his answer comes from.

Takes: a decision, the edges of a query, the mesh that decided. Gives: the products that were asked
and the masks that reached each output. Never tells more than DESCRIBE and a product's page do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from catalog.model import Mesh, Product
from gateway.decision import Decision
from gateway.lineage import DIRECT, Edge
from gateway.result import ProductUse, Result

# The promises of a contract that say how old its rows may be.
_FRESHNESS = frozenset({"freshness", "frequency", "latency"})


def tell_provenance(result: Result, decision: Decision, edges: Iterable[Edge], mesh: Mesh) -> None:
    """Write both into a result."""
    result.products = products_of(decision, mesh)
    result.masks = masks_of(edges, decision)


def products_of(decision: Decision, mesh: Mesh) -> tuple[ProductUse, ...]:
    """Every product that the query names, in the version that it got."""
    used = {(one.domain, one.product, one.major) for one in decision.tables}
    return tuple(
        ProductUse(one.address, one.version, one.contract_id, _freshness(one))
        for one in mesh.products
        if (one.domain, one.name, one.major) in used
    )


def masks_of(edges: Iterable[Edge], decision: Decision) -> Mapping[str, str]:
    """The kinds of masks behind the values of each output, sorted and joined by commas."""
    found: dict[str, set[str]] = {}
    for one in edges:
        if one.masked and one.output is not None and one.kind in DIRECT:
            columns = decision.tables[one.table].columns
            kinds = {column.kind for column in columns if column.name == one.column}
            found.setdefault(one.output, set()).update(kinds)
    return {name: ",".join(sorted(kinds)) for name, kinds in found.items()}


def _freshness(product: Product) -> Mapping[str, str]:
    return {
        one["property"]: " ".join(filter(None, (one.get("value"), one.get("unit"))))
        for one in product.service_levels
        if one.get("property") in _FRESHNESS
    }
