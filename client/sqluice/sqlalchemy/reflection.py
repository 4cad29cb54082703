"""What SQLAlchemy may know of products, from one statement a schema.

Takes: a connection, a schema and a table. Gives: the rows of `SHOW COLUMNS`, remembered as long as
the inspector lives, and what they mean. Never asks for each column, nor tells more than the gateway
tells this caller.

Without a domain a schema is `domain.product`; with one it is a product of it, and a table without
a schema is a product that has a default table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exc, text

from sqluice.sqlalchemy.types import type_of

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """A schema as parts of an address: of a domain, or of a product in it."""

    parts: tuple[str, ...]

    @property
    def is_domain(self) -> bool:
        """Whether its tables are whole products."""
        return len(self.parts) == 1

    def name_in(self, row: Row) -> str:
        """What a table is called here; '' where it has no name of its own."""
        if not self.is_domain:
            return row["table"]
        return row["product"] if row["is_default"] == "YES" else ""


def place_of(schema: str | None, domain: str | None) -> Place | None:
    """Where a schema lies; None where there is neither a schema nor a domain."""
    parts = tuple(schema.split(".")) if schema else ()
    if domain and len(parts) < 2:
        parts = (domain, *parts)
    return Place(parts) if parts else None


def rows_of(
    connection: Any,
    place: Place | None,
    table: str | None,
    cache: MutableMapping[Any, Any] | None,
) -> tuple[Row, ...]:
    """The columns of one table, or of all in a place; the whole place answers for its tables."""
    if place is None:
        return ()
    held: MutableMapping[Any, Any] = {} if cache is None else cache
    whole = held.get(("sqluice", place.parts))
    if whole is None:
        path = (*place.parts, table) if table is not None else place.parts
        if ("sqluice", path) not in held:
            held["sqluice", path] = _asked(connection, path)
        whole = held["sqluice", path]
    if table is None:
        return tuple(one for one in whole if place.name_in(one))
    wanted = table.casefold()
    return tuple(one for one in whole if place.name_in(one).casefold() == wanted)


def _asked(connection: Any, path: Iterable[str]) -> tuple[Row, ...]:
    quoted = ".".join('"' + one.replace('"', '""') + '"' for one in path)
    found = connection.execute(text(f"SHOW COLUMNS FROM {quoted.replace(':', chr(92) + ':')}"))
    names = list(found.keys())
    return tuple(dict(zip(names, row, strict=True)) for row in found)


def existing(rows: tuple[Row, ...], table: str) -> tuple[Row, ...]:
    """The rows; NoSuchTableError where there is none."""
    if not rows:
        raise exc.NoSuchTableError(table)
    return rows


def columns(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The columns of a table."""
    return [
        {
            "name": one["column"],
            "type": type_of(one["type"]),
            "nullable": one["null"] == "YES",
            "default": None,
            "comment": comment(one),
        }
        for one in rows
    ]


def comment(row: Row) -> str | None:
    """A column's description, and the mask that this caller meets."""
    mask = f"[masked: {row['masked']}]" if row["masked"] else ""
    return " ".join(one for one in (row["description"], mask) if one) or None


def primary_key(rows: Iterable[Row]) -> dict[str, Any]:
    """The key of a table."""
    keyed = sorted((int(one["key"]), one) for one in _keyed(rows))
    names = [one["column"] for _, one in keyed]
    return {
        "constrained_columns": names,
        "name": f"{keyed[0][1]['table']}_key" if keyed else None,
    }


def _keyed(rows: Iterable[Row]) -> Iterator[Row]:
    return (one for one in rows if one["key"])


def foreign_keys(rows: Iterable[Row], place: Place, domain: str | None) -> list[dict[str, Any]]:
    """The keys of a table that refer to others, by name."""
    found: dict[str, dict[str, Any]] = {}
    referring = [(int(one["reference_position"]), one) for one in rows if one["references"]]
    for _, one in sorted(referring, key=lambda pair: pair[0]):
        owner, product, table, column = one["references"].split(".")
        made = found.setdefault(
            one["reference"],
            {
                "name": one["reference"],
                "constrained_columns": [],
                "referred_schema": _schema(owner, product, domain),
                "referred_table": table,
                "referred_columns": [],
                "options": {},
            },
        )
        made["constrained_columns"].append(one["column"])
        made["referred_columns"].append(column)
    if place.is_domain:
        _by_product(found.values(), domain)
    return list(found.values())


def _schema(owner: str, product: str, domain: str | None) -> str:
    is_near = domain is not None and owner.casefold() == domain.casefold()
    return product if is_near else f"{owner}.{product}"


def _by_product(keys: Iterable[dict[str, Any]], domain: str | None) -> None:
    """Between products of one domain whose table has the product's name, that name suffices."""
    for one in keys:
        if domain is not None and one["referred_table"] == one["referred_schema"]:
            one["referred_schema"] = None
