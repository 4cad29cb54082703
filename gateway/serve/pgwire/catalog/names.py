"""Numbers and names of a catalog, both ways, and the definitions that PostgreSQL writes as text.

Takes: the rows of a catalog. Gives: what functions such as format_type and casts such as ::regclass
say. Never knows a name that the rows do not hold.

A path is the schemas whose relations go by their bare name, parted by a zero byte.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gateway.serve.pgwire.catalog.formats import EXPLODED, Exploded, exploded
from gateway.serve.pgwire.catalog.relations import relations
from gateway.serve.pgwire.catalog.rows import CLASSES, OWNER, OWNER_OID, PG_CATALOG, Row
from gateway.serve.pgwire.faults import WireError

PATH_MARK = "\x1f"
Record = Mapping[str, Any]
Value: TypeAlias = str | int | bool | list[str] | list[int] | list[Exploded] | None
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
_PART = re.compile(r'\s*("(?:[^"]|"")*"|[^\s".]+)\s*(\.|\Z)')
# How SQL calls types, by their numbers.
_SPELLED = {
    16: "boolean", 18: '"char"', 20: "bigint", 21: "smallint", 23: "integer", 700: "real",
    701: "double precision", 1042: "character", 1043: "character varying", 1083: "time",
    1114: "timestamp", 1184: "timestamp", 1186: "interval", 1266: "time", 1560: "bit",
    1562: "bit varying", 1700: "numeric",
}  # fmt: skip
_ZONES = {1083: " without time zone", 1114: " without time zone", 1184: " with time zone",
          1266: " with time zone"}  # fmt: skip
_ALIASES = {
    "int": 23, "integer": 23, "bigint": 20, "smallint": 21, "real": 700, "float": 701,
    "double precision": 701, "boolean": 16, "decimal": 1700, "character varying": 1043,
    "character": 1042, "char": 1042, "time without time zone": 1083,
    "time with time zone": 1266, "timestamp without time zone": 1114,
    "timestamp with time zone": 1184, "bit varying": 1562, '"char"': 18,
}  # fmt: skip
# PostgreSQL's words that a name has to be quoted for.
_RESERVED = frozenset("""
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit
    boolean both case cast char character check coalesce collate collation column concurrently
    constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user dec decimal default deferrable desc distinct do else end except
    exists extract false fetch float for foreign freeze from full grant greatest group grouping
    having ilike in initially inner inout int integer intersect interval into is isnull join lateral
    leading least left like limit localtime localtimestamp national natural nchar none normalize not
    notnull null nullif numeric offset on only or order out outer overlaps overlay placing position
    precision primary real references returning right row select session_user setof similar smallint
    some substring symmetric table tablesample then time timestamp to trailing treat trim true union
    unique user using values varchar variadic verbose when where window with xmlattributes xmlconcat
    xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
