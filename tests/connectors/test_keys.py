"""Keys as each connector binds them: exactly the rows whose value is among them.

Takes: a table in each kind of source, with odd texts and the ends of each type. Gives: for every
type that a kind takes keys of, the rows that came.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from uuid import UUID

import duckdb
import psycopg
import pyarrow as pa
import pytest

from connectors.base import (
    Connection,
    ConnectorError,
    Fragment,
    FragmentColumn,
    load_abilities,
    load_connector,
)
from connectors.key_texts import as_array, as_json
from gateway.demo import mysql as mariadb
from gateway.demo.postgres import Server
from tests.objects.store import Store, serving

TEXTS = ["a", "A", "a ", "", "it's", 'q"q', "back\\slash", "{b,c}", "NULL", "é", "x,y", "null", "1"]
VALUES: dict[str, list[object]] = {
    "BIGINT": [0, -1, 2**63 - 1, -(2**63), 42],
    "INTEGER": [0, -1, 2**31 - 1, -(2**31), 42],
    "VARCHAR": list(TEXTS),
    "DATE": [date(1, 1, 1), date(1970, 1, 1), date(2024, 2, 29), date(9999, 12, 31)],
    "UUID": [str(UUID(int=0)), str(UUID(int=2**128 - 1)), "0b9d1c6e-9a0f-4f0c-8d39-0c1d6a3f8e55"],
}
KINDS = ("duckdb", "files", "mysql", "objects", "postgres", "sqlite")
# Files of Parquet, by their names.
BY_FILE = ("files", "objects")
REFERENCES = [kind for kind in KINDS if load_abilities(kind).is_reference]
CASES = [
    (kind, name) for kind in KINDS for name in VALUES if name in load_abilities(kind).key_types
]


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """A server of S3's protocol."""
    with serving() as made:
        yield made


