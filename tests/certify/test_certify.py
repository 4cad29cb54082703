"""What certifying finds: the declared rows hold, and a row that declares too much is found out.

The probes are those of the conformance suite, over rows that are written into the statements.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pyarrow as pa
import pytest

from connectors.base import (
    Abilities,
    Connection,
    ConnectorError,
    Fragment,
    load_abilities,
    load_connector,
)
from gateway.certify import run
from gateway.certify.ask import outcome
from gateway.certify.barrier import barrier
from gateway.certify.certificate import Certificate, certificate_of, certified
from gateway.certify.collations import compares
from gateway.certify.facts import TRAPS
from gateway.certify.measure import bounds, most_of
from gateway.certify.probes import Probe, all_probes
from gateway.certify.rows import dialect_of, reference
from gateway.certify.run import Subject, certify, settings_of
from gateway.demo import mysql as mariadb
from gateway.demo.postgres import Server
from tests.connectors.conformance.samples import Sample, in_duckdb, in_files, in_sqlite

NOTHING: Mapping[str, tuple[str, ...]] = MappingProxyType({})


def subject(sample: Sample, declared: Abilities | None = None) -> Subject:
    return Subject("d.s", sample.kind, declared or sample.abilities, NOTHING)


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Ask these probes alone."""

    def few() -> list[Probe]:
        return [one for one in all_probes() if one.name.startswith(names)]

    monkeypatch.setattr(run, "all_probes", few)


def test_every_trap_is_asked_or_says_why_not() -> None:
    assert sorted({one["trap"] for one in TRAPS}) == list(range(1, 46))
    assert len(TRAPS) > 80