""".split())  # fmt: skip


def quoted(name: str) -> str:
    """A name as SQL has to write it."""
    if _PLAIN.fullmatch(name) and name not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def parts_of(text: str) -> tuple[str, ...]:
    """The parts of a written name, folded where they are not quoted; none where it is no name."""
    parts: list[str] = []
    place = 0
    while place < len(text) or not parts:
        found = _PART.match(text, place)
        if found is None:
            return ()
        word = found[1]
        parts.append(word[1:-1].replace('""', '"') if word[:1] == '"' else word.lower())
        place = found.end()
        if found[2] != ".":
            break
    return tuple(parts) if place == len(text) else ()


@dataclass(slots=True)
class Names:
    """The names of one catalog."""

    rows: Mapping[str, Sequence[Row]]
    classes: dict[int, Record] = field(default_factory=dict)
    types: dict[int, Record] = field(default_factory=dict)
    schemas: dict[int, str] = field(default_factory=dict)
    _by_name: dict[tuple[str, str], int] = field(default_factory=dict)
    _types_by_name: dict[tuple[str, str], int] = field(default_factory=dict)
    _schema_numbers: dict[str, int] = field(default_factory=dict)
    _roles: dict[int, str] = field(default_factory=dict)
    _procedures: dict[int, Record] = field(default_factory=dict)
    _columns: dict[int, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    _descriptions: dict[tuple[int, int, int], str] = field(default_factory=dict)
    _constraints: dict[int, Record] = field(default_factory=dict)
    _indexes: dict[int, Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Look everything up once."""
        self.schemas = {one["oid"]: one["nspname"] for one in self._records("pg_namespace")}
        self._schema_numbers = {name: oid for oid, name in self.schemas.items()}
        self.classes = {one["oid"]: one for one in self._records("pg_class")}
        self.types = {one["oid"]: one for one in self._records("pg_type")}
        self._by_name = {
            (self.schemas[one["relnamespace"]], one["relname"]): oid
            for oid, one in self.classes.items()
        }
        self._types_by_name = {
            (self.schemas[one["typnamespace"]], one["typname"]): oid
            for oid, one in self.types.items()
        }
        self._roles = {one["oid"]: one["rolname"] for one in self._records("pg_roles")}
        self._procedures = {one["oid"]: one for one in self._records("pg_proc")}
        for one in self._records("pg_attribute"):
            self._columns[one["attrelid"]][one["attnum"]] = one["attname"]
        for relation in ("pg_description", "pg_shdescription"):
            for one in self._records(relation):
                key = (one["objoid"], one["classoid"], one.get("objsubid", 0))
                self._descriptions[key] = one["description"]
        self._constraints = {one["oid"]: one for one in self._records("pg_constraint")}
        self._indexes = {one["indexrelid"]: one for one in self._records("pg_index")}

    def functions(self) -> Mapping[str, tuple[Callable[..., Value], list[str], str]]:
        """What DuckDB may call: the function, the types of its arguments, that of its value."""
        number, text, whole = "UINTEGER", "VARCHAR", "INTEGER"
        return {
            "class_named": (self.class_named, [text, text], number),
            "class_in": (self.class_in, [text, text], number),
            "class_out": (self.class_out, [number, text], text),
            "type_named": (self.type_named, [text, text], number),
            "type_in": (self.type_in, [text, text], number),
            "format_type": (self.format_type, [number, whole, text], text),
            "procedure_in": (self.procedure_in, [text], number),
            "procedure_out": (self.procedure_out, [number], text),
            "operator_in": (operator_in, [text], number),
            "operator_out": (operator_out, [number], text),
            "schema_named": (self.schema_named, [text], number),
            "schema_in": (self.schema_in, [text], number),
            "schema_out": (self.schema_out, [number], text),
            "role_named": (self.role_named, [text], number),
            "role_in": (self.role_in, [text], number),
            "role_out": (self.role_out, [number], text),
            "description": (self.description, [number, text, whole], text),
            "constraint_definition": (self.constraint_definition, [number, text], text),
            "index_definition": (self.index_definition, [number, whole, text], text),
            "function_result": (self.function_result, [number], text),
            "function_definition": (self.function_definition, [number], text),
            "function_arguments": (self.function_arguments, [number], text),
            "table_is_visible": (self.table_is_visible, [number, text], "BOOLEAN"),
            "type_is_visible": (self.type_is_visible, [number, text], "BOOLEAN"),
            "function_is_visible": (self.function_is_visible, [number], "BOOLEAN"),
            "may_table": (self.may_table, [text, text, text], "BOOLEAN"),
            "may_column": (self.may_column, [text, text, text, text], "BOOLEAN"),
            "may_schema": (self.may_schema, [text, text], "BOOLEAN"),
            "may_database": (self.may_database, [text, text], "BOOLEAN"),
            "has_role": (self.has_role, [text], "BOOLEAN"),
            "exploded": (lambda rights: exploded(rights, self.role_named), ["VARCHAR[]"], EXPLODED),
            "quoted": (quoted, [text], text),
            "parts": (_written_parts, [text], "VARCHAR[]"),
        }

    def class_named(self, text: str, path: str) -> int | None:
        """The number of the relation of that name; None where there is none."""
        parts = parts_of(text)
        if len(parts) == 1:
            schemas: Sequence[str] = ("pg_catalog", *path.split(PATH_MARK))
            return next(
                (
                    self._by_name[one, parts[0]]
                    for one in schemas
                    if (one, parts[0]) in self._by_name
                ),
                None,
            )
        return self._by_name.get((parts[-2], parts[-1])) if len(parts) in (2, 3) else None

    def class_in(self, text: str, path: str) -> int:
        """A text or a number as a relation."""
        return _found(self.class_named(text, path), text, "42P01", "relation")

    def class_out(self, oid: int, path: str) -> str:
        """How a relation is called where those of the path go by their bare name."""
        one = self.classes.get(oid)
        if one is None:
            return str(oid) if oid else "-"
        name = quoted(one["relname"])
        if self.table_is_visible(oid, path):
            return name
        return f"{quoted(self.schemas[one['relnamespace']])}.{name}"

    def type_named(self, text: str, path: str) -> int | None:
        """The number of the type of that name; None where there is none."""
        name = " ".join(re.sub(r"\s*\([^)]*\)", "", text.strip().lower()).split())
        if name.endswith("[]"):
            element = self.type_named(text.strip()[:-2], path)
            return self.types[element]["typarray"] or None if element is not None else None
        if name in _ALIASES:
            return _ALIASES[name]
        parts = parts_of(text)
        if len(parts) == 1:
            found = (
                self._types_by_name.get((one, parts[0]))
                for one in ("pg_catalog", *path.split(PATH_MARK))
            )
            return next((one for one in found if one is not None), None)
        return self._types_by_name.get((parts[-2], parts[-1])) if len(parts) in (2, 3) else None

    def type_in(self, text: str, path: str) -> int:
        """A text or a number as a type."""
        return _found(self.type_named(text, path), text, "42704", "type")

    def format_type(self, oid: int, modifier: int, path: str) -> str:
        """How SQL writes a type; the modifier -1: it has none, -2: none is asked for."""
        if oid == 0:
            return "-"
        one = self.types.get(oid)
        if one is None:
            return "???"
        if one["typelem"] and one["typcategory"] == "A":
            return self.format_type(one["typelem"], modifier, path) + "[]"
        if oid == 1042 and modifier == -1:
            return "bpchar"
        spelled = _SPELLED.get(oid)
        if spelled is not None:
            return spelled + _modifier(oid, modifier) + _ZONES.get(oid, "")
        name = quoted(one["typname"])
        if one["typnamespace"] == PG_CATALOG or self.type_is_visible(oid, path):
            return name
        return f"{quoted(self.schemas[one['typnamespace']])}.{name}"

    def procedure_in(self, text: str) -> int:
        """A text or a number as a function."""
        name = parts_of(text.partition("(")[0])[-1:]
        found = [oid for oid, one in self._procedures.items() if (one["proname"],) == name]
        if not found and not text.strip().isdigit() and text.strip() != "-":
            raise WireError(
                "0A000", f"The catalog does not know the function {text.strip()[:100]}."
            )
        return _found(found[0] if found else None, text, "42883", "function")

    def procedure_out(self, oid: int) -> str:
        """The name of a function."""
        one = self._procedures.get(oid)
        return one["proname"] if one is not None else (str(oid) if oid else "-")

    def schema_named(self, text: str) -> int | None:
        """The number of a schema; None where there is none of that name."""
        parts = parts_of(text)
        return self._schema_numbers.get(parts[0]) if len(parts) == 1 else None

    def schema_in(self, text: str) -> int:
        """A text or a number as a schema."""
        return _found(self.schema_named(text), text, "3F000", "schema")

    def schema_out(self, oid: int) -> str:
        """The name of a schema."""
        return quoted(self.schemas[oid]) if oid in self.schemas else str(oid) if oid else "-"

    def role_named(self, text: str) -> int | None:
        """The number of a role; None where there is none of that name."""
        return next((oid for oid, one in self._roles.items() if (one,) == parts_of(text)), None)

    def role_in(self, text: str) -> int:
        """A text or a number as a role."""
        return _found(self.role_named(text), text, "42704", "role")

    def role_out(self, oid: int) -> str:
        """The name of a role."""
        return self._roles.get(oid, f"unknown (OID={oid})")

    def description(self, oid: int, catalog: str, place: int) -> str | None:
        """What is said of a thing; without a catalog, of whatever has the number."""
        wanted = [CLASSES.get(catalog, 0)] if catalog else list(CLASSES.values())
        found = (self._descriptions.get((oid, one, place)) for one in wanted)
        return next((one for one in found if one is not None), None)

    def constraint_definition(self, oid: int, path: str) -> str | None:
        """A constraint as SQL."""
        one = self._constraints.get(oid)
        if one is None:
            return None
        columns = self._listed(one["conrelid"], one["conkey"])
        if one["contype"] == "f":
            others = self._listed(one["confrelid"], one["confkey"])
            target = self.class_out(one["confrelid"], path)
            return f"FOREIGN KEY ({columns}) REFERENCES {target}({others})"
        return f"{'PRIMARY KEY' if one['contype'] == 'p' else 'UNIQUE'} ({columns})"

    def index_definition(self, oid: int, place: int, path: str) -> str | None:
        """An index as SQL, or one of its columns; with a path the table goes by its bare name."""
        one = self._indexes.get(oid)
        if one is None:
            return None
        if place:
            return quoted(self._columns[oid][place]) if place in self._columns[oid] else ""
        columns = self._listed(one["indrelid"], one["indkey"])
        name, table = quoted(self.classes[oid]["relname"]), self.class_out(one["indrelid"], path)
        return f"CREATE UNIQUE INDEX {name} ON {table} USING btree ({columns})"

    def function_result(self, oid: int) -> str | None:
        """The type that a function gives."""
        one = self._procedures.get(oid)
        if one is None:
            return None
        kind = self.format_type(one["prorettype"], -2, "")
        return f"SETOF {kind}" if one["proretset"] else kind

    def function_arguments(self, oid: int) -> str | None:
        """The types that a function takes."""
        one = self._procedures.get(oid)
        if one is None:
            return None
        return ", ".join(self.format_type(kind, -2, "") for kind in one["proargtypes"])

    def function_definition(self, oid: int) -> str | None:
        """The statement that would make a function."""
        one = self._procedures.get(oid)
        if one is None or not one["prosrc"]:
            return None
        said = [
            {"i": "IMMUTABLE", "s": "STABLE"}.get(one["provolatile"], ""),
            {"s": "PARALLEL SAFE", "r": "PARALLEL RESTRICTED"}.get(one["proparallel"], ""),
            "STRICT" if one["proisstrict"] else "", "LEAKPROOF" if one["proleakproof"] else "",
            f"COST {one['procost']:g}" if one["procost"] != 1 else "",
            f"ROWS {one['prorows']:g}" if one["proretset"] and one["prorows"] != 1000 else "",
        ]  # fmt: skip
        line = " ".join(filter(None, said))
        return (
            f"CREATE OR REPLACE FUNCTION pg_catalog.{quoted(one['proname'])}"
            f"({self.function_arguments(oid)})\n RETURNS {self.function_result(oid)}\n"
            f" LANGUAGE internal\n{f' {line}' + chr(10) if line else ''}"
            f"AS $function${one['prosrc']}$function$\n"
        )

    def table_is_visible(self, oid: int, path: str) -> bool | None:
        """Whether the bare name means this relation."""
        one = self.classes.get(oid)
        if one is None:
            return None
        return self.class_named(quoted(one["relname"]), path) == oid

    def type_is_visible(self, oid: int, path: str) -> bool | None:
        """Whether the bare name means this type."""
        one = self.types.get(oid)
        if one is None:
            return None
        name = one["typname"]
        for schema in ("pg_catalog", *path.split(PATH_MARK)):
            if (schema, name) in self._types_by_name:
                return self._types_by_name[schema, name] == oid
        return False

    def function_is_visible(self, oid: int) -> bool | None:
        """Whether the function is known."""
        return True if oid in self._procedures else None

    def may_table(self, table: str, privileges: str, path: str) -> bool:
        """Whether one of the rights on a table is held: who sees it may read it."""
        oid = int(table) if table.isdigit() else self.class_in(table, path)
        return oid in self.classes and "select" in _rights(privileges)

    def may_column(self, table: str, column: str, privileges: str, path: str) -> bool:
        """Whether one of the rights on a column is held: who sees it may read it."""
        oid = int(table) if table.isdigit() else self.class_in(table, path)
        columns = self._columns.get(oid, {})
        if column not in columns.values() and not (column.isdigit() and int(column) in columns):
            name = self.classes[oid]["relname"] if oid in self.classes else table
            raise _fault("42703", f'column "{column}" of relation "{name}" does not exist')
        return "select" in _rights(privileges)

    def may_schema(self, schema: str, privileges: str) -> bool:
        """Whether one of the rights on a schema is held: who sees it may use it."""
        oid = int(schema) if schema.isdigit() else self.schema_in(quoted(schema))
        return oid in self.schemas and "usage" in _rights(privileges)

    def may_database(self, database: str, privileges: str) -> bool:
        """Whether one of the rights on a database is held: who sees it may connect."""
        known = {
            str(one[key]) for one in self._records("pg_database") for key in ("oid", "datname")
        }
        if database not in known:
            raise _fault("3D000", f'database "{database}" does not exist')
        return "connect" in _rights(privileges)

    def has_role(self, role: str) -> bool:
        """Whether a role is the user's own: he is a member of no other."""
        oid = int(role) if role.isdigit() else self.role_in(quoted(role))
        return oid in self._roles and (oid != OWNER_OID or list(self._roles.values()) == [OWNER])

    def _listed(self, relation: int, places: Sequence[int]) -> str:
        return ", ".join(quoted(self._columns[relation][place]) for place in places)

    def _records(self, relation: str) -> Iterator[Record]:
        names = [one.name for one in relations()["pg_catalog", relation].attributes]
        for row in self.rows.get(relation, ()):
            yield dict(zip(names, row, strict=True))


