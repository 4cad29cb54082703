"""Rules of tables that show groups only, at load.

Takes: policies with the effect `aggregate` and the table they concern. Gives: `AggregateRule`s, or
what is wrong with them. Never lets a rule through whose entity or dimensions the contract does not
have, nor two rules of one table that count different entities (DESIGN 5, rules 6 and 12).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from catalog.model import Policy, Table
from gateway.decision import KEPT_ATOMS, AggregateRule, CompiledPolicy


class GroupError(Exception):
    """A rule that cannot hold; the text says why."""


def rule_of(policy: Policy, table: Table) -> AggregateRule | None:
    """The rule of a policy for a table, None for other effects; raises GroupError."""
    if policy.effect != "aggregate":
        return None
    settings = cast("dict[str, Any]", dict(policy.settings))
    entity = table.column(str(settings["entity"]))
    if entity is None:
        raise GroupError(f"{table.name} has no column {settings['entity']} to count entities by")
    dimensions = frozenset(str(one) for one in settings["dimensions"])
    unknown = sorted(one for one in dimensions if table.column(one) is None)
    if unknown:
        raise GroupError(f"{table.name} has no {', '.join(unknown)}")
    if entity.name in dimensions:
        raise GroupError(f"{entity.name} is the entity and cannot be a dimension too")
    return AggregateRule(
        policy=policy.id,
        entity=entity.name,
        entity_type=entity.type,
        minimum=int(settings["minimum"]),
        dimensions=dimensions,
        dominance=float(settings.get("dominance", 1.0)),
        atoms=int(settings.get("atoms", KEPT_ATOMS)),
        remember=settings.get("remember"),
    )


def one_entity(policies: Iterable[CompiledPolicy]) -> str | None:
    """What is wrong where rules of one table count different entities."""
    rules = [one.rule for one in policies if one.rule is not None]
    if len({one.entity for one in rules}) < 2:
        return None
    named = ", ".join(f"{one.policy} ({one.entity})" for one in rules)
    return f"count different entities: {named}"
