"""The relations of PostgreSQL's catalogs: names, columns, types, as `data/` tells them.

Takes: the data files beside it. Gives: relations and rows that are the same for everybody. Never
knows anything of a mesh.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

_DATA = Path(__file__).with_name("data")
_FIRST_OF_VIEWS = 12_000
_DUCKDB_TYPES = {
    "oid": "UINTEGER", "regproc": "UINTEGER", "regtype": "UINTEGER", "xid": "UINTEGER",
    "int2": "SMALLINT",
    "int4": "INTEGER", "int8": "BIGINT", "bool": "BOOLEAN", "float4": "FLOAT", "float8": "DOUBLE",
    "timestamptz": "TIMESTAMPTZ", "int2vector": "SMALLINT[]", "oidvector": "UINTEGER[]",
    "_oid": "UINTEGER[]", "_int2": "SMALLINT[]", "_text": "VARCHAR[]", "_name": "VARCHAR[]",
    "_aclitem": "VARCHAR[]", "_char": "VARCHAR[]", "_float4": "FLOAT[]", "bytea": "BLOB",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column of a relation, with its type by PostgreSQL's name."""

    name: str
    type: str
    is_required: bool

    @property
    def duckdb_type(self) -> str:
        """The type that holds it in DuckDB; what is not listed is a text."""
        return _DUCKDB_TYPES.get(self.type, "VARCHAR")


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of a catalog; kind: r is a table, v a view."""

    schema: str
    name: str
    oid: int
    kind: str
    attributes: tuple[Attribute, ...]

    def type_of(self, column: str) -> str | None:
        """The type of a column; None where there is none of that name."""
        return next((one.type for one in self.attributes if one.name == column), None)


@cache
def relations() -> Mapping[tuple[str, str], Relation]:
    """All relations, by schema and name."""
    found: dict[tuple[str, str], Relation] = {}
    head: list[str] = []
    columns: list[Attribute] = []

    def keep() -> None:
        if head:
            schema, name = head[0].split(".")
            oid = int(head[1]) or _FIRST_OF_VIEWS + len(found)
            found[schema, name] = Relation(schema, name, oid, head[2], tuple(columns))

    for line in (_DATA / "relations.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            columns.extend(_attribute(one) for one in line.split())
        elif not line.startswith("#"):
            keep()
            head, columns = line.split(), []
    keep()
    return MappingProxyType(found)


def _attribute(text: str) -> Attribute:
    name, kind = text.split(":")
    return Attribute(name, kind.rstrip("!"), kind.endswith("!"))


@cache
def listed(name: str) -> tuple[Mapping[str, str], ...]:
    """The rows of a data file."""
    with (_DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(MappingProxyType(row) for row in csv.DictReader(file))


@cache
def type_numbers() -> Mapping[str, int]:
    """The numbers of the types, by name."""
    return MappingProxyType({row["typname"]: int(row["oid"]) for row in listed("types")})


def typed(kind: str, text: str) -> object:
    """A value of a data file as its type holds it; an empty text is NULL."""
    if text == "" and kind not in ("char", "oidvector", "int2vector"):
        return None
    if kind == "bool":
        return text == "t"
    if kind in ("oidvector", "int2vector"):
        return [int(one) for one in text.split()]
    if _DUCKDB_TYPES.get(kind, "VARCHAR") in ("UINTEGER", "SMALLINT", "INTEGER", "BIGINT"):
        return int(text)
    return float(text) if kind.startswith("float") else text