def test_what_is_found_of_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is written is what is read."""
    only(monkeypatch, "comparable.VARCHAR", "functions.Case.DOUBLE")
    sample = in_sqlite(tmp_path)
    with closing(sample.connection), closing(sample.reference):
        made = certify(subject(sample), sample.connection)
    assert made.differs == ()
    assert made.proved == ("comparable.VARCHAR", "functions.Case.DOUBLE")
    told = {one.name: one.source for one in made.facts}
    assert told["null order ascending"] == "null 1 2"
    assert told["like ignores case"] == "True"
    assert told["division by zero"] == "null"
    # Some traps are the gateway's: nobody is asked.
    asked = {one.name for one in made.facts if one.is_asked}
    left = {one["name"] for one in TRAPS if "gateway" in one or one.get("sqlite", "") is None}
    assert asked == {one["name"] for one in TRAPS} - left and len(asked) < len(made.facts)
    assert made.barrier is not None and made.barrier.bites and not made.barrier.broken
    assert set(made.prices) == {"statement", "row", "byte", "key"}
    assert certificate_of(json.loads(json.dumps(made.as_json()))) == made


@pytest.mark.long
@pytest.mark.parametrize("make", [in_sqlite, in_duckdb, in_files])
def test_all_of_it_is_as_declared(make: Callable[[Path], Sample], tmp_path: Path) -> None:
    """Over rows in the statement, as the conformance suite shows it over tables."""
    sample = make(tmp_path)
    with closing(sample.connection), closing(sample.reference):
        made = certify(subject(sample), sample.connection)
    assert made.differs == ()
    if not sample.abilities.is_reference:
        assert len(made.proved) == sum(one.declared(sample.abilities) for one in all_probes())


@pytest.mark.long
def test_all_of_postgres_is_as_declared(postgres: Connection) -> None:
    declared = load_abilities("postgres")
    made = certify(Subject("d.s", "postgres", declared, NOTHING), postgres)
    assert made.differs == ()
    assert len(made.proved) == sum(one.declared(declared) for one in all_probes())


@pytest.mark.long
def test_all_of_mariadb_is_as_declared(mysql: Connection) -> None:
    declared = load_abilities("mysql")
    made = certify(Subject("d.s", "mysql", declared, NOTHING), mysql)
    assert made.differs == ()
    assert len(made.proved) == sum(one.declared(declared) for one in all_probes())


def test_what_is_found_of_mariadb(mysql: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "comparable.VARCHAR", "comparable.TIME", "functions.Like", "can_filter")
    declared = load_abilities("mysql")
    tables = {"certified.plain": ("a", "b", "c", "d")}
    made = certify(Subject("d.s", "mysql", declared, tables), mysql)
    assert made.differs == ()
    assert "MariaDB" in made.version
    assert made.barrier is not None and made.barrier.bites and not made.barrier.broken
    assert {one.column: one.compares for one in made.collations} == {
        "a": "other", "b": "other", "c": "bytes",
    }  # fmt: skip
    # However a column compares, it is never sent as it is.
    assert made.bytewise == ()


@pytest.mark.parametrize("make", [in_duckdb, in_files])
def test_duckdb_is_itself(
    make: Callable[[Path], Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "groupable.VARCHAR", "can_sort")
    sample = make(tmp_path)
    with closing(sample.connection), closing(sample.reference):
        made = certify(subject(sample), sample.connection)
    assert made.differs == ()
    assert all(one.is_same for one in made.facts), [one for one in made.facts if not one.is_same]


@pytest.fixture(scope="module")
def mysql(mysql_server: mariadb.Server) -> Iterator[Connection]:
    """A database whose texts ignore case, blanks at the end, and nothing."""
    mysql_server.run(
        "CREATE DATABASE certified",
        "CREATE TABLE certified.plain (a varchar(9) CHARACTER SET utf8mb4 COLLATE "
        "utf8mb4_general_ci, b varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, "
        "c varchar(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin, d integer)",
    )
    settings = {"url": mysql_server.url("certified")}
    with closing(load_connector("mysql").connect(settings)) as opened:
        yield opened


@pytest.fixture(scope="module")
def postgres(server: Server) -> Iterator[Connection]:
    """A database whose own order of texts is by bytes."""
    server.run("postgres", "CREATE DATABASE certified TEMPLATE template0 LOCALE 'C'")
    server.run(
        "certified",
        'CREATE TABLE plain (a text, b varchar(9) COLLATE "C", c char(9), d integer)',
        "CREATE TABLE other (a text COLLATE \"POSIX\")",
    )
    with closing(load_connector("postgres").connect({"url": server.url("certified")})) as opened:
        yield opened


def test_what_is_found_of_postgres(
    postgres: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, "comparable.VARCHAR", "sortable.VARCHAR", "functions.Like", "can_filter")
    declared = load_abilities("postgres")
    tables = {"public.plain": ("a", "b", "c", "d"), "public.other": ("a",)}
    made = certify(Subject("d.s", "postgres", declared, tables), postgres)
    assert made.differs == ()
    assert made.version and made.can_stage is True
    assert made.barrier is not None and made.barrier.bites and not made.barrier.broken
    # POSIX compares by bytes too, and does not mix with C in one comparison.
    assert {(one.table, one.column): one.compares for one in made.collations} == {
        ("public.other", "a"): "bytes", ("public.plain", "a"): "bytes",
        ("public.plain", "b"): "bytes",
    }  # fmt: skip
    assert made.bytewise == (("public.plain", "a"), ("public.plain", "b"))
    abilities = certified(declared, made, is_current=True)
    assert abilities == replace(declared, bytewise_columns=frozenset(made.bytewise))
    assert certified(declared, made, is_current=False) == declared
    unasked = replace(declared, if_certified=frozenset())
    assert certified(unasked, made, is_current=True) == unasked


def test_collations_are_tried_not_believed(server: Server) -> None:
    """A name says nothing: what a collation does to our texts does."""
    dialect = dialect_of("postgres", "postgres")
    with closing(load_connector("postgres").connect({"url": server.url("postgres")})) as found:
        rows = reference().execute("SELECT DISTINCT s FROM probe WHERE s IS NOT NULL").fetchall()
        texts = [str(row[0]) for row in rows]
        assert compares(found, dialect, "C", texts) == "bytes"
        if not _has_icu(found):
            pytest.skip("this PostgreSQL has no ICU: linguistic collations are not tried")
        assert compares(found, dialect, "en-x-icu", texts) == "equality"


def _has_icu(connection: Connection) -> bool:
    sql = "SELECT count(*) FROM pg_collation WHERE collname = 'en-x-icu'"
    return outcome(connection, sql, ["BIGINT"]).rows == ((1,),)


MISDECLARED = {
    "functions.Like.VARCHAR": {"functions": MappingProxyType({"Like": ("VARCHAR",)})},
    "functions.Upper.VARCHAR": {"functions": MappingProxyType({"Upper": ("VARCHAR",)})},
    "aggregates.Sum.BIGINT": {"aggregates": MappingProxyType({"Sum": ("BIGINT", "INTEGER")})},
    "casts.VARCHAR>INTEGER": {"casts": frozenset({"VARCHAR>INTEGER"})},
    "can_set_operation": {"can_set_operation": True},
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", MISDECLARED)
def test_too_much_is_found_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only that is taken away."""
    only(monkeypatch, name, "comparable.INTEGER")
    sample = in_sqlite(tmp_path)
    declared = replace(sample.abilities, **MISDECLARED[name])  # type: ignore[arg-type]  # by name
    with closing(sample.connection), closing(sample.reference):
        made = certify(subject(sample, declared), sample.connection)
    assert [one.ability for one in made.disproved] == [name]
    left = certified(declared, made, is_current=True)
    probes = {one.name: one for one in all_probes()}
    assert not probes[name].declared(left)
    assert left.comparable == declared.comparable
    if name == "aggregates.Sum.BIGINT":
        assert left.aggregates["Sum"] == ("INTEGER",)


