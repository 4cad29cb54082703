"""The probes of `probes.yaml` as statements.

Takes: nothing. Gives: for each ability that a connector may declare the statements that prove it,
over a relation `probe` that holds the rows of `rows.sql`. The conformance suite asks them of real
tables, `certify` of the same rows written into the statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlglot
import yaml

from connectors.base import Abilities

PROBES: Mapping[str, Any] = yaml.safe_load(
    Path(__file__).with_name("probes.yaml").read_text(encoding="utf-8")
)
COLUMNS: Mapping[str, Mapping[str, str]] = PROBES["columns"]
OPERATORS = tuple(f"can_{name}" for name in PROBES["can"])
FULL_TYPES = {"DECIMAL": "DECIMAL(12,2)"}


@dataclass(frozen=True, slots=True)
class Probe:
    """One ability for one type, and the statements that show whether it means the same."""

    ability: str
    type: str
    statements: tuple[str, ...]
    ordered: bool = False
    approximate: bool = False

    @property
    def name(self) -> str:
        """Such as `functions.Abs.INTEGER` or `can_join`."""
        return f"{self.ability}.{self.type}" if self.type else self.ability

    def declared(self, abilities: Abilities) -> bool:
        """Whether a kind says that it can."""
        group, _, key = self.ability.partition(".")
        value = getattr(abilities, group)
        if isinstance(value, bool):
            return value
        if isinstance(value, frozenset):
            return self.type in value
        types = value.get(key)
        return types is not None and (not types or self.type in types)


def all_probes() -> Iterator[Probe]:
    """Every probe."""
    for group in ("comparable", "sortable", "groupable"):
        for name in COLUMNS:
            statements = tuple(_fill(one, name) for one in PROBES[group])
            if group == "comparable":
                statements += (_against_constants(name),)
            yield Probe(group, name, statements, ordered=group == "sortable")
    for key, one in PROBES["aggregates"].items():
        yield from (_aggregate(key, one["sql"], name) for name in one["types"])
    for key, one in PROBES["functions"].items():
        for name in COLUMNS if one["types"] == "all" else one["types"]:
            yield _function(key, (one["sql"], *one.get("more", ())), name)
    for pair in PROBES["casts"]:
        source, _, target = pair.partition(">")
        column = COLUMNS[source]["column"]
        sql = f"SELECT id, CAST({column} AS {FULL_TYPES.get(target, target)}) FROM probe"
        yield Probe("casts", pair, (sql,))
    for key, statements in PROBES["can"].items():
        yield Probe(f"can_{key}", "", tuple(statements), ordered=key == "sort")


def _fill(sql: str, name: str, **more: str) -> str:
    one = COLUMNS[name]
    return sql.format(c=one["column"], k=one["constant"], **more)


def _aggregate(key: str, sql: str, name: str) -> Probe:
    made = _fill(sql, name)
    assert _class_of(made) == key, made
    forms = tuple(form.format(a=made) for form in PROBES["aggregate_forms"])
    return Probe(f"aggregates.{key}", name, forms, approximate=key in ("Sum", "Avg"))


def _function(key: str, forms: tuple[str, ...], name: str) -> Probe:
    made = [_fill(one, name) for one in forms]
    assert _class_of(made[0]) == key, f"{made[0]} is {_class_of(made[0])}"
    statements = [f"SELECT id, {one} FROM probe" for one in made]
    return Probe(
        f"functions.{key}", name, (*statements, f"SELECT id FROM probe WHERE ({made[0]}) IS NULL")
    )


def _class_of(sql: str) -> str:
    return type(sqlglot.parse_one(sql, read="duckdb")).__name__


_CONSTANTS: Mapping[str, tuple[str, ...]] = {
    "BOOLEAN": ("TRUE", "FALSE"),
    "SMALLINT": ("-32767", "-5", "0", "5", "32767"),
    "INTEGER": ("-2147483647", "-5", "0", "5", "2147483647"),
    "BIGINT": ("-9223372036854775807", "0", "5", "9007199254740993", "9223372036854775807"),
    "HUGEINT": ("-9223372036854775808", "0", "5", "99999999999999999999999999999999999999"),
    "DECIMAL": ("-9999999999.99", "-2.50", "0.00", "0.10", "0.30", "2.50", "9999999999.99"),
    "DOUBLE": ("-1000000000000000.0", "-2.5", "0.0", "0.1", "0.3", "123456789.125"),
    "VARCHAR": (
        "''", "'a'", "'A'", "'a '", "' a'", "'b'", "'Z'", "'é'", "'e'", "'ß'", "'10'", "'9'",
        "'漢字'", "'😀'", "'a_b'", "'a%b'", "'a\\b'", "'a''b\"c'", "'a\nb'", "'no such'",
    ),
    "DATE": ("0001-01-01", "1582-10-14", "1969-12-31", "2024-02-29", "9999-12-31"),
    "TIMESTAMP": (
        "0001-01-01 00:00:00", "1969-12-31 23:59:59.999999", "1970-01-01 00:00:00.000001",
        "2024-02-29 12:30:00", "9999-12-31 23:59:59.999999",
    ),
    "TIMESTAMP WITH TIME ZONE": (
        "0001-01-01 00:00:00+00:00", "1969-12-31 22:00:00+00:00", "2024-03-31 01:30:00+00:00",
        "2024-02-29 12:30:00+00:00", "9999-12-31 23:59:59.999999+00:00",
    ),
    "TIME": ("00:00:00", "00:00:00.000001", "09:00:00.5", "12:30:00", "23:59:59.999999"),
    "UUID": (
        "00000000-0000-0000-0000-000000000000", "7fffffff-ffff-ffff-ffff-ffffffffffff",
        "80000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ),
}  # fmt: skip


def _against_constants(name: str) -> str:
    column, shown = COLUMNS[name]["column"], ["id"]
    for text in _CONSTANTS[name]:
        constant = _typed(text, name)
        shown += [f"{column} {mark} {constant}" for mark in ("=", "<>", "<", "<=", ">", ">=")]
        shown.append(f"{column} BETWEEN {constant} AND {constant}")
        shown.append(f"{column} IN ({constant}, {constant})")
        shown.append(f"NOT ({column} IN ({constant}))")
        shown.append(f"{column} IS DISTINCT FROM {constant}")
        shown.append(f"{column} IS NOT DISTINCT FROM {constant}")
    return f"SELECT {', '.join(shown)} FROM probe"


def _typed(text: str, name: str) -> str:
    if name in ("BOOLEAN", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "VARCHAR"):
        return text
    plain = text if name in ("DECIMAL", "DOUBLE") else f"'{text}'"
    return f"CAST({plain} AS {FULL_TYPES.get(name, name)})"