def operator_in(text: str) -> int:
    """The number of an operator, of which none is listed."""
    return _found(None, text, "42883", "operator")


def operator_out(oid: int) -> str:
    """How an operator that is not listed is called: by its number."""
    return str(oid)


def _written_parts(text: str) -> list[str]:
    """The parts of a name; an error where it is none."""
    parts = parts_of(text)
    if not parts:
        raise WireError("22023", f'string is not a valid identifier: "{text[:100]}"')
    return list(parts)


def _modifier(oid: int, modifier: int) -> str:
    if modifier < 0:
        return ""
    if oid == 1700:
        return f"({(modifier - 4) >> 16 & 0xFFFF},{(modifier - 4) & 0xFFFF})"
    return f"({modifier - 4 if oid in (1042, 1043) else modifier})"


def _rights(privileges: str) -> set[str]:
    return {one.strip().lower() for one in privileges.split(",")}


def _found(oid: int | None, text: str, sqlstate: str, what: str) -> int:
    if text.strip().isdigit():
        return int(text)
    if oid is None:
        if text.strip() == "-":
            return 0
        shown = text.strip()
        raise _fault(sqlstate, f'{what} "{shown[:200]}" does not exist')
    return oid


def _fault(sqlstate: str, message: str) -> WireError:
    return WireError(sqlstate, message, "The catalog lists what you may query, nothing else.")
