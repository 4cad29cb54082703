"""The gateway's own data as products of the reserved domain `mesh`, under policy like all others.

Takes: a mesh. Gives: the mesh with the domain that is shipped in `catalog/own`, and with grants for
the owners of each domain and product on what touched it, and on what was found of its sources.
Never lets a folder of the operator's declare that domain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from catalog.mesh import load_mesh
from catalog.model import Domain, Grant, Mesh, Subjects

DOMAIN = "mesh"
# What an owner sees of a request that touched his product; the statement may name others'.
_OWNERS_COLUMNS = frozenset({
    "query_id", "kind", "at", "user_name", "endpoint", "client", "purpose", "domain", "product",
    "version", "columns_read", "policies", "statement_hash", "revision", "outcome", "code",
    "seconds",
})


def with_own_products(mesh: Mesh) -> Mesh:
    """The mesh and the products of the gateway itself."""
    own = _own()
    return replace(
        mesh,
        domains=(*mesh.domains, *own.domains),
        products=(*mesh.products, *own.products),
        grants=(*mesh.grants, *own.grants, *_owners_grants(mesh)),
    )


@cache
def _own() -> Mesh:
    return load_mesh(Path(__file__).parent / "own", reserved=True)


def _owners_grants(mesh: Mesh) -> Iterator[Grant]:
    for domain in mesh.domains:
        if domain.owners:
            yield _grant(domain.name, domain.owners, f"domain = '{domain.name}'")
            yield _of_sources(domain)
    owners = {one.name: frozenset(one.owners) for one in mesh.domains}
    for product in mesh.products:
        others = frozenset(product.owners) - owners.get(product.domain, frozenset())
        if others:
            name = f"{product.address}@{product.major}"
            scope = f"product = '{product.address}'"
            yield _grant(name, tuple(sorted(others)), scope)


def _of_sources(domain: Domain) -> Grant:
    return Grant(
        id=f"mesh.sources.owners-of-{domain.name}",
        domain=DOMAIN,
        product="sources",
        subjects=(Subjects(users=frozenset(domain.owners)),),
        scope=f"domain = '{domain.name}'",
        approver="gateway",
    )


def _grant(what: str, owners: tuple[str, ...], scope: str) -> Grant:
    return Grant(
        id=f"mesh.audit.owners-of-{what}",
        domain=DOMAIN,
        product="audit",
        subjects=(Subjects(users=frozenset(owners)),),
        columns=_OWNERS_COLUMNS,
        scope=scope,
        approver="gateway",
    )
