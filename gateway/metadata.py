"""What one caller may know of the mesh.

Takes: a snapshot, a principal, the time. Gives: the tables and columns he may see, with what he
is told of them. Never tells of a hidden table or column, nor of a policy's text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from catalog.model import Product, Table
from gateway.authorize import authorize_tables, directory
from gateway.decision import TableDecision
from gateway.errors import PurposeRequired, SqluiceError
from gateway.request import Principal
from gateway.resolve import Address, KnownProduct
from gateway.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class VisibleColumn:
    """A column as the caller meets it. `masked` is the kind of mask, '' where it is clear."""

    name: str
    type: str
    description: str = ""
    masked: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class VisibleTable:
    """A table as the caller meets it."""

    address: Address
    product: Product
    table: Table
    columns: tuple[VisibleColumn, ...]
    is_default: bool = False

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The key's columns, where the caller may see all of them unmasked."""
        clear = {one.name for one in self.columns if not one.masked}
        key = self.table.primary_key
        return key if set(key) <= clear else ()


def visible_tables(
    snapshot: Snapshot, principal: Principal, now: datetime, purpose: str | None = None
) -> tuple[VisibleTable, ...]:
    """Everything the principal may query, ordered by address."""
    known = directory(snapshot.index, principal, now)
    addresses = [
        Address(one.domain, one.product, table, major)
        for one in known.products.values()
        for major in _majors(one)
        for table in one.tables[major]
    ]
    shown = (
        visible_table(snapshot, address, principal, now, purpose)
        for address in sorted(addresses, key=str)
    )
    return tuple(one for one in shown if one is not None)


def visible_table(
    snapshot: Snapshot, address: Address, principal: Principal, now: datetime, purpose: str | None
) -> VisibleTable | None:
    """One table of one major as the principal meets it; None where he may not query it."""
    decision = _decision(snapshot, address, principal, now, purpose)
    return _visible(snapshot, address, decision) if decision is not None else None


def _majors(one: KnownProduct) -> list[int]:
    if one.preferred is not None:
        return [one.preferred]
    return sorted(one.tables)


def _decision(
    snapshot: Snapshot, address: Address, principal: Principal, now: datetime, purpose: str | None
) -> TableDecision | None:
    """For the purpose of the session, else for the first purpose that permits."""
    choices: list[str | None] = [purpose]
    choices += [one.name for one in snapshot.mesh.purposes if one.name != purpose]
    for choice in choices:
        try:
            made = authorize_tables((address,), principal, choice, now, snapshot.index)
        except PurposeRequired:
            continue
        except SqluiceError:
            return None
        return made.tables[address]
    return None


def _visible(snapshot: Snapshot, address: Address, decision: TableDecision) -> VisibleTable | None:
    product = next(
        (
            one
            for one in snapshot.mesh.products
            if (one.domain, one.name, one.major) == (address.domain, address.product, address.major)
        ),
        None,
    )
    table = product.table(address.table) if product is not None else None
    if product is None or table is None:
        return None
    columns = []
    for one in decision.columns:
        declared = table.column(one.name)
        columns.append(
            VisibleColumn(
                one.name,
                one.type,
                declared.description if declared else "",
                "" if one.kind == "clear" else one.kind,
                bool(declared and declared.required and decision.clear),
            )
        )
    return VisibleTable(
        address,
        product,
        table,
        tuple(columns),
        is_default=(product.default_table or "").casefold() == table.name.casefold()
        or len(product.tables) == 1,
    )
