"""The abilities of a source by name, so that single ones can be taken away.

Takes: `Abilities`. Gives: the names of all that they hold, such as `functions.Like.VARCHAR`,
`key_types.DATE`, `comparable.DATE`, `casts.DATE>TIMESTAMP`, `can_join` or `barrier`, and the same
abilities with fewer of them. Never adds one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from types import MappingProxyType

from connectors.base import Abilities

# What is left then are columns, and filters that compare a column with constants.
ALL_BUT_FILTERS = "all but columns and safe filters"
SETS = ("comparable", "sortable", "groupable", "casts")
MAPS = ("functions", "aggregates")
_TEXTS = ("barrier", "keyed_hash")
# Where DuckDB is itself no types are listed: these compare by bytes or by value in all of it.
_REFERENCE_COMPARABLE = frozenset(
    {
        "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DECIMAL", "DOUBLE",
        "VARCHAR", "DATE", "TIMESTAMP", "TIME", "UUID",
    }
)  # fmt: skip


def ability_names(abilities: Abilities) -> tuple[str, ...]:
    """Every ability that is there, those first whose loss costs least."""
    found = [name for name in ("bytewise_columns", "in_place") if getattr(abilities, name)]
    found += [f"key_types.{name}" for name in sorted(abilities.key_types)]
    for group in MAPS:
        for key, types in sorted(getattr(abilities, group).items()):
            found += [f"{group}.{key}.{name}" for name in types] or [f"{group}.{key}"]
    for group in reversed(SETS):
        found += [f"{group}.{name}" for name in sorted(getattr(abilities, group))]
    switches = [one.name for one in fields(abilities) if one.name.startswith("can_")]
    found += [name for name in switches if getattr(abilities, name)]
    found += ["is_reference"] if abilities.is_reference else []
    return (*found, *(name for name in _TEXTS if getattr(abilities, name)))


def without(abilities: Abilities, names: Iterable[str]) -> Abilities:
    """The abilities less these; a name that is not there takes nothing away."""
    for name in names:
        abilities = _without_one(abilities, name)
    return abilities


def _without_one(abilities: Abilities, name: str) -> Abilities:
    group, _, rest = name.partition(".")
    if name == ALL_BUT_FILTERS:
        return _only_filters(abilities)
    if group in SETS:
        return _with(abilities, {group: getattr(abilities, group) - {rest}})
    if group == "key_types":
        left = {key: name for key, name in abilities.key_types.items() if key != rest}
        return replace(abilities, key_types=MappingProxyType(left))
    if group in MAPS:
        key, _, kind = rest.partition(".")
        return _with(abilities, {group: _fewer(getattr(abilities, group), key, kind)})
    if name == "is_reference" and abilities.is_reference:
        return _only_filters(abilities)
    if name == "bytewise_columns":
        return replace(abilities, bytewise_columns=frozenset())
    if name == "in_place":
        return replace(abilities, in_place=MappingProxyType({}))
    if name in _TEXTS:
        return _with(abilities, {name: None})
    if name.startswith("can_") and hasattr(abilities, name):
        return _with(abilities, {name: False})
    return abilities


def _fewer(
    held: Mapping[str, tuple[str, ...]], key: str, kind: str
) -> Mapping[str, tuple[str, ...]]:
    """A call without one of its types; without any it is gone, since no type would mean all."""
    left = tuple(one for one in held.get(key, ()) if kind and one != kind)
    made = {name: types for name, types in held.items() if name != key}
    return MappingProxyType({**made, key: left} if left else made)


def _only_filters(abilities: Abilities) -> Abilities:
    comparable = _REFERENCE_COMPARABLE if abilities.is_reference else abilities.comparable
    switches = {
        one.name: False
        for one in fields(abilities)
        if one.name.startswith("can_") and one.name != "can_filter"
    }
    made = replace(
        abilities,
        comparable=comparable, sortable=frozenset(), groupable=frozenset(), casts=frozenset(),
        functions=MappingProxyType({}), aggregates=MappingProxyType({}), keyed_hash=None,
        is_reference=False, bytewise_columns=frozenset(), in_place=MappingProxyType({}),
        key_types=MappingProxyType({}),
    )  # fmt: skip
    return _with(made, switches)


def _with(abilities: Abilities, values: Mapping[str, object]) -> Abilities:
    return replace(abilities, **values)  # type: ignore[arg-type]  # fields by name
