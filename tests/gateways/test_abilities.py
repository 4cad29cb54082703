"""Another gateway answers the conformance suite's statements as DuckDB itself does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import duckdb
import pytest

from connectors.base import Fragment, FragmentColumn, load_abilities, load_connector
from tests.connectors.conformance.samples import Sample
from tests.connectors.conformance.test_abilities import ITSELF, PROBES, difference


@pytest.fixture(scope="module")
def sample(far: str, held: duckdb.DuckDBPyConnection) -> Iterator[Sample]:
    """The rows as another gateway gives them."""
    settings = {"url": far, "user": "gate", "password": "gate-demo", "identity": "service"}
    with closing(load_connector("flightsql").connect(settings)) as connection:
        yield Sample("flightsql", "", "lab.probe", connection, held)


# Each goes through a whole gateway: every eighth in the short run.
SHARED_OUT = [
    pytest.param(name, marks=() if number % 8 == 0 else pytest.mark.long)
    for number, name in enumerate(ITSELF)
]


@pytest.mark.parametrize("name", SHARED_OUT)
def test_it_answers_as_duckdb(sample: Sample, name: str) -> None:
    assert difference(sample, PROBES[name]) is None


def test_flight_sql_by_its_adbc_driver(far: str, sample: Sample) -> None:
    """Any other server of the protocol is a source by the kind adbc."""
    settings = {
        "driver": "flightsql", "dialect": "duckdb", "uri": far.replace("grpc", "grpc+tcp"),
        "option.username": "gate", "option.password": "gate-demo",
    }  # fmt: skip
    with closing(load_connector("adbc").connect(settings)) as connection:
        made = Sample("flightsql", "", "lab.probe", connection, sample.reference)
        for name in ("groupable.TIMESTAMP WITH TIME ZONE", "aggregates.Sum.DECIMAL", "can_cte"):
            assert difference(made, PROBES[name]) is None
        found = {one.name: one.type for one in connection.columns("lab.probe.probe")}
        assert found["m"] == "decimal128(12, 2)"
        bound = Fragment("SELECT id FROM lab.probe WHERE id = ?1 AND s = '?'",
                         (FragmentColumn("id", "INTEGER"),), (), (1,), ("INTEGER",))  # fmt: skip
        assert list(connection.stream(bound)) == []


def test_the_live_columns_are_the_contracts(sample: Sample) -> None:
    """As DuckDB names their types, for the check of contracts against what lies there."""
    found = {one.name: one.type for one in sample.connection.columns("lab.probe.probe")}
    wanted = sample.reference.execute("DESCRIBE probe").fetchall()
    assert found == {row[0]: row[1] for row in wanted}
    assert sample.connection.columns("lab.probe.nothing") == ()
    assert all(
        one.type in one.contract_types for one in sample.connection.columns("lab.probe")
    )


def test_there_is_no_barrier_inside_a_statement() -> None:
    """So none is declared: a policy of this gateway runs as a statement of its own."""
    assert load_abilities("flightsql").barrier is None
