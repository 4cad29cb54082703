"""Grants that go above a ceiling of the governance group.

Takes: a mesh. Gives: one line for each grant that gives more than a ceiling allows on a column that
the ceiling matches. Never looks at the gateway's own products.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from catalog.model import Ceiling, Grant, Mesh, Policy, Product, Table
from catalog.own_products import DOMAIN
from gateway.policies.columns import told
from gateway.policies.concerning import Concerning
from gateway.policies.strictness import within


def above_ceilings(mesh: Mesh) -> Iterator[str]:
    """One line a grant and ceiling."""
    if not mesh.ceilings:
        return
    ceilings = {one.id: one for one in mesh.ceilings}
    concerning = Concerning(shadowed(mesh, mesh.ceilings))
    by_product: dict[tuple[str, str], list[Grant]] = {}
    for grant in mesh.grants:
        by_product.setdefault((grant.domain, grant.product), []).append(grant)
    for product in mesh.products:
        for table in product.tables if product.domain != DOMAIN else ():
            columns = concerning.of(product, table).columns
            for grant in by_product.get((product.domain, product.name), ()):
                names = granted(grant, product, table)
                for name in sorted({one.id for column in names for one in columns.get(column, ())}):
                    excess = _excess(grant, ceilings[name])
                    if excess:
                        yield told(grant.place, grant.id, _told(excess, ceilings[name]))


def shadowed(mesh: Mesh, ceilings: tuple[Ceiling, ...]) -> Mesh:
    """A mesh whose policies are the ceilings, which match as policies on columns do."""
    return replace(
        mesh, policies=tuple(Policy(one.id, "hide", one.match, place=one.place) for one in ceilings)
    )


def granted(grant: Grant, product: Product, table: Table) -> tuple[str, ...]:
    """The columns of a table that a grant covers."""
    if grant.major not in (None, product.major):
        return ()
    if grant.tables is not None and table.name not in grant.tables:
        return ()
    covered = None if grant.columns is None else {one.casefold() for one in grant.columns}
    return tuple(
        one.name for one in table.columns if covered is None or one.name.casefold() in covered
    )


def _excess(grant: Grant, ceiling: Ceiling) -> str | None:
    for one in grant.subjects if ceiling.subjects else ():
        if not any(within(one, outer) for outer in ceiling.subjects):
            return "is for somebody whom the ceiling does not name"
    if ceiling.purposes and not grant.purposes:
        return f"is for any purpose, the ceiling for {', '.join(sorted(ceiling.purposes))}"
    beyond = sorted(grant.purposes - ceiling.purposes) if ceiling.purposes else []
    if beyond:
        return f"is for {', '.join(beyond)}, the ceiling for {', '.join(sorted(ceiling.purposes))}"
    if ceiling.max_days is None:
        return None
    if grant.valid_from is None or grant.until is None:
        return f"has no from and until, the ceiling allows {ceiling.max_days} days"
    days = (grant.until - grant.valid_from).total_seconds() / 86_400
    return f"lasts {days:g} days, the ceiling allows {ceiling.max_days}" if (
        days > ceiling.max_days
    ) else None


def _told(excess: str, ceiling: Ceiling) -> str:
    place = f" ({ceiling.place})" if ceiling.place is not None else ""
    return (
        f"is above the ceiling {ceiling.id}{place}: it {excess}; narrow the grant, or ask the "
        "governance group to raise the ceiling"
    )
