"""Catalogs, schemas, tables, keys, types, SqlInfo: exact schemas, filters, and who sees what."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from gateway import __version__
from tests.flight.raw import RawClient
from tests.served import Served

# The schemas of the standard, each field with its nullability, written here a second time.
TEXT, MUST = pa.string(), False
TABLES = [
    ("catalog_name", TEXT, True), ("db_schema_name", TEXT, True), ("table_name", TEXT, MUST),
    ("table_type", TEXT, MUST),
]  # fmt: skip
KEYS = [
    ("pk_catalog_name", TEXT, True), ("pk_db_schema_name", TEXT, True),
    ("pk_table_name", TEXT, MUST), ("pk_column_name", TEXT, MUST),
    ("fk_catalog_name", TEXT, True), ("fk_db_schema_name", TEXT, True),
    ("fk_table_name", TEXT, MUST), ("fk_column_name", TEXT, MUST),
    ("key_sequence", pa.int32(), MUST), ("fk_key_name", TEXT, True), ("pk_key_name", TEXT, True),
    ("update_rule", pa.uint8(), MUST), ("delete_rule", pa.uint8(), MUST),
]  # fmt: skip
SCHEMAS: dict[str, list[tuple[str, pa.DataType, bool]]] = {
    "CommandGetCatalogs": [("catalog_name", TEXT, MUST)],
    "CommandGetDbSchemas": [("catalog_name", TEXT, True), ("db_schema_name", TEXT, MUST)],
    "CommandGetTables": TABLES,
    "CommandGetTableTypes": [("table_type", TEXT, MUST)],
    "CommandGetPrimaryKeys": [
        ("catalog_name", TEXT, True), ("db_schema_name", TEXT, True), ("table_name", TEXT, MUST),
        ("column_name", TEXT, MUST), ("key_sequence", pa.int32(), MUST), ("key_name", TEXT, True),
    ],
    "CommandGetImportedKeys": KEYS,
    "CommandGetExportedKeys": KEYS,
    "CommandGetCrossReference": KEYS,
    "CommandGetXdbcTypeInfo": [
        ("type_name", TEXT, MUST), ("data_type", pa.int32(), MUST),
        ("column_size", pa.int32(), True), ("literal_prefix", TEXT, True),
        ("literal_suffix", TEXT, True),
        ("create_params", pa.list_(pa.field("item", TEXT, False)), True),
        ("nullable", pa.int32(), MUST), ("case_sensitive", pa.bool_(), MUST),
        ("searchable", pa.int32(), MUST), ("unsigned_attribute", pa.bool_(), True),
        ("fixed_prec_scale", pa.bool_(), MUST), ("auto_increment", pa.bool_(), True),
        ("local_type_name", TEXT, True), ("minimum_scale", pa.int32(), True),
        ("maximum_scale", pa.int32(), True), ("sql_data_type", pa.int32(), MUST),
        ("datetime_subcode", pa.int32(), True), ("num_prec_radix", pa.int32(), True),
        ("interval_precision", pa.int32(), True),
    ],
}  # fmt: skip
# For owners of a domain, as nora is.
FINDINGS = ("mesh", "sources", "findings")
OPEN = {
    ("mesh", "audit", "queries"), FINDINGS,
    ("fleet", "aircraft", "planes"), ("network", "reference", "airlines"),
    ("network", "reference", "airports"), ("operations", "departures", "flights"),
    ("weather", "observations", "hourly"),
}  # fmt: skip
PEOPLE = {("loyalty", "members", "members"), ("loyalty", "trips", "trips")}


@pytest.fixture(scope="module")
def nora(gateway: Served) -> Iterator[RawClient]:
    """Sees no people."""
    with RawClient(gateway.flight, "nora") as client:
        yield client


@pytest.fixture(scope="module")
def petra(gateway: Served) -> Iterator[RawClient]:
    """Sees everything, for a purpose."""
    with RawClient(gateway.flight, "petra") as client:
        yield client


def paths(found: pa.Table) -> set[tuple[str, str, str]]:
    """The tables of an answer."""
    return {
        (row["catalog_name"], row["db_schema_name"], row["table_name"])
        for row in found.to_pylist()
    }


@pytest.mark.parametrize("command", SCHEMAS)
def test_schemas_are_those_of_the_standard(nora: RawClient, command: str) -> None:
    info = nora.info(command)
    wanted = pa.schema(
        [pa.field(name, kind, nullable) for name, kind, nullable in SCHEMAS[command]]
    )
    assert info.schema.equals(wanted)
    assert nora.reader(info).read_all().schema.equals(wanted)


def test_catalogs_are_the_domains(nora: RawClient, petra: RawClient) -> None:
    names = ["fleet", "loyalty", "mesh", "network", "operations", "weather"]
    assert petra.read("CommandGetCatalogs")["catalog_name"].to_pylist() == names
    names.remove("loyalty")
    assert nora.read("CommandGetCatalogs")["catalog_name"].to_pylist() == names


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, 6),
        ({"catalog": "fleet"}, 1),
        ({"catalog": ""}, 0),
        ({"catalog": "loyalty"}, 0),
        ({"db_schema_filter_pattern": "%a%"}, 4),
        ({"db_schema_filter_pattern": "_eference"}, 1),
        ({"db_schema_filter_pattern": "\\_eference"}, 0),
        ({"db_schema_filter_pattern": ""}, 0),
    ],
)
def test_schemas_are_the_products(nora: RawClient, fields: dict[str, str], wanted: int) -> None:
    found = nora.read("CommandGetDbSchemas", **fields).to_pylist()
    everything = {(one, product) for one, product, _ in OPEN}
    assert {(row["catalog_name"], row["db_schema_name"]) for row in found} <= everything
    assert len(found) == wanted


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"catalog": "network"}, {"airlines", "airports"}),
        ({"catalog": "net%"}, set()),
        ({"table_name_filter_pattern": "air%"}, {"airlines", "airports"}),
        ({"table_name_filter_pattern": "AIRLINE_"}, {"airlines"}),
        ({"table_name_filter_pattern": "%", "db_schema_filter_pattern": "aircraft"}, {"planes"}),
        ({"table_types": ["VIEW"]}, set()),
        ({"table_types": ["TABLE", "VIEW"], "catalog": "fleet"}, {"planes"}),
        ({"table_name_filter_pattern": "members"}, set()),
    ],
)
def test_tables_by_filter(nora: RawClient, fields: dict[str, object], names: set[str]) -> None:
    found = nora.read("CommandGetTables", **fields)
    assert {path[2] for path in paths(found)} == names
    assert set(found["table_type"].to_pylist()) <= {"TABLE"}


def test_who_sees_which_tables(nora: RawClient, petra: RawClient) -> None:
    assert paths(nora.read("CommandGetTables")) == OPEN
    assert paths(petra.read("CommandGetTables")) == OPEN - {FINDINGS} | PEOPLE


def test_a_tables_schema_is_that_of_its_rows(nora: RawClient) -> None:
    found = nora.read("CommandGetTables", include_schema=True)
    assert found.schema.field("table_schema").equals(pa.field("table_schema", pa.binary(), False))
    for row in found.to_pylist():
        schema = pa.ipc.read_schema(pa.py_buffer(row["table_schema"]))
        address = ".".join((row["catalog_name"], row["db_schema_name"], row["table_name"]))
        rows = nora.start(f"select * from {address} limit 0").schema
        assert (schema.names, schema.types) == (rows.names, rows.types)
        told = schema.field(0).metadata
        assert told[b"ARROW:FLIGHT:SQL:TABLE_NAME"] == row["table_name"].encode()
        assert told[b"ARROW:FLIGHT:SQL:IS_READ_ONLY"] == b"1"
        assert told[b"ARROW:FLIGHT:SQL:REMARKS"]


def test_a_tables_schema_tells_of_masks(nora: RawClient) -> None:
    (row,) = nora.read("CommandGetTables", include_schema=True, catalog="fleet").to_pylist()
    schema = pa.ipc.read_schema(pa.py_buffer(row["table_schema"]))
    assert schema.field("tailnum").metadata[b"sqluice.masked"] == b"pseudonym"
    assert schema.field("tailnum").nullable
    assert b"sqluice.masked" not in schema.field("seats").metadata
    assert schema.field("seats").type == pa.int32()


def test_primary_keys_that_the_caller_sees_clear(nora: RawClient, gateway: Served) -> None:
    (row,) = nora.read("CommandGetPrimaryKeys", table="flights").to_pylist()
    assert (row["column_name"], row["key_sequence"]) == ("flight_id", 1)
    assert nora.read("CommandGetPrimaryKeys", table="planes").num_rows == 0
    assert nora.read("CommandGetPrimaryKeys", table="members").num_rows == 0
    with RawClient(gateway.flight, "otto") as otto:
        (row,) = otto.read("CommandGetPrimaryKeys", table="planes", catalog="fleet").to_pylist()
        assert row["column_name"] == "tailnum"
        assert otto.read("CommandGetPrimaryKeys", table="planes", catalog="x").num_rows == 0


def test_foreign_keys_by_either_end(nora: RawClient, petra: RawClient) -> None:
    imported = petra.read("CommandGetImportedKeys", table="trips").to_pylist()
    pairs = {(row["fk_column_name"], row["pk_table_name"]) for row in imported}
    assert ("member_id", "members") in pairs and ("flight_id", "flights") in pairs
    exported = petra.read("CommandGetExportedKeys", table="members").to_pylist()
    assert {row["fk_table_name"] for row in exported} == {"trips"}
    crossed = petra.read("CommandGetCrossReference", pk_table="members", fk_table="trips")
    assert crossed.num_rows == 1 and crossed["update_rule"].to_pylist() == [3]
    assert (
        petra.read("CommandGetCrossReference", pk_table="trips", fk_table="members").num_rows == 0
    )
    for command in ("CommandGetExportedKeys", "CommandGetImportedKeys"):
        tables = nora.read(command, table="flights")["fk_table_name"].to_pylist()
        assert not {"trips", "members"} & set(tables)


def test_types(nora: RawClient) -> None:
    found = nora.read("CommandGetXdbcTypeInfo")
    assert {"BIGINT", "DECIMAL", "VARCHAR", "TIMESTAMP WITH TIME ZONE"} <= set(
        found["type_name"].to_pylist()
    )
    (one,) = nora.read("CommandGetXdbcTypeInfo", data_type=-5).to_pylist()
    assert (one["type_name"], one["column_size"]) == ("BIGINT", 19)
    assert nora.read("CommandGetXdbcTypeInfo", data_type=12345).num_rows == 0


def test_sql_info(nora: RawClient) -> None:
    found = {row["info_name"]: row["value"] for row in nora.read("CommandGetSqlInfo").to_pylist()}
    assert (found[0], found[1], found[3], found[4], found[5]) == (
        "sqluice", __version__, True, True, False,
    )  # fmt: skip
    # Each number of the standard: a driver that misses one fails without a word of why.
    assert set(found) == {*range(12), 100, 101, *range(500, 577)}
    assert (found[504], found[513], found[529], found[531]) == ('"', "\\", "product", "domain")
    # NULLs come last, as DuckDB sorts them.
    assert found[507] == 3
    rows = nora.read(
        "CommandStatementQuery", query="select x from (values (1), (null)) t(x) order by x"
    )
    assert rows["x"].to_pylist() == [1, None]
    chosen = nora.read("CommandGetSqlInfo", info=[8, 0, 99_999])
    assert chosen["info_name"].to_pylist() == [8, 0]
    union = chosen.schema.field("value").type
    assert [union.field(n).name for n in range(union.num_fields)] == [
        "string_value", "bool_value", "bigint_value", "int32_bitmask", "string_list",
        "int32_to_int32_list_map",
    ]  # fmt: skip


def test_the_stock_driver_reads_all_of_it(gateway: Served) -> None:
    with gateway.connect() as connection:
        assert connection.adbc_get_info()["vendor_name"] == "sqluice"
        objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
        found = {
            (catalog["catalog_name"], schema["db_schema_name"], table["table_name"])
            for catalog in objects
            for schema in catalog["catalog_db_schemas"]
            for table in schema["db_schema_tables"]
        }
        assert found == OPEN
        schema = connection.adbc_get_table_schema(
            "airlines", catalog_filter="network", db_schema_filter="reference"
        )
        assert schema.names == ["carrier", "name"]
        assert connection.adbc_get_table_types() == ["TABLE"]
