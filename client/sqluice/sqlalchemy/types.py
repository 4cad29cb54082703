"""SQL types as SQLAlchemy knows them, and what values look like as text in a statement.

Takes: the names of types that the gateway tells. Gives: a type for each, never one that means
nothing. Literals are for `literal_binds` alone: values travel as parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID as Identifier

from sqlalchemy import types
from sqlalchemy.sql.type_api import NativeForEmulated

_PARAMETERS = re.compile(r"(?P<name>[A-Z ]+?)\s*\((?P<values>[\d, ]+)\)")
_ARRAY = re.compile(r"(?P<item>.+?)(?P<dimensions>(\[\d*\])+)")
_MICROSECOND = timedelta(microseconds=1)

Processor = Callable[[Any], Any]


def _literal(name: str) -> Callable[[Any, Any], Processor]:
    """A literal processor that writes `name '...'`, in ISO's form."""

    def processor(self: object, dialect: object) -> Processor:
        def process(value: date | time) -> str:
            text = value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
            return f"{name} '{text}'"

        return process

    return processor


class Date(types.Date):
    """DATE."""

    literal_processor = _literal("DATE")


class Time(types.Time):
    """TIME."""

    literal_processor = _literal("TIME")


class DateTime(types.DateTime):
    """TIMESTAMP; with a zone where the type says so."""

    def literal_processor(self, dialect: Any) -> Any:
        """The type's name with a text."""
        return _literal("TIMESTAMPTZ" if self.timezone else "TIMESTAMP")(self, dialect)


class Timestamp(types.TIMESTAMP):
    """TIMESTAMP as reflected."""

    literal_processor = DateTime.literal_processor


class Bytes(types.LargeBinary):
    """BLOB; values are bytes on both ways."""

    def bind_processor(self, dialect: Any) -> None:
        """Nothing to do."""

    def result_processor(self, dialect: Any, coltype: object) -> None:
        """Nothing to do."""

    def literal_processor(self, dialect: Any) -> Any:
        """From hexadecimal digits."""
        return lambda value: f"from_hex('{bytes(value).hex()}')"


class Interval(NativeForEmulated, types.TypeEngine[Any]):
    """INTERVAL; one with months comes as the triple that Arrow has, all else as a timedelta."""

    __visit_name__ = "interval"
    cache_ok = True
    # Without its type a parameter next to an operator could be anything.
    render_bind_cast = True

    @classmethod
    def adapt_emulated_to_native(cls, impl: Any, **kw: Any) -> Interval:
        """The type of SQLAlchemy's own Interval."""
        return cls()

    def result_processor(self, dialect: Any, coltype: object) -> Processor:
        """Read what has no months."""
        return _duration

    def literal_processor(self, dialect: Any) -> Any:
        """In microseconds."""
        return lambda value: f"INTERVAL '{value // _MICROSECOND} microseconds'"


class UUID(types.TypeEngine[Any]):
    """UUID; a text on the wire, a value in Python unless that is not wanted."""

    __visit_name__ = "UUID"
    cache_ok = True

    def __init__(self, as_uuid: bool = True) -> None:
        """Hold which of the two Python gets."""
        self.as_uuid = as_uuid

    def bind_processor(self, dialect: Any) -> Processor:
        """The canonical text."""
        return lambda value: None if value is None else str(value)

    def result_processor(self, dialect: Any, coltype: object) -> Processor:
        """The value, or its text."""
        kind: Processor = Identifier if self.as_uuid else str
        return lambda value: None if value is None else kind(str(value))

    def literal_processor(self, dialect: Any) -> Any:
        """A cast of its text."""
        return lambda value: f"UUID '{Identifier(str(value))}'"


class Named(types.TypeEngine[Any]):
    """A type of which SQLAlchemy knows nothing but the name: structs, maps, what is to come."""

    __visit_name__ = "named"
    cache_ok = True

    def __init__(self, name: str) -> None:
        """Hold the name."""
        self.name = name

    def __repr__(self) -> str:
        return f"Named({self.name!r})"


class Pattern(types.TypeDecorator[Any]):
    """A text that becomes a pattern: the gateway takes a whole one, never the sum of its parts."""

    impl = types.String
    cache_ok = True

    def __init__(self, before: str, after: str) -> None:
        """Hold what stands around the text."""
        super().__init__()
        self.before, self.after = before, after

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        """The pattern."""
        return None if value is None else f"{self.before}{value}{self.after}"


def _duration(value: Any) -> Any:
    months = getattr(value, "months", 0)
    if months or not hasattr(value, "nanoseconds"):
        return value
    return timedelta(days=value.days, microseconds=value.nanoseconds / 1000)


_PLAIN: Mapping[str, Callable[[], types.TypeEngine[Any]]] = {
    "BOOLEAN": types.BOOLEAN,
    "TINYINT": types.SMALLINT,
    "UTINYINT": types.SMALLINT,
    "SMALLINT": types.SMALLINT,
    "USMALLINT": types.INTEGER,
    "INTEGER": types.INTEGER,
    "UINTEGER": types.BIGINT,
    "BIGINT": types.BIGINT,
    "UBIGINT": lambda: types.NUMERIC(20, 0),
    "HUGEINT": lambda: types.NUMERIC(38, 0),
    "FLOAT": types.REAL,
    "DOUBLE": lambda: types.FLOAT(53),
    "DECIMAL": types.NUMERIC,
    "VARCHAR": types.VARCHAR,
    "BLOB": Bytes,
    "DATE": Date,
    "TIME": Time,
    "TIMESTAMP": Timestamp,
    "TIMESTAMP WITH TIME ZONE": lambda: Timestamp(timezone=True),
    "INTERVAL": Interval,
    "UUID": UUID,
    "JSON": types.JSON,
}


def type_of(name: str) -> types.TypeEngine[Any]:
    """The type of a name such as `DECIMAL(12,2)` or `VARCHAR[]`."""
    array = _ARRAY.fullmatch(name)
    if array is not None:
        item, deep = type_of(array["item"]), array["dimensions"].count("[")
        return types.ARRAY(item, dimensions=deep if deep > 1 else None)
    plain = _PLAIN.get(name)
    if plain is not None:
        return plain()
    match = _PARAMETERS.fullmatch(name)
    if match is None:
        return Named(name)
    first, _, second = match["values"].partition(",")
    if match["name"] == "DECIMAL":
        return types.NUMERIC(int(first), int(second or 0))
    return types.VARCHAR(int(first)) if match["name"] == "VARCHAR" else Named(name)


# What SQLAlchemy's own types become under this dialect.
COLSPECS: dict[type[types.TypeEngine[Any]], type[types.TypeEngine[Any]]] = {
    types.Date: Date,
    types.Time: Time,
    types.TIMESTAMP: Timestamp,
    types.DateTime: DateTime,
    types.LargeBinary: Bytes,
    types.Interval: Interval,
}
if hasattr(types, "Uuid"):
    COLSPECS[types.Uuid] = UUID
