"""Declared is what means the same as in DuckDB: no more, and no less without a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
import sqlglot
import yaml
from sqlglot import exp

from connectors.base import (
    ConnectorError,
    Fragment,
    FragmentColumn,
    load_abilities,
    load_connector,
)
from gateway.certify.ask import same
from gateway.certify.probes import Probe, all_probes
from gateway.demo import mysql
from gateway.demo.postgres import Server
from gateway.pushable import Checker
from gateway.spelling import spelled
from tests.connectors.conformance.samples import (
    FLAVOURS,
    MYSQL_FLAVOURS,
    Sample,
    in_duckdb,
    in_mysql,
    in_postgres,
    lacks,
)

PROBES = {one.name: one for one in all_probes()}
REASONS: Mapping[str, Mapping[str, str]] = yaml.safe_load(
    Path(__file__).with_name("reasons.yaml").read_text(encoding="utf-8")
)
KINDS = ("mysql", "postgres", "sqlite")
Verdict = Callable[[Sample, Probe], str | None]


def difference(sample: Sample, probe: Probe) -> str | None:
    """The first statement whose answer differs; None where all agree."""
    found = sample.asker.difference(probe)
    if found is None:
        return None
    sql, wanted, got = found
    return f"{sql}\nDuckDB: {wanted}\n{sample.kind} {sample.flavour}: {got}"


def reason(kind: str, name: str) -> str | None:
    """Why a kind leaves something out."""
    return next((text for key, text in REASONS[kind].items() if name.startswith(key)), None)


def check(sample: Sample, probe: Probe) -> None:
    """Fail where more is declared than holds, or less without a reason."""
    declared = probe.declared(sample.abilities)
    if not declared and reason(sample.kind, probe.name):
        return
    differs = difference(sample, probe)
    if declared:
        assert differs is None, f"{sample.kind} declares {probe.name}:\n{differs}"
    else:
        assert differs is not None, f"{sample.kind} could declare {probe.name}"


# DuckDB is itself: what travels, and that statements run, is enough there.
ITSELF = [one.name for one in PROBES.values() if one.ability.split(".")[0] not in
          ("functions", "casts", "sortable")]  # fmt: skip
EMBEDDED = [("sqlite", name) for name in PROBES] + [
    (kind, name) for kind in ("duckdb", "files") for name in ITSELF
]


@pytest.mark.parametrize(("embedded", "name"), EMBEDDED, indirect=["embedded"])
def test_embedded_sources(embedded: Sample, name: str) -> None:
    """DuckDB and files can everything; SQLite what it declares."""
    probe = PROBES[name]
    if embedded.abilities.is_reference:
        assert difference(embedded, probe) is None
    else:
        check(embedded, probe)


@pytest.fixture(scope="session")
def flavours(server: Server) -> Iterator[Callable[[str], Sample]]:
    """Makes the rows in PostgreSQL once for each flavour."""
    made: dict[str, Sample] = {}

    def make(name: str) -> Sample:
        if name not in made:
            made[name] = in_postgres(server, name)
        return made[name]

    yield make
    for sample in made.values():
        sample.connection.close()
        sample.reference.close()


@pytest.fixture
def flavour(request: pytest.FixtureRequest, flavours: Callable[[str], Sample]) -> Sample:
    """The rows in PostgreSQL, text in a flavour; skipped where the server has it not."""
    plain = flavours("bytes")
    missing = lacks(plain, str(request.param))
    if missing:
        pytest.skip(f"this PostgreSQL has no {missing}: {request.param} is not tested")
    return flavours(str(request.param))


# A flavour is about text; all else is the same in each.
TEXT_PROBES = [one.name for one in PROBES.values() if one.type in ("VARCHAR", "")]
PAIRS = [
    (flavour, name)
    for flavour in FLAVOURS
    for name in (PROBES if flavour == "bytes" else TEXT_PROBES)
]


@pytest.mark.parametrize(("flavour", "name"), PAIRS, indirect=["flavour"])
def test_postgres(flavour: Sample, name: str) -> None:
    """What is declared holds whatever the collation; what is not declared has a reason."""
    check(flavour, PROBES[name])


@pytest.fixture(scope="module")
def no_case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """A DuckDB file whose column of text ignores case."""
    made = in_duckdb(tmp_path_factory.mktemp("no_case"), "NOCASE")
    yield made
    made.connection.close()
    made.reference.close()


@pytest.mark.parametrize("name", [one for one in TEXT_PROBES if not one.startswith("casts")])
def test_duckdb_compares_by_bytes(no_case: Sample, name: str) -> None:
    """Whatever collation a column has."""
    assert difference(no_case, PROBES[name]) is None


def test_the_collation_of_duckdb_bites(no_case: Sample) -> None:
    """The control: as it stands the column ignores case."""
    asker, sql = no_case.asker, "SELECT id FROM probe WHERE {s} = 'A'"
    wanted = asker.expected(sql.format(s="s"))
    assert same(wanted, asker.found(sql.format(s="s")))
    assert not same(wanted, asker.found(sql.format(s="S")))


@pytest.fixture(scope="session")
def mysql_flavours(mysql_server: mysql.Server) -> Iterator[Callable[[str], Sample]]:
    """Makes the rows in MariaDB once for each flavour."""
    made: dict[str, Sample] = {}

    def make(name: str) -> Sample:
        if name not in made:
            made[name] = in_mysql(mysql_server, name)
        return made[name]

    yield make
    for sample in made.values():
        sample.connection.close()
        sample.reference.close()


# How texts compare by themselves differs most in the first two; the others are for the long run.
MYSQL_PAIRS = [
    pytest.param(flavour, name, marks=() if flavour in ("no_case", "padded") else pytest.mark.long)
    for flavour in MYSQL_FLAVOURS
    for name in (PROBES if flavour == "no_case" else TEXT_PROBES)
]


@pytest.mark.parametrize(("flavour", "name"), MYSQL_PAIRS)
def test_mysql(mysql_flavours: Callable[[str], Sample], flavour: str, name: str) -> None:
    """What is declared holds whatever the collation; what is not declared has a reason."""
    check(mysql_flavours(flavour), PROBES[name])


MYSQL_CONTROLS = {
    "no_case": "SELECT id FROM probe WHERE {s} = 'A'",
    "padded": "SELECT id FROM probe WHERE {s} = 'a'",
    "linguistic": "SELECT id FROM probe WHERE {s} > 'Z'",
    "char": "SELECT count(DISTINCT {s}) FROM probe",
    "latin": "SELECT a.id, b.id FROM probe AS a JOIN probe AS b ON a.{s} = b.{s}",
    "enum": "SELECT id FROM probe ORDER BY {s} ASC NULLS LAST, id ASC NULLS LAST LIMIT 9",
}


@pytest.mark.parametrize("flavour", MYSQL_CONTROLS)
def test_the_flavours_of_mysql_bite(
    mysql_flavours: Callable[[str], Sample], flavour: str
) -> None:
    """The control: without the cast and the collation MariaDB answers otherwise."""
    sample = mysql_flavours(flavour)
    asker, sql = sample.asker, MYSQL_CONTROLS[flavour]
    wanted = asker.expected(sql.format(s="s"))
    assert same(wanted, asker.found(sql.format(s="s")))
    assert not same(wanted, asker.found(sql.format(s="S")))


@pytest.mark.parametrize("kind", KINDS)
def test_every_declared_ability_has_a_probe(kind: str) -> None:
    """Nothing is declared that no probe looks at."""
    abilities = load_abilities(kind)
    declared = {f"{group}.{name}" for group in ("comparable", "sortable", "groupable", "casts")
                for name in getattr(abilities, group)}  # fmt: skip
    for group in ("functions", "aggregates"):
        for key, types in getattr(abilities, group).items():
            assert types, f"{group}.{key} must say for which types"
            declared |= {f"{group}.{key}.{name}" for name in types}
    assert declared <= set(PROBES)
    switches = {name for name in abilities.__slots__ if name.startswith("can_")}
    assert switches <= set(PROBES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_reason_is_needed(kind: str) -> None:
    """A reason for what is declared, or for nothing, is stale."""
    abilities = load_abilities(kind)
    for key in REASONS[kind]:
        probes = [one for one in PROBES.values() if one.name.startswith(key)]
        assert probes, key
        assert any(not one.declared(abilities) for one in probes), key


CONTROLS = {
    "linguistic": "SELECT id FROM probe WHERE {s} > 'Z'",
    "varchar": "SELECT id FROM probe WHERE {s} > 'Z'",
    "char": "SELECT id FROM probe WHERE {s} = 'a  '",
    # Its operators are not on the search path, its order of sorting is always with it.
    "citext": "SELECT count(DISTINCT {s}) FROM probe",
    "no_case": "SELECT a.id, b.id FROM probe AS a JOIN probe AS b ON a.{s} = b.{s}",
}


@pytest.mark.parametrize("flavour", CONTROLS, indirect=True)
def test_the_flavours_bite(flavour: Sample) -> None:
    """The control: without the cast and the collation PostgreSQL answers otherwise."""
    control = CONTROLS[flavour.flavour]
    asker = flavour.asker
    wanted = asker.expected(control.format(s="s"))
    assert same(wanted, asker.found(control.format(s="s")))
    # The rendering knows the column by its small letter only.
    assert not same(wanted, asker.found(control.format(s="S")))


def test_a_sum_beyond_double_is_an_error(server: Server) -> None:
    """Where DuckDB gives infinity: loud, and the one thing that sums of DOUBLE do otherwise."""
    sql = "SELECT sum(x) FROM (VALUES (1e308::float8), (1e308::float8)) AS v(x)"
    connection = load_connector("postgres").connect({"url": server.url("postgres")})
    with closing(connection), pytest.raises(ConnectorError, match="out of range"):
        list(connection.stream(Fragment(sql, (FragmentColumn("x", "DOUBLE"),), ())))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CAST(EXTRACT(YEAR FROM CAST('infinity' AS TIMESTAMP)) AS BIGINT)",
        "SELECT CAST(CAST('300000-01-01' AS DATE) AS TIMESTAMP)",
    ],
)
def test_moments_that_are_none_are_errors(sql: str, server: Server) -> None:
    """Which is why policies that ask for them stay with the gateway."""
    connection = load_connector("postgres").connect({"url": server.url("postgres")})
    with closing(connection), pytest.raises(ConnectorError, match=r"out of range|infinity"):
        list(connection.stream(Fragment(sql, (FragmentColumn("x", "VARCHAR"),), ())))


@pytest.mark.parametrize("text", ["infinity", "-infinity", "300000-01-01", "0044-03-15 (BC)"])
def test_days_without_end_have_parts_as_in_duckdb(text: str, server: Server) -> None:
    """Open ends are often written as infinity: to ask for their year must not fail."""
    days = (text.replace("(BC)", "BC"), text)
    parts = ", ".join(f"CAST({part}(d) AS VARCHAR) AS {part}" for part in
                      ("year", "quarter", "month", "day"))  # fmt: skip
    wanted = duckdb.execute(f"SELECT {parts} FROM (SELECT DATE '{days[1]}' AS d)").fetchall()
    tree = exp.Paren(this=sqlglot.parse_one(f"SELECT {parts} FROM x", read="duckdb"))
    checker = Checker(load_abilities("postgres"), lambda _: "DATE", (), "UTC")
    spelled(tree, checker.type_name)
    sql = tree.this.sql("postgres").replace(
        "FROM x", f"FROM (SELECT CAST('{days[0]}' AS DATE) AS d) AS x"
    )
    columns = tuple(FragmentColumn(one, "VARCHAR") for one in ("y", "q", "m", "d"))
    connection = load_connector("postgres").connect({"url": server.url("postgres")})
    with closing(connection):
        (batch,) = connection.stream(Fragment(sql, columns, ()))
    assert [tuple(one.as_py() for one in column) for column in batch.columns] == [
        (one,) for one in wanted[0]
    ]
