"""Random tables: what a mesh under attack is made of.

Takes: a source of chance and a kind of source. Gives: a `Shape` (a table with typed fields) and
values for its cells, tame ones and wild ones. Never touches a database; equal seeds give equal
shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from types import MappingProxyType

# `files` are Parquet; `csv` are files too, of a source of its own.
KINDS = ("postgres", "sqlite", "duckdb", "files", "csv")
# Where there is a server of it, a table of each arena lies in MariaDB too.
MARIADB = "mysql"
MINUTE = timedelta(minutes=1)
DOMAIN = "probe"


@dataclass(frozen=True, slots=True)
class Field:
    """A column. `flavour` says what its tame texts look like: word, number, day or json.

    `values` are those that policies speak of; half of the tame values come from them.
    """

    name: str
    type: str
    flavour: str = ""
    values: tuple[object, ...] = ()

    @property
    def family(self) -> str:
        """The type without its arguments."""
        return self.type.split("(")[0]


@dataclass(frozen=True, slots=True)
class Shape:
    """A table of a mesh and where it lies. `physical` is its name at its source."""

    kind: str
    domain: str
    product: str
    name: str
    physical: str
    fields: tuple[Field, ...]
    rows: int

    @property
    def address(self) -> str:
        """The name in SQL."""
        return f"{self.domain}.{self.product}.{self.name}"

    def field(self, name: str) -> Field:
        """The field of that name."""
        return next(one for one in self.fields if one.name == name)


# What each kind of source can hold. Lists are DuckDB's alone, and Parquet keeps no HUGEINT.
_EVERYWHERE = (
    "SMALLINT", "INTEGER", "BIGINT", "DECIMAL(10,2)", "DOUBLE", "BOOLEAN", "DATE", "TIME",
    "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "UUID", "BLOB", "JSON",
)
# Columns of CSV files are declared for a whole source: all of its tables have these.
CSV = (
    ("id", "INTEGER"), ("tenant", "VARCHAR"), ("note", "VARCHAR"), ("secret", "VARCHAR"),
    ("number", "INTEGER"), ("amount", "BIGINT"), ("c0", "DATE"), ("c1", "BOOLEAN"),
    ("c2", "DOUBLE"), ("c3", "TIMESTAMP"),
)  # fmt: skip
TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "postgres": (*_EVERYWHERE, "FLOAT", "INTERVAL", "DECIMAL(38,6)"),
        "sqlite": (*_EVERYWHERE, "TINYINT"),
        "duckdb": (
            *_EVERYWHERE, "TINYINT", "HUGEINT", "FLOAT", "INTERVAL", "DECIMAL(38,6)", "INTEGER[]",
            "VARCHAR[]",
        ),
        "files": (
            *_EVERYWHERE, "TINYINT", "FLOAT", "INTERVAL", "DECIMAL(38,6)", "INTEGER[]", "VARCHAR[]",
        ),
        MARIADB: (*_EVERYWHERE, "TINYINT", "DECIMAL(38,6)"),
    }
)
TENANTS = ("A", "B", "C", "a", "O'Neil", "ü")
_WORDS = ("alpha", "beta", "gamma", "Delta", "x", "", "naïve")
# An empty text in a CSV file is NULL.
_TERMS = tuple(one for one in _WORDS if one)
_NUMBERS = ("10", "20", "7", "-3", "0", "41")
_DAYS = ("2024-01-31", "2024-02-29", "2023-12-01")
_JSONS = ('{"a": 1}', '{"a": [1, 2]}', "[]", '"x"', "3")
_TAME_TEXTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"tenant": TENANTS, "number": _NUMBERS, "day": _DAYS, "json": _JSONS, "term": _TERMS}
)
_WILD_TEXTS = (
    "SECRET-7", "S\\", "%", "(", "2024-02-30", "9e999", "99999999999999999999", "''", "[a", "{",
    "ß", "İ", "\U0001f512", "x" * 300, "-", " 12", "0x1F", "NaN", "p_aaaa",
)


def random_shape(chance: Random, kind: str, product: str, name: str, rows: int) -> Shape:
    """A table with a key, a tenant, two texts, two numbers, and some columns of any type."""
    if kind == "csv":
        return Shape(kind, DOMAIN, product, name, "", _csv_fields(chance), rows)
    more = chance.sample(TYPES[kind], chance.randint(1, 4))
    flavours = ("word", "number", "day", "json")
    fields = [
        Field("id", "INTEGER"),
        Field("tenant", "VARCHAR", "tenant"),
        Field("note", "VARCHAR", chance.choice(flavours)),
        Field("secret", "VARCHAR", chance.choice(flavours[:3])),
        Field("number", "INTEGER"),
        Field("amount", chance.choice(("BIGINT", "DECIMAL(10,2)", "DOUBLE", "SMALLINT"))),
        *(Field(f"c{place}", one) for place, one in enumerate(more)),
    ]
    return Shape(kind, DOMAIN, product, name, "", tuple(fields), rows)


def _csv_fields(chance: Random) -> tuple[Field, ...]:
    flavours = {"tenant": "tenant"}
    for name in ("note", "secret"):
        flavours[name] = chance.choice(("term", "number", "day"))
    return tuple(Field(name, kind, flavours.get(name, "")) for name, kind in CSV)


def tame(chance: Random, field: Field) -> object:
    """A value on which the usual operations succeed; small domains, so that rows meet."""
    if field.name != "tenant" and chance.random() < 0.12:
        return None
    if field.values and chance.random() < 0.7:
        return chance.choice(field.values)
    if field.type == "VARCHAR":
        return chance.choice(_TAME_TEXTS.get(field.flavour, _WORDS))
    return _typed(chance, field, tame_number(chance))


def tame_number(chance: Random) -> int:
    """A small whole number."""
    return chance.randint(-4, 12)


def wild(chance: Random, field: Field) -> object:
    """A value on which casts, divisions, sums and patterns fail or differ."""
    if chance.random() < 0.15:
        return None
    if field.type == "VARCHAR":
        return chance.choice(_WILD_TEXTS)
    edges = _EDGES.get(field.type)
    if edges and chance.random() < 0.7:
        return chance.choice(edges)
    return _typed(chance, field, chance.randint(-100, 100))


_EDGES: Mapping[str, tuple[object, ...]] = MappingProxyType(
    {
        "TINYINT": (127, -128, 7),
        "SMALLINT": (32767, -32768, 7),
        "INTEGER": (2**31 - 1, -(2**31), 7, 0),
        "BIGINT": (2**63 - 1, -(2**63), 7),
        "HUGEINT": (10**38 - 1, -(10**38) + 1),
        "DOUBLE": (1e308, -1e308, math.inf, -math.inf, math.nan, 5e-324, 0.1),
        "FLOAT": (3e38, math.inf, math.nan),
        "DECIMAL(10,2)": (Decimal("99999999.99"), Decimal("-99999999.99"), Decimal("0.01")),
        "DECIMAL(38,6)": (Decimal("9" * 32 + ".999999"), Decimal("-" + "9" * 32 + ".999999")),
        "DATE": (date(1, 1, 1), date(9999, 12, 31), date(2024, 2, 29)),
        "TIMESTAMP": (datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)),
        "TIME": (time(0), time(23, 59, 59, 999999)),
        "JSON": ("null", '{"a": "SECRET"}', "[[[]]]", "1e400"),
    }
)


def _typed(chance: Random, field: Field, number: int) -> object:
    """The number as a value of the field's type."""
    if field.type == "JSON":
        return chance.choice(_JSONS)
    if field.family == "DECIMAL":
        return Decimal(number) / (1 if field.type.endswith(",0)") else 4)
    made = _FROM_NUMBER.get(field.type)
    return number if made is None else made(number)


def _moment(number: int) -> datetime:
    return datetime(2024, 1, 30) + timedelta(days=number, hours=6 * (number % 4))


_FROM_NUMBER: Mapping[str, Callable[[int], object]] = MappingProxyType(
    {
        "DOUBLE": lambda number: number / 4,
        "FLOAT": lambda number: number / 4,
        "BOOLEAN": lambda number: number % 2 == 0,
        "DATE": lambda number: _moment(number).date(),
        "TIME": lambda number: (datetime(2024, 1, 1) + abs(number) * 13 * MINUTE).time(),
        "TIMESTAMP": _moment,
        "TIMESTAMP WITH TIME ZONE": lambda number: _moment(number).replace(tzinfo=UTC),
        "UUID": lambda number: f"00000000-0000-4000-8000-{abs(number):012d}",
        "BLOB": lambda number: bytes([abs(number), 0, 255][: abs(number) % 4]),
        "INTERVAL": lambda number: f"{abs(number)} days",
        "INTEGER[]": lambda number: [number, None, 3][: abs(number) % 4],
        "VARCHAR[]": lambda number: ["a", str(number)][: abs(number) % 3],
    }
)
