"""The rows of the conformance suite where no kind of the house's knows the database by itself.

Takes: a folder, a PostgreSQL server, a store of objects. Gives: sources of the kinds `objects`,
`adbc` and `sqlalchemy` with the rows in them, and plain DuckDB over what each can hold. Owners
declare there what the kind that knows the database declares, so that as much as can be goes down.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

import connectors
from gateway.demo.postgres import Server
from tests.connectors.conformance.samples import in_duckdb, in_files, in_postgres, in_sqlite
from tests.differential.traps_mesh import EMBEDDED, Place, place_of
from tests.objects.store import Store

PRODUCTS = {
    "objects": ("objects_parquet", "objects_csv"),
    "drivers": (
        "adbc_duckdb", "adbc_sqlite", "adbc_postgres", "sqlalchemy_sqlite", "sqlalchemy_postgres",
    ),
}  # fmt: skip
# What of a kind's row the settings of a source may say too.
_LISTS = ("comparable", "sortable", "groupable", "casts", "cast_parameters")
_MAPS = ("functions", "aggregates")
_FLAT = (
    *_LISTS, "schema", "text_cast", "text_collation", "parameter_style", "maximum_parameters",
    "maximum_list",
)  # fmt: skip


def any_sources(folder: Path, server: Server, store: Store) -> Iterator[tuple[str, Place]]:
    """By product; `folder` is the gateway's data folder. Some traps join with other kinds."""
    for kind in ("sqlite", "files"):
        (folder / kind).mkdir()
        yield kind, place_of(kind, EMBEDDED[kind](folder / kind))
    for flavour in ("varchar", "char"):
        yield flavour, place_of(
            flavour, in_postgres(server, flavour), server.url(f"rows_{flavour}")
        )
    yield from _objects(folder / "objects", store)
    yield from _adbc(folder, server)
    yield from _sqlalchemy(folder, server)


def _objects(folder: Path, store: Store) -> Iterator[tuple[str, Place]]:
    for form in ("parquet", "csv"):
        (folder / form).mkdir(parents=True)
        made = in_files(folder / form)
        made.connection.close()
        if form == "csv":
            _as_csv(made.reference, folder / form / "rows")
        store.put_folder(folder / form / "rows", f"traps-{form}/rows")
        settings = dict(store.settings) | {"prefix": f"traps-{form}", "format": form}
        secrets = {name: settings.pop(name) for name in ("access_key", "secret_key")}
        source = {"connector": "objects", "settings": settings}
        yield f"objects_{form}", Place(source, secrets, f"rows/*.{form}", made.reference)


def _as_csv(held: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """The same rows as CSV, where an empty text is none."""
    held.execute("UPDATE probe SET s = NULL WHERE s = ''")
    for old in folder.iterdir():
        old.unlink()
    for part in (0, 1):
        held.execute(f"COPY (FROM probe WHERE id % 2 = {part}) TO '{folder}/{part}.csv'")


def _adbc(folder: Path, server: Server) -> Iterator[tuple[str, Place]]:
    for kind, make in (("duckdb", in_duckdb), ("sqlite", in_sqlite)):
        (folder / f"adbc_{kind}").mkdir()
        made = make(folder / f"adbc_{kind}")
        made.connection.close()
        path = f"adbc_{kind}/rows.{kind}"
        more = {"path": path, "option.access_mode": "read_only"} if kind == "duckdb" else {
            "uri": f"file:{folder}/{path}?mode=ro"
        }  # fmt: skip
        settings = {"driver": kind, "dialect": kind, "abilities": declared(kind), **more}
        source = {"connector": "adbc", "settings": settings}
        yield f"adbc_{kind}", Place(source, {}, made.table, made.reference)
    sample = in_postgres(server, "linguistic")
    sample.connection.close()
    settings = {"driver": "postgresql", "dialect": "postgres", "abilities": declared("postgres")}
    url = {"uri": server.url("rows_linguistic")}
    source = {"connector": "adbc", "settings": settings}
    yield "adbc_postgres", Place(source, url, sample.table, sample.reference)


def _sqlalchemy(folder: Path, server: Server) -> Iterator[tuple[str, Place]]:
    (folder / "sqlalchemy_sqlite").mkdir()
    light = in_sqlite(folder / "sqlalchemy_sqlite")
    heavy = in_postgres(server, "varchar")
    psycopg = server.url("rows_varchar").replace("postgresql://", "postgresql+psycopg://")
    urls = {"sqlite": f"sqlite:///{folder}/sqlalchemy_sqlite/rows.sqlite", "postgres": psycopg}
    for kind, made in (("sqlite", light), ("postgres", heavy)):
        made.connection.close()
        settings = {"dialect": kind, "abilities": declared(kind)}
        source = {"connector": "sqlalchemy", "settings": settings}
        yield f"sqlalchemy_{kind}", Place(source, {"url": urls[kind]}, made.table, made.reference)


@cache
def declared(kind: str) -> str:
    """What an owner may declare of a database of that kind, as its settings have it."""
    row = tomllib.loads(_row_of(kind))
    if row.get("is_reference"):
        other = tomllib.loads(_row_of("postgres"))
        row |= {key: other[key] for key in (*_LISTS, *_MAPS) if key not in row}
    flat = {
        key: value for key, value in row.items()
        if key in _FLAT or (key.startswith("can_") and key != "can_lateral")
    }  # fmt: skip
    lines = [f"{key} = {_toml(value)}" for key, value in flat.items()]
    for name in _MAPS:
        lines += [f"[{name}]", *(f"{key} = {_toml(one)}" for key, one in row[name].items())]
    return "\n".join(lines)


def _row_of(kind: str) -> str:
    return Path(str(connectors.__file__)).with_name(f"{kind}.toml").read_text(encoding="utf-8")


def _toml(value: Any) -> str:  # noqa: ANN401 - any value of TOML's
    # JSON writes texts, numbers, truths and lists of texts as TOML does.
    return json.dumps(value, ensure_ascii=False)
