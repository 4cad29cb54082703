"""SELECT 1 and its like: no engine, no audit, the same shape as the engine's; all else as ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from gateway.audit import history
from gateway.errors import RateLimited, UnsupportedSql
from gateway.opening import OpenGateway
from tests.small_mesh import SmallMesh, answer, opened_mesh, request

MESH = SmallMesh(
    "sales",
    {"connector": "duckdb", "settings": {"path": "held.duckdb"}},
    {"orders": ("orders", {"id": "BIGINT"})},
    {"amy": {"groups": ["all"]}},
)
PROBES = ("SELECT 1", "select 1 AS one, 42", 'SELECT 7 "A b" ;', "SELECT 0")
OTHERS = (
    "SELECT 1 LIMIT 1", "SELECT 01", "SELECT -1", "SELECT 1.5", "SELECT '1'", "SELECT 1, 1",
    "SELECT 1234567890", "SELECT DISTINCT 1", "SELECT 1 WHERE false", "VALUES (1)",
    "SELECT 1 UNION SELECT 1", "WITH a AS (SELECT 1) SELECT 1",
)  # fmt: skip


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenGateway]:
    """A mesh of which nothing is asked."""
    made = opened_mesh(tmp_path_factory.mktemp("probing"), MESH)
    yield made
    made.close()


def _audited(gateway: OpenGateway) -> list[str]:
    return [one.statement for one in history(gateway.state, 500)]


@pytest.mark.parametrize("sql", PROBES)
def test_a_probe_has_the_engine_s_shape_and_no_record(gateway: OpenGateway, sql: str) -> None:
    before = _audited(gateway)
    told = gateway.gateway.describe(request(gateway, "amy", sql)).schema
    found = answer(gateway, "amy", sql)
    assert _audited(gateway) == before
    # The same by the engine, which has to be asked where rows may be cut.
    by_engine = answer(gateway, "amy", f"{sql.removesuffix(';')} LIMIT 1")
    assert len(_audited(gateway)) == len(before) + 1
    assert found.equals(by_engine)
    assert found.schema.equals(by_engine.schema, check_metadata=True)
    assert told.equals(found.schema, check_metadata=True)


@pytest.mark.parametrize("sql", OTHERS)
def test_everything_else_is_a_request_with_its_record(gateway: OpenGateway, sql: str) -> None:
    before = _audited(gateway)
    assert isinstance(answer(gateway, "amy", sql), pa.Table)
    assert len(_audited(gateway)) == len(before) + 1


def test_a_probe_with_values_is_refused_as_ever(gateway: OpenGateway) -> None:
    with pytest.raises(UnsupportedSql):
        answer(gateway, "amy", "SELECT 1", parameters=(1,))


def test_a_probe_counts_as_a_request(tmp_path: Path) -> None:
    limited = SmallMesh(
        MESH.domain, MESH.source, MESH.tables, MESH.users,
        gateway={"limits": {"requests_per_second": 1}},
    )  # fmt: skip
    gateway = opened_mesh(tmp_path, limited)
    try:
        with pytest.raises(RateLimited):
            for _ in range(50):
                answer(gateway, "amy", "SELECT 1")
    finally:
        gateway.close()
