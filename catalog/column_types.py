"""Types of columns: what a contract says becomes DuckDB's canonical name.

Takes: names of types as ODCS, PostgreSQL, SQLite, MySQL and DuckDB write them. Gives: the name
that `catalog.model` lists, or None. Never guesses: a type that is not known is not text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_PARAMETERS = re.compile(r"\(\s*([\d\s,]*)\)")
_DECIMALS = frozenset({"decimal", "numeric", "dec"})
_TEXTS = frozenset({
    "varchar", "text", "string", "char", "character", "character varying", "bpchar", "nvarchar",
    "clob",
})
_PLAIN: Mapping[str, str] = {
    "boolean": "BOOLEAN", "bool": "BOOLEAN", "tinyint": "TINYINT", "int1": "TINYINT",
    "smallint": "SMALLINT", "int2": "SMALLINT", "smallserial": "SMALLINT", "integer": "INTEGER",
    "int": "INTEGER", "int4": "INTEGER", "serial": "INTEGER", "bigint": "BIGINT", "int8": "BIGINT",
    "bigserial": "BIGINT", "hugeint": "HUGEINT", "int128": "HUGEINT", "real": "FLOAT",
    "float4": "FLOAT", "float": "FLOAT", "double": "DOUBLE", "double precision": "DOUBLE",
    "float8": "DOUBLE", "blob": "BLOB", "bytea": "BLOB", "varbinary": "BLOB", "binary": "BLOB",
    "date": "DATE", "time": "TIME", "time without time zone": "TIME", "timestamp": "TIMESTAMP",
    "timestamp without time zone": "TIMESTAMP", "datetime": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "timestamp with time zone": "TIMESTAMP WITH TIME ZONE", "interval": "INTERVAL",
    "uuid": "UUID", "json": "JSON", "jsonb": "JSON", **dict.fromkeys(_TEXTS, "VARCHAR"),
}
_FORMATS = {
    "i8": "TINYINT", "i16": "SMALLINT", "i32": "INTEGER", "i64": "BIGINT", "i128": "HUGEINT",
    "f32": "FLOAT", "f64": "DOUBLE",
}
_INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"})
# What a logical type may stand for. DECIMAL is named without its digits.
_ALLOWED: Mapping[str, frozenset[str]] = {
    "string": frozenset({"VARCHAR", "UUID", "JSON", "BLOB", "INTERVAL"}),
    "date": frozenset({"DATE"}), "time": frozenset({"TIME"}), "boolean": frozenset({"BOOLEAN"}),
    "timestamp": frozenset({"TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}),
    "integer": _INTEGERS | {"DECIMAL"},
    "number": _INTEGERS | {"DECIMAL", "FLOAT", "DOUBLE"},
    "object": frozenset({"JSON"}), "map": frozenset({"JSON"}),
    "array": frozenset({"JSON", "[]"}), "vector": frozenset({"JSON", "[]"}),
}
_MOST_DIGITS = 38


def canonical_type(text: str) -> str | None:
    """A type's name in DuckDB's canonical spelling, None where it is not known."""
    plain = " ".join(text.strip().lower().split())
    if plain.endswith("[]"):
        inner = canonical_type(plain.removesuffix("[]"))
        return f"{inner}[]" if inner else None
    found = _PARAMETERS.search(plain)
    name = " ".join(_PARAMETERS.sub(" ", plain, count=1).split())
    if name in _DECIMALS:
        return _decimal(found.group(1)) if found else None
    return _PLAIN.get(name)


def _decimal(parameters: str) -> str | None:
    parts = parameters.split(",")
    if not all(one.strip().isdigit() for one in parts) or len(parts) > 2:
        return None
    digits, scale = int(parts[0]), int(parts[1]) if len(parts) == 2 else 0
    if not (1 <= digits <= _MOST_DIGITS and scale <= digits):
        return None
    return f"DECIMAL({digits},{scale})"


def declared_type(content: Mapping[str, Any], own: object) -> str | None:
    """The type of an ODCS property. `own`, the custom property `type`, goes before all else."""
    if own is not None:
        return canonical_type(own) if isinstance(own, str) else None
    logical, options = content.get("logicalType"), content.get("logicalTypeOptions") or {}
    physical = content.get("physicalType")
    if isinstance(physical, str):
        found = canonical_type(physical) or _FORMATS.get(str(options.get("format")))
        return found if found is not None and _agrees(logical, found) else None
    if logical in ("integer", "number") and "format" in options:
        return _FORMATS.get(str(options["format"]))  # unsigned ones have no type of their own here
    if logical == "timestamp":
        return "TIMESTAMP WITH TIME ZONE" if options.get("timezone", True) else "TIMESTAMP"
    if logical == "array" and isinstance(content.get("items"), Mapping):
        inner = declared_type(content["items"], None)
        return f"{inner}[]" if inner else None
    return {
        "string": "VARCHAR", "date": "DATE", "time": "TIME", "boolean": "BOOLEAN",
        "integer": "BIGINT",
    }.get(str(logical))


def _agrees(logical: object, name: str) -> bool:
    """Whether a logical type can stand for a type; a contract that contradicts itself is wrong."""
    if logical is None:
        return True
    family = "[]" if name.endswith("[]") else name.split("(", maxsplit=1)[0]
    return family in _ALLOWED.get(str(logical), frozenset())


def text_length(content: Mapping[str, Any]) -> int | None:
    """The most characters that an ODCS property allows a text, None where it does not say."""
    found: list[int] = []
    longest = (content.get("logicalTypeOptions") or {}).get("maxLength")
    if isinstance(longest, int):
        found.append(longest)
    physical = str(content.get("physicalType") or "").strip().lower()
    given = _PARAMETERS.search(physical)
    if given and given.group(1).strip().isdigit() and canonical_type(physical) == "VARCHAR":
        found.append(int(given.group(1)))
    return min(found, default=None)
