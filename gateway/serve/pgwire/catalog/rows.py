"""The rows of PostgreSQL's tables for one content.

Takes: a `Content`, the data of what is the same for everybody. Gives: rows by relation. Never
gives a number that depends on what the caller may not know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from gateway.serve.pgwire.catalog.content import PUBLIC, Content, ShownColumn, ShownTable
from gateway.serve.pgwire.catalog.relations import Relation, listed, relations, typed

OWNER, OWNER_OID = "sqluice", 10
PG_CATALOG, PUBLIC_OID, INFORMATION_SCHEMA = 11, 2200, 13_207
CLASSES = {
    "pg_class": 1259, "pg_type": 1247, "pg_constraint": 2606, "pg_namespace": 2615,
    "pg_database": 1262, "pg_proc": 1255,
}  # fmt: skip
_FIRST, _LAST = 1 << 20, 1 << 31
_ALL, _READ = "arwdDxt", "r"
_EMPTY: Mapping[str, object] = {
    "UINTEGER": 0, "SMALLINT": 0, "INTEGER": 0, "BIGINT": 0, "FLOAT": 0.0, "DOUBLE": 0.0,
    "BOOLEAN": False, "VARCHAR": "",
}  # fmt: skip
# Equality of the types that a foreign key may have, as pg_constraint names it.
_EQUAL = {
    16: 91, 17: 1955, 20: 410, 21: 94, 23: 96, 25: 98, 700: 620, 701: 670, 1082: 1093, 1083: 1108,
    1114: 2060, 1184: 1320, 1186: 1330, 1700: 1752, 2950: 2972,
}  # fmt: skip
Row = tuple[object, ...]


def number_of(*names: str) -> int:
    """A number that is the same wherever the same thing is shown."""
    hashed = int.from_bytes(sha256("\0".join(names).encode()).digest()[:8], "big")
    return _FIRST + hashed % (_LAST - _FIRST)


@dataclass(slots=True)
class Filling:
    """Rows as they are made, and the numbers that were given."""

    content: Content
    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[tuple[str, ...], int] = field(default_factory=dict)
    _taken: set[int] = field(default_factory=set)

    def number(self, *names: str) -> int:
        """The number of a thing; two things never have the same."""
        if names not in self.numbers:
            made = number_of(*names)
            while made in self._taken:
                made += 1
            self._taken.add(made)
            self.numbers[names] = made
        return self.numbers[names]

    def add(self, relation: str, **values: object) -> None:
        """A row; what is not said is NULL, or empty where that cannot be."""
        found = relations()["pg_catalog", relation]
        assert values.keys() <= {one.name for one in found.attributes}, (relation, values)
        self.rows[relation].append(tuple(
            values[one.name] if one.name in values
            else (_EMPTY.get(one.duckdb_type, []) if one.is_required else None)
            for one in found.attributes
        ))  # fmt: skip

    def add_listed(self, relation: str, file: str, **values: object) -> None:
        """The rows of a data file, and what all of them have."""
        found = relations()["pg_catalog", relation]
        for row in listed(file):
            told = {name: typed(found.type_of(name) or "", text) for name, text in row.items()}
            self.add(relation, **{**told, **values})


def fill(content: Content) -> Mapping[str, Sequence[Row]]:
    """The rows of every table of pg_catalog that has any."""
    made = Filling(content)
    _fill_fixed(made)
    _fill_roles(made)
    _fill_schemas(made)
    for (schema, _), one in relations().items():
        _fill_relation(made, one, PG_CATALOG if schema == "pg_catalog" else INFORMATION_SCHEMA)
    for table in content.tables:
        _fill_table(made, table)
    for table in content.tables:
        _fill_foreign_keys(made, table)
    return made.rows


def _fill_fixed(made: Filling) -> None:
    made.add_listed(
        "pg_type", "types", typnamespace=PG_CATALOG, typowner=OWNER_OID, typisdefined=True,
        typtypmod=-1,
    )  # fmt: skip
    made.add_listed(
        "pg_proc", "procedures", pronamespace=PG_CATALOG, proowner=OWNER_OID, prolang=12,
        prokind="f",
    )  # fmt: skip
    made.add_listed("pg_opclass", "classes", opcnamespace=PG_CATALOG, opcowner=OWNER_OID)
    for name in ("pg_am", "pg_cast", "pg_range"):
        made.add_listed(name, name)
    made.add_listed("pg_opfamily", "pg_opfamily", opfnamespace=PG_CATALOG, opfowner=OWNER_OID)
    made.add_listed("pg_collation", "pg_collation", collnamespace=PG_CATALOG, collowner=OWNER_OID)
    made.add_listed("pg_language", "pg_language", lanowner=OWNER_OID)
    made.add_listed("pg_tablespace", "pg_tablespace", spcowner=OWNER_OID)


def _fill_roles(made: Filling) -> None:
    content = made.content
    for name, description in content.databases:
        made.add(
            "pg_database", oid=made.number("database", name), datname=name, datdba=OWNER_OID,
            encoding=6, datlocprovider="c", datallowconn=True, datconnlimit=-1,
            dattablespace=1663, datcollate="C", datctype="C",
        )  # fmt: skip
        if description:
            made.add(
                "pg_shdescription", objoid=made.number("database", name),
                classoid=CLASSES["pg_database"], description=description,
            )  # fmt: skip
    roles = {OWNER: (OWNER_OID, True)}
    if content.user != OWNER:
        roles[content.user] = (made.number("role", content.user), False)
    for name, (oid, is_owner) in roles.items():
        made.add(
            "pg_roles", oid=oid, rolname=name, rolsuper=is_owner, rolinherit=True,
            rolcreaterole=is_owner, rolcreatedb=is_owner, rolcanlogin=True,
            rolreplication=is_owner, rolconnlimit=-1, rolpassword="********",
            rolbypassrls=is_owner,
        )  # fmt: skip


def _fill_schemas(made: Filling) -> None:
    for name, oid in (
        ("pg_catalog", PG_CATALOG),
        ("information_schema", INFORMATION_SCHEMA),
        (PUBLIC, PUBLIC_OID),
    ):
        made.add(
            "pg_namespace", oid=oid, nspname=name, nspowner=OWNER_OID,
            nspacl=[f"{OWNER}=UC/{OWNER}", f"=U/{OWNER}"],
        )  # fmt: skip
    _describe(made, "pg_namespace", PG_CATALOG, 0, "system catalog schema")
    _describe(made, "pg_namespace", PUBLIC_OID, 0, "standard public schema")
    for schema in made.content.schemas:
        oid = _schema_number(made, schema.name)
        if schema.name != PUBLIC:
            made.add(
                "pg_namespace", oid=oid, nspname=schema.name, nspowner=OWNER_OID,
                nspacl=[f"{OWNER}=UC/{OWNER}", f"{made.content.user}=U/{OWNER}"],
            )  # fmt: skip
        _describe(made, "pg_namespace", oid, 0, schema.description)


def _schema_number(made: Filling, name: str) -> int:
    return PUBLIC_OID if name == PUBLIC else made.number("schema", name)


def _describe(made: Filling, catalog: str, oid: int, place: int, text: str) -> None:
    if text:
        made.add(
            "pg_description", objoid=oid, classoid=CLASSES[catalog], objsubid=place,
            description=text,
        )  # fmt: skip


def _fill_relation(made: Filling, one: Relation, schema: int) -> None:
    """A relation of the catalogs themselves."""
    types = {row["typname"]: row for row in listed("types")}
    made.add(
        "pg_class", oid=one.oid, relname=one.name, relnamespace=schema, relowner=OWNER_OID,
        relam=2 if one.kind == "r" else 0, reltuples=-1.0, relpersistence="p", relkind=one.kind,
        relnatts=len(one.attributes), relispopulated=True, relreplident="n",
        relacl=[f"{OWNER}={_ALL}/{OWNER}", f"={_READ}/{OWNER}"],
    )  # fmt: skip
    for place, column in enumerate(one.attributes, start=1):
        kind = types.get(column.type)
        if kind is not None:
            if int(kind["typcollation"]):
                kind = {**kind, "typcollation": "950"}  # names are compared by their bytes
            _attribute(made, one.oid, place, column.name, kind, is_required=column.is_required)


def _attribute(  # noqa: PLR0913 - the columns of the row
    made: Filling,
    relation: int,
    place: int,
    name: str,
    kind: Mapping[str, str],
    *,
    is_required: bool = False,
    modifier: int = -1,
) -> None:
    made.add(
        "pg_attribute", attrelid=relation, attname=name, atttypid=int(kind["oid"]),
        attstattarget=-1, attlen=int(kind["typlen"]), attnum=place,
        attndims=1 if kind["typcategory"] == "A" else 0, attcacheoff=-1, atttypmod=modifier,
        attbyval=kind["typbyval"] == "t", attalign=kind["typalign"],
        attstorage=kind["typstorage"], attnotnull=is_required, attislocal=True,
        attcollation=int(kind["typcollation"]),
    )  # fmt: skip


def _fill_table(made: Filling, table: ShownTable) -> None:
    oid, schema = made.number("table", table.key), _schema_number(made, table.schema)
    keys = list(_keys(table))
    made.add(
        "pg_class", oid=oid, relname=table.name, relnamespace=schema,
        reltype=made.number("row", table.key), relowner=OWNER_OID, relam=2, relfilenode=oid,
        reltuples=-1.0, relhasindex=bool(keys), relpersistence="p", relkind="r",
        relnatts=len(table.columns), relispopulated=True, relreplident="d",
        relhastriggers=bool(table.foreign_keys) or table.key in _targets(made.content),
        relacl=[f"{OWNER}={_ALL}/{OWNER}", f"{made.content.user}={_READ}/{OWNER}"],
    )  # fmt: skip
    _describe(made, "pg_class", oid, 0, table.description)
    for place, column in enumerate(table.columns, start=1):
        _attribute(
            made, oid, place, column.name, _type_rows()[column.type],
            is_required=column.is_required, modifier=column.modifier,
        )  # fmt: skip
        _describe(made, "pg_class", oid, place, column.description)
    _fill_row_types(made, table, oid, schema)
    for name, kind, columns in keys:
        _fill_key(made, table, name, kind, columns)


def _type_rows() -> Mapping[int, Mapping[str, str]]:
    return {int(row["oid"]): row for row in listed("types")}


def _targets(content: Content) -> set[str]:
    """The tables that foreign keys refer to: PostgreSQL watches both sides by triggers."""
    return {one.target for table in content.tables for one in table.foreign_keys}


def _fill_row_types(made: Filling, table: ShownTable, oid: int, schema: int) -> None:
    """The type of a table's rows, and that of arrays of them."""
    row, array = made.number("row", table.key), made.number("rows", table.key)
    shared: dict[str, object] = {
        "typnamespace": schema, "typowner": OWNER_OID, "typlen": -1, "typisdefined": True,
        "typdelim": ",", "typalign": "d", "typstorage": "x", "typtypmod": -1,
    }  # fmt: skip
    made.add(
        "pg_type", oid=row, typname=table.name, typtype="c", typcategory="C", typrelid=oid,
        typarray=array, typinput=2290, typoutput=2291, typreceive=2402, typsend=2403, **shared,
    )  # fmt: skip
    made.add(
        "pg_type", oid=array, typname=f"_{table.name}", typtype="b", typcategory="A",
        typelem=row, typinput=750, typoutput=751, typreceive=2400, typsend=2401,
        typsubscript=6179, typanalyze=3816, **shared,
    )  # fmt: skip


