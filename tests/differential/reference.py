"""Plain DuckDB over the rows and values that a principal may see, written by hand.

Takes: the raw tables of the sample mesh, read with each database's own driver. Gives: a DuckDB
connection in which the permitted, masked tables stand under their addresses. Never uses the
gateway: what is permitted to whom is said here a second time, in plain SQL.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path

import adbc_driver_postgresql.dbapi
import duckdb
import pyarrow as pa

FLIGHTS = (
    "flight_id BIGINT, year INTEGER, month INTEGER, day INTEGER, dep_time INTEGER, "
    "sched_dep_time INTEGER, dep_delay DOUBLE, arr_time INTEGER, sched_arr_time INTEGER, "
    "arr_delay DOUBLE, carrier VARCHAR, flight INTEGER, tailnum VARCHAR, origin VARCHAR, "
    "dest VARCHAR, air_time DOUBLE, distance INTEGER, hour INTEGER, minute INTEGER, "
    "time_hour TIMESTAMP WITH TIME ZONE"
)
PLANES = (
    "tailnum VARCHAR, year INTEGER, type VARCHAR, manufacturer VARCHAR, model VARCHAR, "
    "engines INTEGER, seats INTEGER, speed INTEGER, engine VARCHAR"
)
HOURLY = (
    "origin VARCHAR, year INTEGER, month INTEGER, day INTEGER, hour INTEGER, temp DOUBLE, "
    "dewp DOUBLE, humid DOUBLE, wind_dir DOUBLE, wind_speed DOUBLE, wind_gust DOUBLE, "
    "precip DOUBLE, pressure DOUBLE, visib DOUBLE, time_hour TIMESTAMP WITH TIME ZONE"
)
MEMBERS = (
    "member_id BIGINT, name VARCHAR, email VARCHAR, phone VARCHAR, birth_date DATE, "
    "tier VARCHAR, home_airport VARCHAR, region VARCHAR, spend DECIMAL(12,2), "
    "joined_at TIMESTAMP WITH TIME ZONE"
)
TRIPS = (
    "trip_id BIGINT, member_id BIGINT, email VARCHAR, flight_id BIGINT, cabin VARCHAR, "
    "fare DECIMAL(12,2), region VARCHAR, booked_at TIMESTAMP WITH TIME ZONE"
)
AIRPORTS = (
    "faa VARCHAR, name VARCHAR, lat DOUBLE, lon DOUBLE, alt INTEGER, tz INTEGER, dst VARCHAR, "
    "tzone VARCHAR"
)
AIRLINES = "carrier VARCHAR, name VARCHAR"
SHAPES = {
    ("operations", "departures", "flights"): FLIGHTS,
    ("fleet", "aircraft", "planes"): PLANES,
    ("weather", "observations", "hourly"): HOURLY,
    ("network", "reference", "airports"): AIRPORTS,
    ("network", "reference", "airlines"): AIRLINES,
    ("loyalty", "members", "members"): MEMBERS,
    ("loyalty", "trips", "trips"): TRIPS,
}
DEFAULTS = {
    ("operations", "departures"): "flights",
    ("fleet", "aircraft"): "planes",
    ("weather", "observations"): "hourly",
    ("network", "reference"): "airports",
    ("loyalty", "members"): "members",
    ("loyalty", "trips"): "trips",
}
LOYALTY = {("loyalty", "members", "members"), ("loyalty", "trips", "trips")}

# Who may see what: the rows by a condition, the columns by an expression instead of the raw one.
ROWS: Mapping[str, Mapping[str, str]] = {
    "carl": {"flights": "carrier IN ('UA')", "trips": "region IN ('west')"},
    "mara": {
        "members": "region IN ('northeast', 'south')",
        "trips": "region IN ('northeast', 'south')",
    },
}
CLEAR_TAILS = {"otto"}
PRIVACY_OFFICE = {"petra"}


def permitted(
    raw: Mapping[str, pa.Table], user: str, key_of: Mapping[str, bytes]
) -> duckdb.DuckDBPyConnection:
    """A database that holds exactly what `user` may see."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    for domain in dict.fromkeys(one for one, _, _ in SHAPES):
        connection.execute(f"ATTACH ':memory:' AS {domain}")
    for address, shape in SHAPES.items():
        if address in LOYALTY and user not in ("mara", "petra"):
            continue
        _create(
            connection, address, shape, _masked(raw[address[2]], address[2], user, key_of), user
        )
    return connection


