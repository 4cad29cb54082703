"""Data contracts of the Open Data Contract Standard.

Takes: a document that fits the standard's schema. Gives: tables with canonical types, service
levels, quality rules. Never trusts a type that it does not know, and never drops a tag or a
classification: those of nested properties belong to their column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from catalog.column_types import canonical_type, declared_type, text_length
from catalog.documents import Document
from catalog.model import Column, Relationship, Table
from catalog.problems import Problems, nearest

VENDOR = "sqluice"
READABLE = ("v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0", "v3.2.0")
# The custom properties that mean something to the gateway, by where they stand.
OWN_ROOT = frozenset({"source", "defaultTable"})
OWN_TABLE = frozenset({"size"})
OWN_COLUMN = frozenset({"type", "maskedType", "unit", "keysStay"})

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract as its product needs it."""

    document: Document
    source: str | None
    default_table: str | None
    tables: tuple[Table, ...]

    @property
    def content(self) -> Mapping[str, Any]:
        """What the file says."""
        return self.document.content


def contract_of(document: Document, address: str, problems: Problems) -> Contract:
    """The contract of the product at `domain.product`."""
    reading = _Reading(document, address, problems)
    content = document.content
    if content["apiVersion"] not in READABLE:
        problems.add(
            document.place("apiVersion"), "unknown_version",
            f"ODCS {content['apiVersion']} is not read", f"read are {', '.join(READABLE)}",
        )
    own = reading.own(content, (), OWN_ROOT)
    source, default = own.get("source"), own.get("defaultTable")
    if not isinstance(source, str):
        problems.add(
            document.place("customProperties"), "missing_source", "the contract names no source",
            "add {property: source, value: <name>, vendor: sqluice} to customProperties",
        )
    tables = tuple(
        reading.table(("schema", number), one)
        for number, one in enumerate(content.get("schema") or [])
    )
    if not tables:
        problems.add(document.place("schema"), "missing_table", "the contract has no table",
                     "describe at least one under schema")
    reading.unique([one.name for one in tables], ("schema",), "table")
    if default is not None and default not in {one.name for one in tables}:
        problems.add(
            document.place("customProperties"), "unknown_table",
            f"the default table {default!r} does not exist",
            nearest(str(default), [one.name for one in tables]),
        )
    reading.service_levels(tables)
    return Contract(
        document, source if isinstance(source, str) else None,
        default if isinstance(default, str) else None, tables,
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """One contract being read."""

    document: Document
    address: str
    problems: Problems

    def own(self, content: Mapping[str, Any], path: Path, known: frozenset[str]) -> dict[str, Any]:
        """The custom properties of ours; a misspelt one is a problem."""
        found: dict[str, Any] = {}
        for number, one in enumerate(content.get("customProperties") or []):
            name, vendor = str(one["property"]), one.get("vendor")
            place = (*path, "customProperties", number)
            if vendor is None and name in known:
                self._tell(place, "missing_vendor", f"{name} does not say whose it is",
                           f"add vendor: {VENDOR}")
            elif vendor != VENDOR:
                continue
            elif name not in known:
                self._tell(place, "unknown_key", f"{name!r} is no property of ours here",
                           nearest(name, known) or "remove it")
            elif name in found:
                self._tell(place, "duplicate", f"{name} stands twice", "keep one")
            else:
                found[name] = one["value"]
        return found

    def table(self, path: Path, content: Mapping[str, Any]) -> Table:
        """A table with its columns."""
        own = self.own(content, path, OWN_TABLE)
        size = own.get("size")
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
            self._tell(path, "invalid_value", "size is no number of rows", "write a whole number")
        self._name(path, content["name"])
        properties = content.get("properties") or []
        if not properties:
            self._tell(path, "missing_column", "the table has no column",
                       "describe at least one under properties")
        self.unique([one["name"] for one in properties], path, "column")
        columns = tuple(
            self._column((*path, "properties", number), one)
            for number, one in enumerate(properties)
        )
        return Table(
            name=content["name"], physical_name=content.get("physicalName") or content["name"],
            columns=columns, description=_text(content.get("description")),
            business_name=_text(content.get("businessName")),
            tags=frozenset(content.get("tags") or ()),
            relationships=tuple(self._relationships(path, content)),
            size=size if isinstance(size, int) else None, place=self.document.place(*path),
        )

    def unique(self, names: list[str], path: Path, what: str) -> None:
        """Names differ whatever their case."""
        folded = [one.casefold() for one in names]
        for name in sorted({one for one in folded if folded.count(one) > 1}):
            self._tell(path, "duplicate", f"has two {what}s {name}", "keep one")

    def _tell(self, path: Path, code: str, message: str, remedy: str) -> None:
        self.problems.add(self.document.place(*path), code, message, remedy)

    def _name(self, path: Path, name: str) -> None:
        if not name or "." in name or not name.isprintable() or name != name.strip():
            self._tell(path, "invalid_name", f"the name {name!r} cannot be addressed in SQL",
                       "use a name without dots and blanks at its ends; physicalName may differ")

    def _column(self, path: Path, content: Mapping[str, Any]) -> Column:
        self._name(path, content["name"])
        own = self.own(content, path, OWN_COLUMN)
        kind = declared_type(content, own.get("type"))
        if kind is None:
            self._tell(
                path, "unknown_type", f"the type of {content['name']} is not known: "
                + _said(content, own.get("type")),
                "set the custom property `type` (vendor sqluice) to a DuckDB type, such as "
                "DECIMAL(12,2)",
            )
        masked = own.get("maskedType")
        masked_type = canonical_type(str(masked)) if masked is not None else None
        if masked is not None and masked_type is None:
            self._tell(path, "unknown_type", f"maskedType {masked!r} is not known",
                       "name a DuckDB type, such as VARCHAR")
        stays = own.get("keysStay", False)
        if not isinstance(stays, bool):
            self._tell(path, "invalid_value", "keysStay is true or false", "write true or false")
        key = content.get("primaryKeyPosition", 1) if content.get("primaryKey") else None
        tags, classification = self._labels(path, content)
        return Column(
            # Nobody meets the empty type: its problem refuses the mesh.
            name=content["name"], type=kind or "",
            physical_name=content.get("physicalName") or content["name"],
            required=bool(content.get("required") or content.get("primaryKey")),
            unique=bool(content.get("unique")), primary_key_position=key,
            masked_type=masked_type, tags=tags, classification=classification,
            description=_text(content.get("description")),
            business_name=_text(content.get("businessName")), unit=_text(own.get("unit")),
            critical=bool(content.get("criticalDataElement")), keys_stay=stays is not False,
            examples=tuple(str(one) for one in content.get("examples") or ()),
            semantics=_semantics(content), length=text_length(content),
            place=self.document.place(*path),
        )

    def _labels(self, path: Path, content: Mapping[str, Any]) -> tuple[frozenset[str], str | None]:
        """Tags and classification of a property and all that is nested in it."""
        parts = [content, *_nested(content)]
        classes = sorted({str(one["classification"]) for one in parts if one.get("classification")})
        if len(classes) > 1:
            self._tell(
                path, "invalid_value",
                f"{content['name']} has parts classified {' and '.join(classes)}",
                "a column has one classification: give all its parts the strictest",
            )
        tags = frozenset(tag for one in parts for tag in one.get("tags") or ())
        return tags, classes[0] if classes else None

    def _relationships(self, path: Path, content: Mapping[str, Any]) -> Iterator[Relationship]:
        """Foreign keys declared at a property (`to`) or at the table (`from`, `to`)."""
        for number, column in enumerate(content.get("properties") or []):
            for one in column.get("relationships") or []:
                yield from self._relationship(
                    (*path, "properties", number), content["name"], [column["name"]], one["to"]
                )
        for one in content.get("relationships") or []:
            given = one["from"] if isinstance(one["from"], list) else [one["from"]]
            columns = [self._by_id(str(name)).split(".")[-1] for name in given]
            yield from self._relationship(path, content["name"], columns, one["to"])

    def _relationship(
        self, path: Path, table: str, columns: list[str], target: object
    ) -> Iterator[Relationship]:
        given = target if isinstance(target, list) else [target]
        if any("#" in str(one) for one in given):
            return  # in a file outside the mesh
        parts = [self._by_id(str(one)).split(".") for one in given]
        tables = {".".join(one[:-1]) for one in parts}
        if len(tables) != 1 or len(columns) != len(parts):
            self._tell(path, "unknown_table", f"a relationship of {table} has no single target",
                       "refer to the columns of one table, as many as refer to them")
            return
        yield Relationship(
            tuple(columns), self._full(tables.pop()), tuple(one[-1] for one in parts),
            self.document.place(*path),
        )

    def _full(self, table: str) -> str:
        """`domain.product.table` from a name that may leave out its own domain and product."""
        own, parts = self.address.split("."), table.split(".")
        return ".".join([*own[: max(0, 3 - len(parts))], *parts])

    def _by_id(self, reference: str) -> str:
        """`table.column` for the standard's notation by ids, `schema/t/properties/c`."""
        if "/" not in reference:
            return reference
        steps = reference.strip("/").split("/")[1::2]
        names: list[str] = []
        inner: Any = self.document.content.get("schema") or []
        for step in steps:
            found = next((one for one in inner if step in (one.get("id"), one["name"])), None)
            names.append(found["name"] if found else step)
            inner = (found or {}).get("properties") or []
        return ".".join(names)

    def service_levels(self, tables: tuple[Table, ...]) -> None:
        """The elements that service levels speak of exist."""
        known = {one.name for one in tables}
        known |= {f"{one.name}.{column.name}" for one in tables for column in one.columns}
        known |= {column.name for one in tables for column in one.columns}
        for number, one in enumerate(self.document.content.get("slaProperties") or []):
            for element in str(one.get("element") or "").split(","):
                if element.strip() and element.strip() not in known:
                    self._tell(
                        ("slaProperties", number, "element"), "unknown_column",
                        f"there is no {element.strip()}", nearest(element.strip(), known),
                    )


def _nested(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    inner = [*(content.get("properties") or [])]
    inner += [one for one in (content.get("items"), content.get("map")) if isinstance(one, Mapping)]
    for one in inner:
        yield one
        yield from _nested(one)


def _said(content: Mapping[str, Any], own: object) -> str:
    if own is not None:
        return repr(own)
    return " and ".join(
        f"{key} {content[key]}" for key in ("logicalType", "physicalType") if key in content
    ) or "the contract says none"


def _semantics(content: Mapping[str, Any]) -> Mapping[str, str]:
    keys = ("semanticType", "transformLogic", "transformDescription", "encryptedName")
    return MappingProxyType({key: str(content[key]) for key in keys if content.get(key)})


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


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
        found += [{"table": table["name"], **rule} for rule in table.get("quality") or []]
        for column in table.get("properties") or []:
            names = {"table": table["name"], "column": column["name"]}
            found += [{**names, **rule} for rule in column.get("quality") or []]
    return tuple(MappingProxyType(dict(one)) for one in found)