def _keys(table: ShownTable) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Name, kind and columns of each key that has an index."""
    if table.primary_key:
        yield f"{table.name}_pkey", "p", table.primary_key
    for column in table.unique:
        yield f"{table.name}_{column}_key", "u", (column,)


def _places(table: ShownTable, columns: Sequence[str]) -> list[int]:
    names = [one.name for one in table.columns]
    return [names.index(one) + 1 for one in columns]


def _fill_key(
    made: Filling, table: ShownTable, name: str, kind: str, columns: tuple[str, ...]
) -> None:
    """The index of a key and its constraint."""
    oid, schema = made.number("table", table.key), _schema_number(made, table.schema)
    index, places = made.number("index", table.key, name), _places(table, columns)
    parts = [table.columns[place - 1] for place in places]
    rows = [_type_rows()[one.type] for one in parts]
    made.add(
        "pg_class", oid=index, relname=name, relnamespace=schema, relowner=OWNER_OID, relam=403,
        relfilenode=index, relpages=1, relpersistence="p", relkind="i", relnatts=len(places),
        relispopulated=True, relreplident="n",
    )  # fmt: skip
    for number, (one, row) in enumerate(zip(parts, rows, strict=True), start=1):
        _attribute(made, index, number, one.name, row, modifier=one.modifier)
    made.add(
        "pg_index", indexrelid=index, indrelid=oid, indnatts=len(places),
        indnkeyatts=len(places), indisunique=True, indisprimary=kind == "p", indimmediate=True,
        indisvalid=True, indisready=True, indislive=True, indkey=places,
        indcollation=[int(row["typcollation"]) for row in rows],
        indclass=[_class_of(one) for one in parts], indoption=[0] * len(places),
    )  # fmt: skip
    constraint = made.number("constraint", table.key, name)
    made.add(
        "pg_constraint", oid=constraint, conname=name, connamespace=schema, contype=kind,
        convalidated=True, conrelid=oid, conindid=index, confupdtype=" ", confdeltype=" ",
        confmatchtype=" ", conislocal=True, connoinherit=True, conkey=places,
    )  # fmt: skip
    _depend(made, constraint, [(CLASSES["pg_class"], oid, place, "a") for place in places])
    made.add(
        "pg_depend", classid=CLASSES["pg_class"], objid=index,
        refclassid=CLASSES["pg_constraint"], refobjid=constraint, deptype="i",
    )  # fmt: skip


def _class_of(column: ShownColumn) -> int:
    """The class of operators by which an index orders a column; 0 where there is none."""
    kind = 2277 if _type_rows()[column.type]["typcategory"] == "A" else column.type
    return next((int(row["oid"]) for row in listed("classes") if int(row["opcintype"]) == kind), 0)


def _depend(made: Filling, oid: int, others: Sequence[tuple[int, int, int, str]]) -> None:
    for catalog, other, place, kind in others:
        made.add(
            "pg_depend", classid=CLASSES["pg_constraint"], objid=oid, refclassid=catalog,
            refobjid=other, refobjsubid=place, deptype=kind,
        )  # fmt: skip


def _fill_foreign_keys(made: Filling, table: ShownTable) -> None:
    by_key = {one.key: one for one in made.content.tables}
    for one in table.foreign_keys:
        target = by_key.get(one.target)
        if target is None:
            continue
        oid, other = made.number("table", table.key), made.number("table", target.key)
        index = next(
            (
                made.number("index", target.key, name)
                for name, _, columns in _keys(target)
                if set(columns) == set(one.target_columns)
            ),
            0,
        )
        places, others = _places(table, one.columns), _places(target, one.target_columns)
        equal = [_EQUAL.get(target.columns[place - 1].type, 0) for place in others]
        constraint = made.number("constraint", table.key, one.name)
        made.add(
            "pg_constraint", oid=constraint, conname=one.name,
            connamespace=_schema_number(made, table.schema), contype="f", convalidated=True,
            conrelid=oid, conindid=index, confrelid=other, confupdtype="a", confdeltype="a",
            confmatchtype="s", conislocal=True, connoinherit=True, conkey=places,
            confkey=others, conpfeqop=equal, conppeqop=equal, conffeqop=equal,
        )  # fmt: skip
        own = [(CLASSES["pg_class"], oid, place, "a") for place in places]
        theirs = [(CLASSES["pg_class"], other, place, "n") for place in others]
        _depend(made, constraint, [*own, *theirs])
