"""Random policies, grants and principals over random tables.

Takes: a source of chance and the shapes of a mesh. Gives: grants and policies as the catalog
knows them, each condition with a second text in plain SQL over the raw row that an oracle can
run, its subject's values already in it. Never uses what the gateway makes of a condition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from random import Random
from types import MappingProxyType

from catalog.model import Entitlement, Grant, Mask, Match, Policy, Subjects
from gateway.probe.shapes import DOMAIN, TENANTS, Field, Shape, tame
from gateway.request import Principal

EVERYONE = (Subjects(everyone=True),)
FORMS = (
    "literal", "range", "list", "attribute", "entitlement", "expression", "two", "scope", "cells",
    "mask", "reading",
)  # fmt: skip
RIGHTS = Entitlement("rights", f"{DOMAIN}.rights.areas", "who", ("tenant", "level"))
RIGHTS_FIELDS = (
    Field("who", "VARCHAR"), Field("tenant", "VARCHAR", "tenant"), Field("level", "INTEGER"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as a policy says it, and as the oracle runs it for one principal."""

    text: str
    plain: Callable[[Principal], str]


@dataclass(frozen=True, slots=True)
class Given:
    """A grant on one table: its columns (None: all) in the rows of its condition (None: all)."""

    columns: frozenset[str] | None
    condition: Condition | None


@dataclass(frozen=True, slots=True)
class Rules:
    """All that holds for one table, for everybody in the group of the principals."""

    form: str
    grants: tuple[Given, ...]
    filters: tuple[Condition, ...]
    masks: Mapping[str, tuple[Mask | None, ...]]


def principals(chance: Random) -> tuple[Principal, ...]:
    """Two insiders with attributes of their own."""
    made = []
    for name in ("ada", "o'hara"):
        attributes: dict[str, tuple[str, ...]] = {
            "tenant": tuple(chance.sample(TENANTS, chance.randint(1, 2))),
            "level": tuple(str(chance.randint(-4, 12)) for _ in range(2)),
        }
        if chance.random() < 0.1:
            del attributes["level"]
        made.append(Principal(name, frozenset({"insiders", "A"}), attributes=attributes))
    return tuple(made)


def random_rules(chance: Random, shape: Shape, form: str) -> Rules:
    """Rules of one form; masks join any of them now and then."""
    if form in ("scope", "cells"):
        grants = _scopes(chance, shape) if form == "scope" else _cells(chance, shape)
        filters = _filters(chance, shape, "mask")
    else:
        grants = (Given(None, None),)
        filters = _filters(chance, shape, form)
    has_none = form not in ("mask", "reading") and chance.random() < 0.5
    least, most = (0, 0) if has_none else (1, 3)
    masks = _masks(chance, shape, chance.randint(least, most), form)
    return Rules(form, grants, filters, masks)


def _filters(chance: Random, shape: Shape, form: str) -> tuple[Condition, ...]:
    match form:
        case "two":
            return (_condition(chance, shape), _tenant_list(chance))
        case "mask" | "reading":
            return (_condition(chance, shape),) if chance.random() < 0.3 else ()
        case _:
            return (_MAKERS[form](chance, shape),)


def _scopes(chance: Random, shape: Shape) -> tuple[Given, ...]:
    return tuple(Given(None, _condition(chance, shape)) for _ in range(chance.randint(1, 2)))


def _cells(chance: Random, shape: Shape) -> tuple[Given, ...]:
    """Two or three grants that differ in columns and rows."""
    names = [one.name for one in shape.fields]
    made = []
    for _ in range(chance.randint(2, 3)):
        some = frozenset({"id", *chance.sample(names, chance.randint(2, len(names) - 1))})
        made.append(Given(some, _condition(chance, shape) if chance.random() < 0.9 else None))
    return tuple(made)


def _condition(chance: Random, shape: Shape) -> Condition:
    form = chance.choice(tuple(_MAKERS))
    return _MAKERS[form](chance, shape)


def _constant(text: str) -> Condition:
    return Condition(text, lambda _: text)


def _literal(chance: Random, shape: Shape) -> Condition:
    operator = chance.choice(("=", "<>", "=", "IS DISTINCT FROM"))
    field = chance.choice([one for one in shape.fields if one.family in _WRITTEN])
    return _constant(f"{field.name} {operator} {written(field, tame_value(chance, field))}")