@pytest.fixture(scope="module")
def held(
    tmp_path_factory: pytest.TempPathFactory, server: Server, mysql_server: mariadb.Server,
    store: Store,
) -> Iterator[dict[str, Connection]]:
    """A connection to each kind, with the table `t_<type>` of each type and one NULL."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "files").mkdir()
    with (
        duckdb.connect(str(folder / "x.duckdb")) as ours,
        closing(sqlite3.connect(folder / "x.sqlite")) as lite,
        psycopg.connect(server.url("postgres"), autocommit=True) as theirs,
    ):
        for name, values in VALUES.items():
            table = f"keys_{name.lower()}"
            ours.execute(f"CREATE TABLE {table} (x {name})")
            lite.execute(f"CREATE TABLE {table} (x {name.replace('UUID', 'TEXT')})")
            theirs.execute(f"DROP TABLE IF EXISTS {table}")
            theirs.execute(f"CREATE TABLE {table} (x {name})")
            for value in [*values, None]:
                text = None if value is None else str(value)
                ours.execute(f"INSERT INTO {table} VALUES (CAST(? AS {name}))", [text])
                theirs.execute(f"INSERT INTO {table} VALUES (CAST(%s AS {name}))", [text])
                lite.execute(f"INSERT INTO {table} VALUES (?)", [value if name.endswith("INT") or
                             name == "INTEGER" else text])  # fmt: skip
            ours.execute(f"COPY {table} TO '{folder}/files/{table}.parquet'")
        lite.commit()
    mysql_server.run("DROP DATABASE IF EXISTS asked", "CREATE DATABASE asked")
    for name in (one for one in VALUES if one in load_abilities("mysql").key_types):
        rows = ", ".join(f"({value})" for value in [*VALUES[name], "NULL"])
        table = f"asked.keys_{name.lower()}"
        mysql_server.run(f"CREATE TABLE {table} (x {name})", f"INSERT INTO {table} VALUES {rows}")
    settings = {
        "duckdb": {"path": str(folder / "x.duckdb")},
        "sqlite": {"path": str(folder / "x.sqlite")},
        "postgres": {"url": server.url("postgres")},
        "mysql": {"url": mysql_server.url("asked")},
        "files": {"path": str(folder / "files"), "format": "parquet"},
        "objects": {**store.settings, "prefix": "keys", "format": "parquet"},
    }
    store.put_folder(folder / "files", "keys")
    made = {kind: load_connector(kind).connect(settings[kind]) for kind in KINDS}
    yield made
    for one in made.values():
        one.close()


def _found(
    connection: Connection, kind: str, name: str, keys: pa.Array, form: str = ""
) -> list[object]:
    """The values whose rows came; `form` stands in the place of the declared predicate."""
    abilities = load_abilities(kind)
    table = f"keys_{name.lower()}"
    physical = f"{table}.parquet" if kind in BY_FILE else table
    quote = "`" if kind == "mysql" else '"'
    column = f"{quote}x{quote}"
    if (kind, name) == ("postgres", "VARCHAR"):
        column = f'(CAST({column} AS TEXT) COLLATE "C")'
    mark = "$1" if abilities.parameter_style == "dollar" else "?1"
    where = form or abilities.keys
    where = where.format(column=column, keys=mark, type=abilities.key_types[name])
    schema = {"postgres": "public", "mysql": "asked"}.get(kind, "main")
    bound = "BIGINT[]" if name in ("INTEGER", "BIGINT") else f"{name}[]"
    fragment = Fragment(
        f'SELECT "x" AS "x" FROM "{schema}"."{physical}" WHERE '.replace('"', quote) + where,
        (FragmentColumn("x", name),), (physical,), (keys,), (bound,),
    )  # fmt: skip
    return [one for batch in connection.stream(fragment) for one in batch.column(0).to_pylist()]


def _keys(name: str, values: list[object]) -> pa.Array:
    kinds = {"BIGINT": pa.int64(), "INTEGER": pa.int64(), "DATE": pa.date32()}
    return pa.array(values, kinds.get(name, pa.string()))


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_each_key_finds_its_rows_and_no_others(
    kind: str, name: str, held: dict[str, Connection]
) -> None:
    values = VALUES[name]
    for chosen in ([one] for one in values):
        assert _found(held[kind], kind, name, _keys(name, chosen)) == chosen
    every = _found(held[kind], kind, name, _keys(name, values))
    assert sorted(map(str, every)) == sorted(map(str, values))
    assert _found(held[kind], kind, name, _keys(name, [])) == []


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_reference_declares_no_less(kind: str, held: dict[str, Connection]) -> None:
    """DuckDB compares keys of every type here as they are: what is not declared stays at home."""
    abilities = load_abilities(kind)
    assert set(VALUES) | {"TINYINT", "SMALLINT"} == set(abilities.key_types)
    # As many as are declared, most of which match nothing.
    keys = _keys("BIGINT", list(range(-abilities.maximum_keys + 43, 43)))
    assert sorted(map(str, _found(held[kind], kind, "BIGINT", keys))) == ["-1", "0", "42"]


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_predicate_that_says_more_is_noticed(kind: str, held: dict[str, Connection]) -> None:
    """The control: the range of the keys brings rows that are among none."""
    keys, form = _keys("BIGINT", [-1, 42]), "{column} BETWEEN list_min({keys}) AND list_max({keys})"
    assert set(_found(held[kind], kind, "BIGINT", keys)) == {-1, 42}
    assert set(_found(held[kind], kind, "BIGINT", keys, form)) == {-1, 0, 42}


@pytest.mark.parametrize("kind", KINDS)
def test_many_keys(kind: str, held: dict[str, Connection]) -> None:
    keys = _keys("BIGINT", list(range(50_000)))
    assert sorted(map(str, _found(held[kind], kind, "BIGINT", keys))) == ["0", "42"]


@pytest.mark.parametrize("form", [None, "{column} = ANY(CAST({keys} AS {type}[]))"])
def test_postgres_reads_keys_once(form: str | None, server: Server) -> None:
    """They go down as a text; a filter that casts it would do so for each row. So does ANY."""
    abilities = load_abilities("postgres")
    text = "'{" + ",".join(map(str, range(5_000))) + "}'::text"
    where = (form or abilities.keys).format(column="g", keys=text, type="bigint")
    with psycopg.connect(server.url("postgres")) as connection:
        sql = f"EXPLAIN SELECT g FROM generate_series(1::bigint, 9) AS g WHERE {where}"
        shown = "".join(row[0] for row in connection.execute(sql).fetchall())
    assert ("Filter:" in shown) is (form is not None), shown


def test_numbers_beyond_a_columns_type_match_nothing(held: dict[str, Connection]) -> None:
    for kind in KINDS:
        assert _found(held[kind], kind, "INTEGER", _keys("INTEGER", [2**40, 42])) == [42]


def test_texts_with_a_nul() -> None:
    keys = pa.array(["a", "a\0b"])
    assert as_array(keys) == '{"a"}'
    with pytest.raises(ConnectorError):
        as_json(keys)
