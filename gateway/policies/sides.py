"""One side of a comparison of two revisions: a mesh, looked up.

Takes: a mesh. Gives: which policies and ceilings concern a column or its table, with their
exceptions and conditions. Never compares anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from sqlglot import exp

from catalog.model import Ceiling, Mesh, Policy, PolicyException, Product, Table
from gateway.decision import CompiledCondition
from gateway.policies.ceilings import shadowed
from gateway.policies.columns import kind_of
from gateway.policies.concerning import Concerned, Concerning
from gateway.policies.conditions import ConditionError, compile_condition, compile_expression
from gateway.policies.counterparts import Spot
from gateway.policies.entitled import DeclaredEntitlements
from gateway.policies.strictness import Restriction, ended


class Side:
    """A revision as the comparison asks it. What has ended by `now` restricts nothing."""

    def __init__(self, mesh: Mesh, now: datetime) -> None:
        """Sort policies, ceilings and exceptions."""
        held = tuple(
            one for one in mesh.policies
            if not ended(one, now) and not (one.mask is not None and kind_of(one) == "clear")
        )  # fmt: skip
        self.mesh, self.now = mesh, now
        self.order = mesh.taxonomy.mask_order
        self._concerning = Concerning(replace(mesh, policies=held))
        self._capping = Concerning(shadowed(mesh, mesh.ceilings))
        self._ceilings: Mapping[str, Ceiling] = {one.id: one for one in mesh.ceilings}
        self._entitled = DeclaredEntitlements(mesh)
        self._known: dict[tuple[int, int], Concerned] = {}
        self._restrictions = {one.id: self._restriction(one) for one in held}

    def of_table(self, spot: Spot) -> tuple[Policy, ...]:
        """The policies that concern the table as a whole."""
        return self._concerned(spot.product, spot.table).table

    def of_column(self, spot: Spot) -> tuple[Policy, ...]:
        """The policies that mask or hide the column."""
        return self._concerned(spot.product, spot.table).columns.get(spot.column.name, ())

    def ceilings_of(self, spot: Spot) -> tuple[Ceiling, ...]:
        """The ceilings over the column."""
        if not self._ceilings:
            return ()
        found = self._capping.of(spot.product, replace(spot.table, columns=(spot.column,)))
        return tuple(self._ceilings[one.id] for one in found.columns.get(spot.column.name, ()))

    def is_governed(self, spot: Spot) -> bool:
        """Whether the governance group restricts the column, or caps grants on it."""
        columns = any(one.domain is None for one in self.of_column(spot))
        return columns or bool(self.ceilings_of(spot))

    def unchanged(self, other: Side) -> frozenset[str]:
        """The policies that restrict on the other side exactly as on this one."""
        return frozenset(
            name for name, one in self._restrictions.items()
            if other._restrictions.get(name) == one
        )

    def is_all(self, names: frozenset[str]) -> bool:
        """Whether those are all policies of this side."""
        return len(names) == len(self._restrictions)

    def restriction(self, policy: Policy) -> Restriction:
        """A policy with the exceptions from it and what it asks, without places."""
        return self._restrictions.get(policy.id) or self._restriction(policy)

    def reasons_in(self, policy: Policy, spot: Spot) -> tuple[str, ...]:
        """The columns whose own words make a policy concern the table; none where all do."""
        names = tuple(
            one.name for one in spot.table.columns
            if policy in self._concerning.of(
                spot.product, replace(spot.table, columns=(one,))
            ).table
        )  # fmt: skip
        return () if len(names) == len(spot.table.columns) else names

    def condition(self, policy: Policy, spot: Spot) -> CompiledCondition | None:
        """The filter of a policy over a table; None where it does not hold there."""
        try:
            entitled = self._entitled.over(policy.domain, spot.address)
            return compile_condition(policy.id, policy.filter or "", spot.table, entitled)
        except ConditionError:
            return None

    def reads(self, policy: Policy, spot: Spot) -> tuple[str, ...]:
        """The columns that decide what a policy does."""
        if policy.effect == "aggregate":
            dimensions = policy.settings.get("dimensions")
            listed = [str(one) for one in dimensions] if isinstance(dimensions, list) else []
            return (str(policy.settings["entity"]), *listed)
        made = self.condition(policy, spot) if policy.effect == "filter" else None
        if policy.mask is not None and policy.mask.sql is not None:
            made = self._expression(policy, spot)
        if made is None:
            return ()
        return tuple(dict.fromkeys(one.name for one in made.expression.find_all(exp.Column)))

    def _expression(self, policy: Policy, spot: Spot) -> CompiledCondition | None:
        shown = spot.column.masked_type or spot.column.type
        text = policy.mask.sql if policy.mask is not None else None
        try:
            entitled = self._entitled.over(policy.domain, spot.address)
            return compile_expression(policy.id, text or "", spot.table, shown, entitled)
        except ConditionError:
            return None

    def _concerned(self, product: Product, table: Table) -> Concerned:
        key = (id(product), id(table))
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._concerning.of(product, table)
        return found

    def _restriction(self, policy: Policy) -> Restriction:
        exceptions: list[PolicyException] = [
            replace(one, place=None) for one in self.mesh.exceptions
            if one.policy == policy.id and one.until > self.now
        ]  # fmt: skip
        text = policy.filter or (policy.mask.sql if policy.mask is not None else "") or ""
        asked = tuple(
            replace(one, place=None) for one in self.mesh.entitlements
            if re.search(rf"(?i)\bentitlement\W+{one.id}\b", text)
        )  # fmt: skip
        bare = replace(policy, place=None, description="")
        return Restriction(bare, tuple(exceptions), asked)
