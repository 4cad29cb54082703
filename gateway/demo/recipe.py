"""How the databases of the sample mesh are built.

Takes: a folder and a PostgreSQL server, or none. Gives: five sources with data in them (see
`records` and `people`), and the secrets that lead to the two of PostgreSQL. Never builds again
what the same recipe built; deleting the folder removes everything.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from gateway.demo import people, records, warehouse
from gateway.demo.postgres import Server
from gateway.errors import Conflict

Progress = Callable[[str, float], None]
_MARK = "recipe.sha256"
_MODULES = ("recipe.py", "records.py", "people.py", "warehouse.py")
_FOLDERS = ("fleet", "weather", "network")
# Where the tables of PostgreSQL lie when there is none.
DUCKDB_FILES: Mapping[str, str] = {
    "operations": "operations/warehouse.duckdb", "loyalty": "loyalty/crm.duckdb",
}
_LOCK_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is built: every n-th departure, so many members and trips."""

    every: int = 1
    members: int = 5_000
    trips: int = 20_000


FULL = Size()
SMALL = Size(every=17, members=800, trips=4_000)


def build(data: Path, server: Server | None, progress: Progress, size: Size = FULL) -> None:
    """Build all sources unless they are built. `server` is started; None: DuckDB files instead."""
    data.mkdir(parents=True, exist_ok=True)
    with _alone(data):
        if not is_built(data, server, size):
            _build(data, server, progress, size)
        if server is not None:
            warehouse.give_access(data, server)
        (data / _MARK).write_text(_recipe_hash(server, size), encoding="utf-8")


def is_built(data: Path, server: Server | None, size: Size = FULL) -> bool:
    """Whether folder and server hold what this recipe builds."""
    mark = data / _MARK
    if not mark.is_file() or mark.read_text(encoding="utf-8") != _recipe_hash(server, size):
        return False
    if not all((data / one).is_dir() for one in _FOLDERS):
        return False
    if server is None:
        return all((data / one).is_file() for one in DUCKDB_FILES.values())
    return warehouse.is_loaded(data, server)


def _build(data: Path, server: Server | None, progress: Progress, size: Size) -> None:
    (data / _MARK).unlink(missing_ok=True)
    for name in (*_FOLDERS, *DUCKDB_FILES):
        shutil.rmtree(data / name, ignore_errors=True)
    kind = "DuckDB" if server is None else "PostgreSQL"
    progress("fleet: aircraft into SQLite", 0.0)
    _build_fleet(data / "fleet" / "aircraft.sqlite")
    progress("weather: hourly observations into Parquet", 0.05)
    _build_weather(data / "weather" / "hourly")
    progress("network: airports and airlines into DuckDB", 0.1)
    _write_duckdb(data / "network" / "reference.duckdb", {
        "airports": records.airports(), "airlines": records.airlines(),
    })
    progress(f"operations: departures into {kind}", 0.15)
    flights = records.flights(size.every)
    _load(data, server, "operations", {"flights": flights})
    progress(f"loyalty: synthetic members and trips into {kind}", 0.6)
    members, trips = people.loyalty(flights, size.members, size.trips)
    _load(data, server, "loyalty", {"members": members, "trips": trips})
    progress("done", 1.0)


def _load(
    data: Path, server: Server | None, database: str, tables: Mapping[str, pa.Table]
) -> None:
    if server is None:
        _write_duckdb(data / DUCKDB_FILES[database], tables, "public")
    else:
        warehouse.load(data, server, database, tables)


def _build_fleet(path: Path) -> None:
    path.parent.mkdir(parents=True)
    table = records.planes()
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE planes (tailnum text NOT NULL PRIMARY KEY, year integer, "
            "type text NOT NULL, manufacturer text NOT NULL, model text NOT NULL, "
            "engines integer NOT NULL, seats integer NOT NULL, speed integer, "
            "engine text NOT NULL)"
        )
        connection.executemany("INSERT INTO planes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _build_weather(folder: Path) -> None:
    folder.mkdir(parents=True)
    target = str(folder).replace("'", "''")
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("hourly", records.hourly())
        connection.execute(
            f"COPY (SELECT * FROM hourly ORDER BY time_hour, origin) TO '{target}' "
            "(FORMAT parquet, PARTITION_BY (month), OVERWRITE_OR_IGNORE)"
        )


def _write_duckdb(path: Path, tables: Mapping[str, pa.Table], schema: str = "main") -> None:
    """Tables in a DuckDB file; a column without NULL is declared so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"SET TimeZone = 'UTC'; CREATE SCHEMA IF NOT EXISTS {schema}")
        for name, rows in tables.items():
            connection.register("rows_to_load", rows)
            connection.execute(f"CREATE TABLE {schema}.{name} AS FROM rows_to_load")
            for column in rows.schema.names:
                if rows.column(column).null_count == 0:
                    connection.execute(
                        f"ALTER TABLE {schema}.{name} ALTER {column} SET NOT NULL"
                    )
            connection.unregister("rows_to_load")


def _recipe_hash(server: Server | None, size: Size) -> str:
    folder = Path(__file__).parent
    said = (size, server is None, records.edition())
    digest = hashlib.sha256(repr(said).encode())
    for name in _MODULES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Two processes do not build into one folder at once."""
    deadline = time.monotonic() + _LOCK_SECONDS
    with (data / "build.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise Conflict(
                        f"Another process builds into {data.name!r} for too long.",
                        hint="Stop it, or name another folder with --data.",
                    ) from None
                time.sleep(0.1)
        yield
