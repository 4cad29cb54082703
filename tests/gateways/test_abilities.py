"""Another gateway answers the conformance suite's statements as DuckDB itself does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import duckdb
import pytest

from connectors.base import Fragment, FragmentColumn, load_abilities, load_connector
from gateway.certify.rows import reference
from gateway.serve.flight.server import FlightEndpoint
from tests.connectors.conformance.samples import Sample
from tests.connectors.conformance.test_abilities import ITSELF, PROBES, difference
from tests.small_mesh import SmallMesh, opened_mesh


@pytest.fixture(scope="module")
def held() -> Iterator[duckdb.DuckDBPyConnection]:
    """The rows in DuckDB."""
    with reference() as made:
        yield made


@pytest.fixture(scope="module")
def far(
    tmp_path_factory: pytest.TempPathFactory, held: duckdb.DuckDBPyConnection
) -> Iterator[str]:
    """The address of a gateway over the rows in a DuckDB file."""
    folder = tmp_path_factory.mktemp("far")
    (folder / "data").mkdir()
    held.execute(f"ATTACH '{folder}/data/rows.duckdb' AS file")
    held.execute("CREATE TABLE file.probe AS FROM probe; DETACH file")
    columns = {row[0]: row[1] for row in held.execute("DESCRIBE probe").fetchall()}
    mesh = SmallMesh(
        domain="lab",
        source={"connector": "duckdb", "settings": {"path": "rows.duckdb"}},
        tables={"probe": ("main.probe", columns)},
        users={"gate": {}},
        grants=({"product": "probe", "subjects": [{"users": ["gate"]}]},),
        gateway={"limits": {"requests_per_second": 0}},
    )
    opened = opened_mesh(folder, mesh)
    endpoint = FlightEndpoint(opened, "127.0.0.1", 0)
    yield f"grpc://127.0.0.1:{endpoint.start()}"
    endpoint.stop()
    opened.close()


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
