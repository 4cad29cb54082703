"""Data contracts of the Open Data Contract Standard.

Takes: a validated ODCS document. Gives: tables with canonical types. Never trusts a type that it
does not know: such a column is a problem, not text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from catalog.documents import Document, Problem
from catalog.model import Column, Relationship, Table

VENDOR = "sqluice"
_DECIMAL = re.compile(r"(?:decimal|numeric|number)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", re.I)
_PLAIN = {
    "boolean": "BOOLEAN",
    "bool": "BOOLEAN",
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "int2": "SMALLINT",
    "integer": "INTEGER",
    "int": "INTEGER",
    "int4": "INTEGER",
    "bigint": "BIGINT",
    "int8": "BIGINT",
    "hugeint": "HUGEINT",
    "real": "FLOAT",
    "float4": "FLOAT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "double precision": "DOUBLE",
    "float8": "DOUBLE",
    "varchar": "VARCHAR",
    "text": "VARCHAR",
    "string": "VARCHAR",
    "char": "VARCHAR",
    "blob": "BLOB",
    "bytea": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "timestamp with time zone": "TIMESTAMP WITH TIME ZONE",
    "interval": "INTERVAL",
    "uuid": "UUID",
    "json": "JSON",
    "jsonb": "JSON",
}
_FORMATS = {
    "i8": "TINYINT",
    "i16": "SMALLINT",
    "i32": "INTEGER",
    "i64": "BIGINT",
    "i128": "HUGEINT",
    "f32": "FLOAT",
    "f64": "DOUBLE",
}
_LOGICAL = {
    "string": "VARCHAR",
    "date": "DATE",
    "time": "TIME",
    "boolean": "BOOLEAN",
    "integer": "BIGINT",
}


def canonical_type(text: str) -> str | None:
    """A type's name in DuckDB's canonical spelling, None where it is not known."""
    plain = " ".join(text.strip().lower().split())
    if plain.endswith("[]"):
        inner = canonical_type(plain.removesuffix("[]"))
        return f"{inner}[]" if inner else None
    found = _DECIMAL.fullmatch(plain)
    if found:
        precision, scale = int(found.group(1)), int(found.group(2) or 0)
        return (
            f"DECIMAL({precision},{scale})" if 1 <= precision <= 38 and scale <= precision else None
        )
    return _PLAIN.get(re.sub(r"\(.*\)", "", plain).strip())


def tables_of(document: Document, problems: list[Problem]) -> tuple[Table, ...]:
    """The tables of a contract."""
    return tuple(
        _table(document, number, one, problems)
        for number, one in enumerate(document.content.get("schema") or [])
    )


def custom(content: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - any JSON value
    """The value of a custom property of ours, None where there is none."""
    for one in content.get("customProperties") or []:
        if one.get("property") == name and one.get("vendor") == VENDOR:
            return one.get("value")
    return None


def _table(
    document: Document, number: int, content: Mapping[str, Any], problems: list[Problem]
) -> Table:
    path = ("schema", number)
    columns: list[Column] = []
    for position, one in enumerate(content.get("properties") or []):
        made = _column(document, (*path, "properties", position), one, problems)
        if made is not None:
            columns.append(made)
    names = [one.name.casefold() for one in columns]
    for name in {one for one in names if names.count(one) > 1}:
        problems.append(Problem(document.place(*path), f"has two columns {name}"))
    size = custom(content, "size")
    return Table(
        name=content["name"],
        physical_name=content.get("physicalName") or content["name"],
        columns=tuple(columns),
        description=_text(content.get("description")),
        business_name=_text(content.get("businessName")),
        tags=frozenset(content.get("tags") or ()),
        relationships=_relationships(content),
        size=size if isinstance(size, int) else None,
        place=document.place(*path),
    )


def _column(
    document: Document,
    path: tuple[str | int, ...],
    content: Mapping[str, Any],
    problems: list[Problem],
) -> Column | None:
    name = content["name"]
    if "." in name:
        problems.append(Problem(document.place(*path), f"the name {name!r} holds a dot"))
        return None
    kind = _type(content)
    if kind is None:
        problems.append(
            Problem(
                document.place(*path),
                f"the type of {name} is not known",
                "set physicalType, or the custom property `type` (vendor sqluice) to a DuckDB type",
            )
        )
        return None
    masked = custom(content, "maskedType")
    position = content.get("primaryKeyPosition") if content.get("primaryKey") else None
    return Column(
        name=name,
        type=kind,
        physical_name=content.get("physicalName") or name,
        required=bool(content.get("required") or content.get("primaryKey")),
        unique=bool(content.get("unique")),
        primary_key_position=(position or 1) if content.get("primaryKey") else None,
        masked_type=canonical_type(masked) if isinstance(masked, str) else None,
        tags=frozenset(content.get("tags") or ()),
        classification=content.get("classification"),
        description=_text(content.get("description")),
        business_name=_text(content.get("businessName")),
        unit=_text(custom(content, "unit")),
        critical=bool(content.get("criticalDataElement")),
        examples=tuple(str(one) for one in content.get("examples") or ()),
    )


def _type(content: Mapping[str, Any]) -> str | None:
    declared = custom(content, "type")
    if isinstance(declared, str):
        return canonical_type(declared)
    physical = content.get("physicalType")
    if isinstance(physical, str):
        found = canonical_type(physical)
        if found is not None:
            return found
    logical = content.get("logicalType")
    options = content.get("logicalTypeOptions") or {}
    if options.get("format") in _FORMATS:
        return _FORMATS[options["format"]]
    if logical == "timestamp":
        zoned = options.get("timezone", True)
        return "TIMESTAMP WITH TIME ZONE" if zoned else "TIMESTAMP"
    return _LOGICAL.get(str(logical)) if physical is None else None


def _relationships(content: Mapping[str, Any]) -> tuple[Relationship, ...]:
    """Foreign keys declared at a property (`to`) or at the table (`from`, `to`)."""
    found = []
    for one in content.get("properties") or []:
        for relationship in one.get("relationships") or []:
            found.append(_relationship([one["name"]], relationship.get("to")))
    for relationship in content.get("relationships") or []:
        given = relationship.get("from")
        columns = [given] if isinstance(given, str) else list(given or [])
        found.append(
            _relationship([str(one).split(".")[-1] for one in columns], relationship.get("to"))
        )
    return tuple(found)


def _relationship(columns: list[str], target: Any) -> Relationship:  # noqa: ANN401
    targets = [target] if isinstance(target, str) else list(target or [])
    paths = [str(one).replace("/", ".").split(".") for one in targets]
    return Relationship(
        tuple(columns),
        ".".join(paths[0][:-1]) if paths else "",
        tuple(path[-1] for path in paths),
    )


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def service_levels(content: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    """The promises of a contract, as text by key."""
    return tuple(
        MappingProxyType({key: str(value) for key, value in one.items() if value is not None})
        for one in content.get("slaProperties") or []
    )


def quality_rules(content: Mapping[str, Any]) -> tuple[Mapping[str, object], ...]:
    """All quality rules of a contract, each with the table and column it speaks of."""
    found: list[Mapping[str, object]] = []
    for table in content.get("schema") or []:
        for rule in table.get("quality") or []:
            found.append({"table": table["name"], **rule})
        for column in table.get("properties") or []:
            for rule in column.get("quality") or []:
                found.append({"table": table["name"], "column": column["name"], **rule})
    return tuple(MappingProxyType(dict(one)) for one in found)
