"""What the name of a DuckDB type tells about fields.

Takes: type names of contracts. Gives: fields of structures. Never guesses: None is unknown.
"""

from __future__ import annotations

from functools import lru_cache

from sqlglot import exp
from sqlglot.errors import SqlglotError

_WITH_FIELDS = ("STRUCT", "JSON", "UNION", "MAP", "VARIANT", "GEOMETRY")


def can_have_fields(type_name: str | None) -> bool:
    """Whether `value.field` can mean something; unknown types may."""
    if type_name is None:
        return True
    upper = type_name.upper()
    return upper.startswith(_WITH_FIELDS) and not upper.endswith("]")


@lru_cache(maxsize=1024)
def fields_of(type_name: str | None) -> tuple[tuple[str, str], ...] | None:
    """The fields of a structure, with their types; None for what is none."""
    if type_name is None or not can_have_fields(type_name):
        return None
    if not type_name.upper().startswith("STRUCT"):
        return None
    try:
        built = exp.DataType.build(type_name, dialect="duckdb")
    except SqlglotError:
        return None
    return tuple(
        (one.name, one.kind.sql("duckdb")) for one in built.expressions
        if isinstance(one, exp.ColumnDef) and one.kind is not None
    )