def _range(chance: Random, shape: Shape) -> Condition:
    field = chance.choice([one for one in shape.fields if one.family in _WRITTEN])
    low, high = (written(field, tame_value(chance, field)) for _ in range(2))
    form = chance.choice(("{f} BETWEEN {a} AND {b}", "{f} >= {a}", "{f} < {a}", "NOT ({f} > {a})"))
    return _constant(form.format(f=field.name, a=low, b=high))


def _list(chance: Random, shape: Shape) -> Condition:
    field = chance.choice([one for one in shape.fields if one.family in _WRITTEN])
    values = sorted({written(field, tame_value(chance, field)) for _ in range(3)})
    word = chance.choice(("IN", "IN", "NOT IN"))
    return _constant(f"{field.name} {word} ({', '.join(values)})")


def _tenant_list(chance: Random) -> Condition:
    values = ", ".join(quoted(one) for one in chance.sample(TENANTS, 3))
    return _constant(f"tenant IN ({values})")


def _attribute(chance: Random, shape: Shape) -> Condition:
    """Values of the subject: the form that entitlements take."""
    text, name, column = chance.choice(
        (
            ("tenant IN (subject.tenant)", "tenant", "tenant"),
            ("tenant = subject.tenant", "tenant", "tenant"),
            ("number IN (subject.level)", "level", "number"),
            ("tenant IN (subject.groups)", "groups", "tenant"),
            ("tenant IN ('C', subject.tenant)", "tenant", "tenant"),
        )
    )

    def plain(principal: Principal) -> str:
        values = principal.attributes.get(name, ())
        if name == "groups":
            values = tuple(sorted(principal.groups))
        listed = [one if name == "level" else quoted(one) for one in values]
        listed += ["'C'"] if "'C'" in text else []
        return f"{column} IN ({', '.join(listed)})" if listed else "FALSE"

    if chance.random() < 0.25:
        return _either(text, plain)
    return Condition(text, plain)


def _either(text: str, plain: Callable[[Principal], str]) -> Condition:
    more = "number IS NULL AND id < 5"
    return Condition(f"{text} OR {more}", lambda who: f"{plain(who)} OR {more}")


def _entitlement(chance: Random, shape: Shape) -> Condition:
    """Values of the entitlement table, which gives each insider those of his attributes."""
    text, name, column, more = chance.choice(
        (
            ("tenant IN (entitlement.rights.tenant)", "tenant", "tenant", ""),
            ("number IN (entitlement.rights.level)", "level", "number", ""),
            ("tenant IN ('C', entitlement.rights.tenant)", "tenant", "tenant", "'C'"),
        )
    )

    def plain(principal: Principal) -> str:
        values = principal.attributes.get(name, ())
        listed = [one if name == "level" else quoted(one) for one in values]
        listed += [more] if more else []
        return f"{column} IN ({', '.join(listed)})" if listed else "FALSE"

    return Condition(text, plain)


def rights_of(people: Sequence[Principal]) -> tuple[tuple[object, ...], ...]:
    """The rows of the entitlement table that say what the insiders may."""
    return tuple(
        (who.user, tenant, None if level is None else int(level))
        for who in people
        for tenant, level in zip_longest(
            who.attributes["tenant"], who.attributes.get("level", ())
        )
    )


_EXPRESSIONS = (
    "CASE WHEN id > 6 THEN FALSE ELSE tenant = 'A' END",
    "lower(tenant) = 'a'",
    "coalesce(number, 2) > 5",
    "length(note) > 4 OR tenant = 'A'",
    "tenant LIKE 'A%'",
    "upper(tenant) <> 'B' AND number IS NOT NULL",
    "TRY_CAST(secret AS INTEGER) > 5",
    "NOT (tenant = 'B' OR secret IS NULL)",
    "starts_with(tenant, 'A')",
    "CASE WHEN number > 3 THEN tenant = 'A' WHEN number IS NULL THEN id < 6 ELSE tenant = 'C' END",
    "(number > 5) IS TRUE OR tenant = 'C'",
    "tenant || note <> 'Ax'",
)


def _expression(chance: Random, shape: Shape) -> Condition:
    return _constant(chance.choice(_EXPRESSIONS))


_MAKERS: Mapping[str, Callable[[Random, Shape], Condition]] = MappingProxyType(
    {
        "literal": _literal,
        "range": _range,
        "list": _list,
        "attribute": _attribute,
        "entitlement": _entitlement,
        "expression": _expression,
    }
)
_WRITTEN = ("VARCHAR", "SMALLINT", "INTEGER", "BIGINT", "DECIMAL", "DATE", "TIMESTAMP")


