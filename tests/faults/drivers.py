"""A mesh of four kinds of source over a wire, each of which can be broken alone, and a quiet one.

Takes: a folder, a PostgreSQL server of its own. Gives: a mesh whose sources are reached through
proxies: PostgreSQL by a dialect of SQLAlchemy and by an ADBC driver, another gateway, a store of
objects; a SQLite file beside them. Each has a table `<kind>.large`, whose rows all have the same
`version`, and a small one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from gateway.demo.postgres import OwnServer
from tests.faults.places import COLUMNS, ROLE, WORD, Broken, make_places, port_of, write_file
from tests.faults.proxy import Proxy
from tests.objects.store import BUCKET, Store
from tests.objects.store import serving as store_serving
from tests.plain_mesh import PlainSource, PlainTable, open_plain
from tests.served import started
from tests.small_mesh import SmallMesh, write_mesh

KINDS = ("sqlalchemy", "adbc", "flightsql", "objects")
BY_POSTGRES = ("sqlalchemy", "adbc")
QUIET = "sqlite"
ROWS = 120_000
_TYPES = {"id": "INTEGER", "version": "INTEGER", "s": "VARCHAR"}
_PHYSICAL = {
    "sqlalchemy": "public.{}", "adbc": "public.{}", "flightsql": "far.{}", "objects": "{}.parquet",
    "sqlite": "{}",
}  # fmt: skip


@dataclass(slots=True)
class Far:
    """Another gateway, in a process of its own, which can be killed."""

    folder: Path
    held: ExitStack = field(default_factory=ExitStack)
    port: int = 0
    pid: int = 0

    def start(self, version: str = "INTEGER", is_granted: bool = True) -> None:
        """Start it over a mesh in which `version` has that type, and `gate` may read or not."""
        types = {**_TYPES, "version": version}
        users = ["gate"] if is_granted else ["nobody"]
        mesh = SmallMesh(
            domain="far",
            source={"connector": "duckdb", "settings": {"path": f"rows.{version}.duckdb"}},
            tables={name: (f"main.{name}", types) for name in ("large", "small")},
            users={"gate": {}, "nobody": {}},
            grants=tuple(
                {"product": name, "subjects": [{"users": users}]} for name in ("large", "small")
            ),
        )
        conf = write_mesh(self.folder, mesh)
        _fill_duckdb(self.folder / f"data/rows.{version}.duckdb", version)
        found = self.held.enter_context(started(conf, self.folder / "data", {}))
        self.port, self.pid = int(urlsplit(found[2]).port or 0), int(found[4])

    def kill(self) -> None:
        """End it at once."""
        os.kill(self.pid, signal.SIGKILL)
        self.held.close()


@dataclass(slots=True)
class Servers:
    """What answers behind the proxies."""

    folder: Path
    postgres: OwnServer
    far: Far
    held: ExitStack = field(default_factory=ExitStack)
    store: Store | None = None

    def start_store(self) -> None:
        """Serve the objects, which are there still."""
        self.store = self.held.enter_context(store_serving())

    def close(self) -> None:
        """End all but PostgreSQL."""
        self.held.close()
        self.far.held.close()


@dataclass(slots=True)
class Driven(Broken):
    """The mesh; `proxies` by kind."""

    servers: Servers
    proxies: Mapping[str, Proxy]

    def kill(self, kind: str) -> None:
        """The server of a kind ends at once, and its sessions with it."""
        servers = self.servers
        if kind in BY_POSTGRES:
            process = servers.postgres._process
            assert process is not None
            process.send_signal(signal.SIGQUIT)
            process.wait(60)
        elif kind == "flightsql":
            servers.far.kill()
        else:
            self.proxies[kind].break_after("reset", 0)
            servers.held.close()

    def restart(self, kind: str, **fields: object) -> None:
        """The server is there again, on another port."""
        servers = self.servers
        if kind in BY_POSTGRES:
            servers.postgres.stop()
            servers.postgres.start()
        elif kind == "flightsql":
            servers.far.start(**fields)  # type: ignore[arg-type]  # fields of it by name
        else:
            servers.start_store()
            self.proxies[kind].mend()
        _aim(servers, self.proxies)

    def close(self) -> None:
        """Close everything but the servers."""
        for one in self.proxies.values():
            one.close()
        self.mesh.close()


def make_servers(folder: Path, postgres: OwnServer) -> Servers:
    """Start what is to break, with its rows."""
    make_places(folder, postgres)
    servers = Servers(folder, postgres, Far(folder / "far"))
    servers.far.start()
    servers.start_store()
    put_objects(servers)
    return servers


def put_objects(servers: Servers, version: str = "1::INT") -> None:
    """The objects, whose rows are all of a version."""
    assert servers.store is not None
    for name, count in (("large", ROWS), ("small", 9)):
        path = servers.folder / f"{name}.object"
        with closing(duckdb.connect()) as made:
            rows = _rows(count, version)
            made.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 10000)")
        servers.store.put(f"{name}.parquet", path.read_bytes())


def open_driven(servers: Servers) -> Driven:
    """Open the mesh over whole servers; what a test before has broken is mended."""
    postgres, store = servers.postgres, servers.store
    assert store is not None
    postgres.run(
        "faults",
        "DROP TABLE IF EXISTS small, gone",
        f"CREATE TABLE small AS {_series(9)}",
        f"CREATE OR REPLACE VIEW large AS {_series(ROWS)}",
        f"GRANT SELECT ON small, large TO {ROLE}",
        # A test kills the server, which commits before it has written.
        "CHECKPOINT",
    )
    write_file(servers.folder, QUIET, 1)
    proxies = {kind: Proxy(0) for kind in KINDS}
    _aim(servers, proxies)
    sources = {kind: _source(kind, proxies[kind].port) for kind in KINDS}
    sources[QUIET] = PlainSource("sqlite", {"path": "sqlite/rows.sqlite"}, {})
    tables = [
        PlainTable(kind, name, _PHYSICAL[kind].format(name), COLUMNS)
        for kind in sources
        for name in ("large", "small")
    ]
    mesh = open_plain(servers.folder, sources, tables)
    return Driven(servers.folder, postgres, proxies["adbc"], mesh, servers, proxies)


def drivers(pid: int) -> int:
    """How many processes of drivers a process has."""
    found = 0
    for one in Path("/proc").glob("[0-9]*"):
        try:
            line = (one / "cmdline").read_bytes()
            parent = int((one / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        found += b"driver_program" in line and parent == pid
    return found


def _aim(servers: Servers, proxies: Mapping[str, Proxy]) -> None:
    for kind, proxy in proxies.items():
        if kind in BY_POSTGRES:
            proxy.target = port_of(servers.postgres)
        elif kind == "flightsql":
            proxy.target = servers.far.port
        elif servers.store is not None:
            proxy.target = servers.store.port


def _source(kind: str, port: int) -> PlainSource:
    here = f"127.0.0.1:{port}"
    login = f"{ROLE}:{WORD}@{here}/faults"
    match kind:
        case "sqlalchemy":
            return PlainSource(kind, {"dialect": "postgres"},
                               {"url": f"postgresql+psycopg://{login}"})  # fmt: skip
        case "adbc":
            return PlainSource(kind, {"driver": "postgresql", "dialect": "postgres"},
                               {"uri": f"postgresql://{login}"})  # fmt: skip
        case "flightsql":
            settings = {"url": f"grpc://{here}", "user": "gate", "identity": "service"}
            return PlainSource(kind, settings, {"password": "gate-demo"})
        case _:
            settings = {"store": "s3", "bucket": BUCKET, "endpoint": here, "format": "parquet"}
            return PlainSource(kind, settings, {"access_key": "reader", "secret_key": "not-told"})


def _rows(count: int, version: str) -> str:
    return (
        f"SELECT range::INT AS id, {version} AS version, "
        f"md5(range::VARCHAR) || md5('x' || range) AS s FROM range({count})"
    )


def _series(count: int) -> str:
    """The same in PostgreSQL; only what comes over the wire counts."""
    return (
        "SELECT g::int AS id, 1 AS version, md5(g::text) || md5('x' || g) AS s "
        f"FROM generate_series(1, {count}) g"
    )


def _fill_duckdb(path: Path, version: str) -> None:
    path.unlink(missing_ok=True)
    with closing(duckdb.connect(str(path))) as made:
        for name, count in (("large", ROWS), ("small", 9)):
            made.execute(f"CREATE TABLE {name} AS {_rows(count, f'1::{version}')}")