def _masked(table: pa.Table, name: str, user: str, key_of: Mapping[str, bytes]) -> pa.Table:
    if name in ("flights", "planes") and user not in CLEAR_TAILS:
        table = _pseudonymised(table, "tailnum", key_of["aircraft"])
    if name in ("members", "trips") and user not in PRIVACY_OFFICE:
        table = _pseudonymised(table, "email", key_of["customer"])
    return table


def _pseudonymised(table: pa.Table, column: str, key: bytes) -> pa.Table:
    values = [
        None
        if one is None
        else "p_"
        + base64.b32encode(hmac.new(key, one.encode(), hashlib.sha256).digest())
        .decode()
        .lower()[:26]
        for one in table.column(column).to_pylist()
    ]
    return table.set_column(
        table.schema.get_field_index(column), column, pa.array(values, pa.string())
    )


def _create(
    connection: duckdb.DuckDBPyConnection,
    address: tuple[str, str, str],
    shape: str,
    table: pa.Table,
    user: str,
) -> None:
    domain, product, name = address
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {domain}.{product}")
    connection.execute(f"CREATE TABLE {domain}.{product}.{name} ({shape})")
    connection.register("raw_rows", table)
    values = []
    for column in (one.split()[0] for one in shape.split(", ") if not one[0].isdigit()):
        values.append(_value(name, column, user))
    where = ROWS.get(user, {}).get(name, "true")
    rows = f"SELECT {', '.join(values)} FROM raw_rows WHERE {where}"
    connection.execute(f"INSERT INTO {domain}.{product}.{name} {rows}")
    connection.unregister("raw_rows")
    if DEFAULTS[domain, product] == name:
        connection.execute(
            f"CREATE VIEW {domain}.main.{product} AS SELECT * FROM {domain}.{product}.{name}"
        )


def _value(table: str, column: str, user: str) -> str:
    if table == "members" and user not in PRIVACY_OFFICE:
        if column == "name":
            return "NULL"
        if column == "phone":
            return (
                "CASE WHEN length(phone) <= 4 THEN repeat('*', length(phone)) "
                "ELSE repeat('*', length(phone) - 4) || right(phone, 4) END"
            )
        if column == "birth_date":
            return "date_trunc('year', birth_date)::DATE"
    return column


def raw_tables(data: Path, warehouse: str, crm: str) -> Mapping[str, pa.Table]:
    """All raw tables, each read with its own database's driver."""
    local = duckdb.connect(":memory:")
    local.execute("SET TimeZone = 'UTC'")
    files = f"{data}/weather/hourly/**/*.parquet"
    hourly = local.sql(
        f"SELECT * FROM read_parquet('{files}', hive_partitioning = true)"
    ).to_arrow_table()
    reference = _copy_of(data / "network" / "reference.duckdb")
    found = {
        "flights": _postgres(warehouse, "flights", FLIGHTS),
        "members": _postgres(crm, "members", MEMBERS),
        "trips": _postgres(crm, "trips", TRIPS),
        "planes": _sqlite(data / "fleet" / "aircraft.sqlite", "planes", PLANES),
        "hourly": hourly,
        "airports": reference.sql("SELECT * FROM main.airports").to_arrow_table(),
        "airlines": reference.sql("SELECT * FROM main.airlines").to_arrow_table(),
    }
    reference.close()
    return found


def _copy_of(path: Path) -> duckdb.DuckDBPyConnection:
    """A process opens a file of DuckDB's in one way only, and the gateway may have it open."""
    with tempfile.TemporaryDirectory() as folder:
        return duckdb.connect(shutil.copy(path, folder))


def _postgres(url: str, table: str, shape: str) -> pa.Table:
    columns = [one.split()[0] for one in shape.split(", ") if not one[0].isdigit()]
    selected = ", ".join(
        f"{one}::text AS {one}" if one in ("spend", "fare") else one for one in columns
    )
    with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {selected} FROM public.{table}")
        found: pa.Table = cursor.fetch_arrow_table()
    return found


def _sqlite(path: Path, table: str, shape: str) -> pa.Table:
    columns = [one.split()[0] for one in shape.split(", ")]
    connection = sqlite3.connect(path)
    rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
    connection.close()
    return pa.table({name: [row[i] for row in rows] for i, name in enumerate(columns)})