def tame_value(chance: Random, field: Field) -> object:
    """A tame value that is not NULL."""
    found = None
    while found is None:
        found = tame(chance, field)
    return found


def written(field: Field, value: object) -> str:
    """A value as the literal that has exactly the field's type."""
    if field.family == "VARCHAR":
        return quoted(str(value))
    if field.family in ("DATE", "TIMESTAMP"):
        return f"{field.family} '{value}'"
    return str(value)


def quoted(text: str) -> str:
    """A text literal."""
    return "'" + text.replace("'", "''") + "'"


def _masks(
    chance: Random, shape: Shape, count: int, form: str
) -> Mapping[str, tuple[Mask | None, ...]]:
    """By column; None stands for hiding it."""
    fields = [one for one in shape.fields if one.name != "id"]
    if form == "reading":
        fields = [one for one in fields if one.family in _WRITTEN]
    made: dict[str, tuple[Mask | None, ...]] = {}
    for field in chance.sample(fields, min(count, len(fields))):
        if form == "reading" or (field.family in _WRITTEN and chance.random() < 0.1):
            made[field.name] = (_reading(chance, shape, field),)
            continue
        found = [chance.choice(_mask_choices(field)) for _ in range(chance.choice((1, 1, 1, 2)))]
        # Two different masks of one kind would be refused when the mesh is loaded.
        by_kind = {one.kind if one else "hide": one for one in found}
        made[field.name] = tuple(by_kind.values())
    return MappingProxyType(made)


def _reading(chance: Random, shape: Shape, field: Field) -> Mask:
    """A mask that reads other columns of the row."""
    forms = [
        "CASE WHEN tenant = 'A' THEN {c} END",
        "CASE WHEN number > 3 OR secret IS NULL THEN {c} END",
        "CASE WHEN TRY_CAST(secret AS INTEGER) > 5 THEN NULL ELSE {c} END",
        "CASE WHEN id < 7 AND note <> 'x' THEN {c} END",
    ]
    if field.type == "VARCHAR":
        forms += [
            "left({c}, 1) || coalesce(tenant, '?')", "coalesce(secret, note)",
            "CASE WHEN length(note) > 4 THEN upper({c}) ELSE 'hidden' END",
        ]  # fmt: skip
    if field.type == "INTEGER":
        forms += ["coalesce(number, id)", "TRY_CAST(secret AS INTEGER)"]
    return Mask("expression", sql=chance.choice(forms).format(c=field.name))


def _mask_choices(field: Field) -> list[Mask | None]:
    found: list[Mask | None] = [Mask("null"), Mask("null"), None]
    if field.type == "VARCHAR":
        found += [
            Mask("constant", value="hidden"),
            Mask("constant", value="7"),
            Mask("pseudonym", join_group="people"),
            Mask("partial", keep_last=2),
            Mask("partial", keep_first=1, fill="#"),
            Mask("partial", keep_first=1, keep_last=1),
        ]
    if field.family in ("SMALLINT", "INTEGER", "BIGINT", "DECIMAL", "DOUBLE"):
        found += [Mask("bucket", size="5"), Mask("bucket", size="100"), Mask("constant", value="3")]
    if field.family in ("DATE", "TIMESTAMP"):
        found += [Mask("bucket", unit="year"), Mask("bucket", unit="month")]
    return found


def catalog_of(
    shape: Shape, rules: Rules, number: int
) -> tuple[Sequence[Grant], Sequence[Policy]]:
    """The grants and policies of one table, as its files would say them."""
    label = f"{shape.product}-{shape.name}"
    grants = [
        Grant(
            f"grant-{label}-{place}", "probe", shape.product, EVERYONE,
            tables=frozenset({shape.name}), columns=one.columns,
            scope=one.condition.text if one.condition else None,
        )
        for place, one in enumerate(rules.grants)
    ]
    where = Match(product=shape.product, table=shape.name)
    policies = [
        Policy(f"filter-{label}-{place}", "filter", where, filter=one.text)
        for place, one in enumerate(rules.filters)
    ]
    for column, masks in rules.masks.items():
        for one in masks:
            effect = "mask" if one is not None else "hide"
            name = f"{effect}-{label}-{column}-{one.kind if one else number}"
            there = replace(where, columns=frozenset({column}))
            policies.append(Policy(name, effect, there, mask=one))
    return grants, policies
