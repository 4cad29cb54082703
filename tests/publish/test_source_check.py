"""Contracts against live sources: a database file that differs from what is promised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest

from catalog.model import Column, Domain, Mesh, Place, Product, Source, Table, Taxonomy
from connectors.base import Connection, ConnectorError, load_connector
from gateway.errors import InvalidConfig
from gateway.source_check import check_sources

PLACE = Place("domains/fleet/contracts/aircraft.odcs.yaml", "schema[0]", 12)
LIVE = "CREATE TABLE planes (tailnum VARCHAR NOT NULL, year INTEGER, seats BIGINT, wings DOUBLE)"


def _mesh(path: str, *columns: Column, table: str = "planes") -> Mesh:
    source = Source("fleet", "registry", "duckdb", {"path": path})
    shape = Table("planes", table, columns, place=PLACE)
    product = Product("fleet", "aircraft", "1.0.0", "active", source.identity, (shape,), "c1")
    domain = Domain("fleet", "", (), (source,))
    return Mesh("r", (domain,), (product,), (), (), (), Taxonomy(), ())


def _open(source: Source) -> Connection:
    return load_connector(source.kind).connect(source.settings)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A file with one table."""
    path = str(tmp_path / "fleet.duckdb")
    with duckdb.connect(path) as connection:
        connection.execute(LIVE)
    return path


def test_a_contract_that_is_kept_has_no_problems(database: str) -> None:
    columns = (
        Column("tail", "VARCHAR", "tailnum", required=True), Column("seats", "BIGINT", "seats"),
    )
    assert check_sources(_mesh(database, *columns), _open) == ()


@pytest.mark.parametrize(
    ("column", "code", "words"),
    [
        (Column("model", "VARCHAR", "model"), "missing_column", "no column 'model'"),
        (Column("year", "VARCHAR", "year"), "type_mismatch", "says VARCHAR, the source has"),
        (Column("seats", "INTEGER", "seats"), "type_mismatch", "has BIGINT"),
        (Column("year", "INTEGER", "year", required=True), "nullable", "allows NULL"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_each_difference_is_named(column: Column, code: str, words: str, database: str) -> None:
    (problem,) = check_sources(_mesh(database, column), _open)
    assert problem.code == code
    assert words in problem.message and problem.remedy
    assert problem.message.startswith("fleet.aircraft.planes") and column.name in problem.message
    assert str(problem).startswith(f"{PLACE.file}:12 schema[0]")
    assert problem.is_warning == (code == "nullable")


def test_a_missing_table_is_one_problem(database: str) -> None:
    columns = (Column("a", "VARCHAR", "a"), Column("b", "VARCHAR", "b"))
    (problem,) = check_sources(_mesh(database, *columns, table="aeroplanes"), _open)
    assert (problem.code, "'aeroplanes'" in problem.message) == ("missing_table", True)


def test_a_source_that_is_down_is_one_problem_without_its_words(tmp_path: Path) -> None:
    path = str(tmp_path / "hidden-word.duckdb")
    (problem,) = check_sources(_mesh(path, Column("a", "VARCHAR", "a")), _open)
    assert problem.code == "source_unavailable"
    assert "hidden-word" not in str(problem)
    assert problem.place.file == "domains/fleet/domain.yaml"


def test_settings_that_make_no_sense_are_one_problem(database: str) -> None:
    def confused(_: Source) -> Connection:
        raise ConnectorError("hidden-word")

    (problem,) = check_sources(_mesh(database, Column("a", "VARCHAR", "a")), confused)
    assert (problem.code, "hidden-word" in str(problem)) == ("source_error", False)


def test_a_missing_secret_is_one_problem(database: str) -> None:
    def without(_: Source) -> Connection:
        raise InvalidConfig("The secret URL of domain fleet is missing.", hint="Set it.")

    (problem,) = check_sources(_mesh(database, Column("a", "VARCHAR", "a")), without)
    assert (problem.code, problem.remedy) == ("invalid_config", "Set it.")


def test_connections_are_closed(database: str) -> None:
    opened: list[Connection] = []

    def remember(source: Source) -> Connection:
        opened.append(_open(source))
        return opened[-1]

    check_sources(_mesh(database, Column("a", "VARCHAR", "a")), remember)
    settings: Mapping[str, str] = {"path": database}
    assert len(opened) == 1
    with pytest.raises(ConnectorError):
        opened[0].ping()
    load_connector("duckdb").connect(settings).close()
