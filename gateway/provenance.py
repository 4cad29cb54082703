"""What is told of where an answer comes from, to its caller and to the audit.

Takes: a bound query, its edges, its decision, the mesh that decided. Gives: for the caller the
products that were asked and the masks that reached each output; for the audit columns, policies,
reasons and lineage besides. All of it follows from what a plan is kept under, so that it is made
once for each. Never tells a caller more than DESCRIBE and a product's page do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from catalog.model import Mesh, Product
from gateway.bind import BoundQuery
from gateway.decision import Decision
from gateway.lineage import DIRECT, Edge
from gateway.result import ProductUse, Result

# The promises of a contract that say how old its rows may be.
_FRESHNESS = frozenset({"freshness", "frequency", "latency"})


@dataclass(frozen=True, slots=True)
class Provenance:
    """`uses` and `masks` are for the caller. `products` are `domain.product@version`.

    `columns` are `domain.product.table.column`, `policies` ids of what shaped the decision,
    `reasons` (subject, outcome, policy), `lineage` (output, column, kind, masked).
    """

    uses: tuple[ProductUse, ...]
    masks: Mapping[str, str]
    products: tuple[str, ...]
    columns: tuple[str, ...]
    policies: tuple[str, ...]
    reasons: tuple[tuple[str, str, str], ...]
    lineage: tuple[tuple[str | None, str, str, bool], ...]

    def tell(self, result: Result) -> None:
        """Write into a result what its caller is told."""
        result.products, result.masks = self.uses, self.masks


NO_PROVENANCE = Provenance((), MappingProxyType({}), (), (), (), (), ())


def provenance_of(
    bound: BoundQuery, edges: tuple[Edge, ...], decision: Decision, mesh: Mesh
) -> Provenance:
    """All that is told of a query's answers."""
    uses = products_of(decision, mesh)
    policies = dict.fromkeys(one.policy for one in decision.reasons if one.policy)
    return Provenance(
        uses=uses,
        masks=masks_of(edges, decision),
        products=tuple(sorted(f"{one.product}@{one.version}" for one in uses)),
        columns=tuple(
            sorted(f"{table}.{name}" for table, names in bound.columns.items() for name in names)
        ),
        policies=tuple(policies),
        reasons=tuple((one.subject, one.outcome, one.policy) for one in decision.reasons),
        lineage=tuple((one.output, one.source, one.kind, one.masked) for one in edges),
    )


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