def test_a_barrier_that_is_none_is_found_out(tmp_path: Path) -> None:
    sample = in_sqlite(tmp_path)
    with closing(sample.connection), closing(sample.reference):
        declared = replace(sample.abilities, barrier="ORDER BY 1")
        verdict = barrier(sample.connection, declared, dialect_of("sqlite", "sqlite"))
    assert verdict is not None and verdict.broken


def test_bounds_are_kept(tmp_path: Path) -> None:
    sample = in_sqlite(tmp_path)
    with closing(sample.connection), closing(sample.reference):
        assert bounds(sample.connection, sample.abilities) == {}


class Frugal:
    """A connection that takes no more than so many keys."""

    def __init__(self, connection: Connection, most: int) -> None:
        self._connection, self._most = connection, most

    def stream(self, fragment: Fragment) -> Iterator[pa.RecordBatch]:
        if any(isinstance(one, pa.Array) and len(one) > self._most for one in fragment.parameters):
            raise ConnectorError("too many")
        return self._connection.stream(fragment)


def test_so_many_keys_as_are_taken(tmp_path: Path) -> None:
    """In the form in which they are sent."""
    sample = in_sqlite(tmp_path)
    with closing(sample.connection), closing(sample.reference):
        frugal = cast(Connection, Frugal(sample.connection, 1_000))
        found = bounds(frugal, sample.abilities)
        wrong = replace(sample.abilities, keys="{column} IN (SELECT 0 FROM json_each({keys}))")
        assert bounds(sample.connection, wrong) == {"maximum_keys": 0}
    assert found == {"maximum_keys": 1_000}
    made = Certificate("d.s", "sqlite", "", {}, bounds=found)
    assert certified(sample.abilities, made, is_current=True).maximum_keys == 1_000


@pytest.mark.usefixtures("quick")
def test_keys_that_miss_rows_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form that compares as texts finds no number and no other text than itself."""
    only(monkeypatch, "comparable.INTEGER")
    sample = in_sqlite(tmp_path)
    form = "{column} IN (SELECT value || '' FROM json_each({keys}))"
    declared = replace(sample.abilities, keys=form)
    with closing(sample.connection), closing(sample.reference):
        made = certify(subject(sample, declared), sample.connection)
        right = certify(subject(sample), sample.connection)
    numbers = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT"}
    assert {one.ability for one in made.disproved} == {f"key_types.{one}" for one in numbers}
    assert set(certified(declared, made, True).key_types) == {"VARCHAR", "DATE"}
    # The control: as declared they find all of theirs.
    assert right.disproved == ()


@pytest.mark.parametrize("limit", [0, 1, 99, 100, 101])
def test_the_bound_that_is_kept_is_found(limit: int) -> None:
    def ask(count: int) -> None:
        if count > limit:
            raise ConnectorError("too many")

    assert most_of(ask, 100) == min(limit, 100)


def test_the_version_is_cheap_to_ask(postgres: Connection) -> None:
    found = settings_of(postgres, dialect_of("postgres", "postgres"))
    assert found["version"] and found["encoding"] == "UTF8"
