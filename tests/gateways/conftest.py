"""Two gateways on loopback: the near one has the far one as its source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pytest

from gateway.certify.rows import reference
from gateway.opening import OpenGateway
from gateway.serve.flight.server import FlightEndpoint
from tests.small_mesh import SmallMesh, answer, opened_mesh

TYPES = {
    "id": "INTEGER", "region": "VARCHAR", "amount": "DECIMAL(12,2)", "email": "VARCHAR",
    "flag": "BOOLEAN", "small": "SMALLINT", "large": "BIGINT", "huge": "DECIMAL(38,0)",
    "ratio": "DOUBLE", "day": "DATE", "moment": "TIMESTAMP",
    "zoned": "TIMESTAMP WITH TIME ZONE", "clock": "TIME", "uid": "UUID", "bytes": "BLOB",
    "tags": "VARCHAR[]", "days": "DATE[]",
}  # fmt: skip
_ROWS = """
CREATE TABLE orders AS SELECT
    i::INTEGER AS id, ['north', 'south', 'east'][i % 3 + 1] AS region,
    (i * 10.25)::DECIMAL(12,2) AS amount, 'u' || i || '@example.org' AS email,
    CASE i % 3 WHEN 0 THEN true WHEN 1 THEN false END AS flag, (-i)::SMALLINT AS small,
    9223372036854775807 - i AS large, ('1' || repeat('0', 36))::DECIMAL(38,0) + i AS huge,
    CASE i WHEN 7 THEN 'nan'::DOUBLE WHEN 8 THEN '-infinity'::DOUBLE ELSE i / 7 END AS ratio,
    DATE '1969-12-25' + i::INTEGER AS day,
    TIMESTAMP '1970-01-01 00:00:00.000001' - i * INTERVAL 1 DAY AS moment,
    TIMESTAMPTZ '2024-03-31 01:30:00+00' + i * INTERVAL 1 HOUR AS zoned,
    TIME '00:00:00.5' + i * INTERVAL 1 MINUTE AS clock,
    ('00000000-0000-0000-0000-' || lpad(i::VARCHAR, 12, '0'))::UUID AS uid,
    ('\\x00\\xFF' || i)::BLOB AS bytes, ['a', NULL, i::VARCHAR] AS tags,
    [DATE '2024-02-29' + i::INTEGER] AS days
FROM range(30) AS r(i)
UNION ALL SELECT 100, 'north' COLUMNS_OF_NULLS
"""
_NULLS = ", NULL" * (len(TYPES) - 2)
# Rows of the far gateway by who asks; `gate` stands in for the others.
FAR = SmallMesh(
    domain="sales",
    source={"connector": "duckdb", "settings": {"path": "rows.duckdb"}},
    tables={
        "orders": ("main.orders", TYPES),
        "many": ("main.many", {"n": "BIGINT"}),
        "reasons": ("main.many", {"n": "BIGINT"}),
    },
    users={
        "amy": {"groups": ["staff"]}, "ben": {"groups": ["staff"]}, "kim": {},
        "gate": {"mayImpersonate": True}, "plain": {"groups": ["staff"]},
    },
    grants=(
        {"product": "orders", "subjects": [{"users": ["amy"]}], "scope": "region = 'north'"},
        {"product": "orders", "subjects": [{"users": ["ben"]}], "scope": "region = 'south'"},
        {"product": "orders", "subjects": [{"users": ["gate"]}]},
        {"product": "many", "subjects": [{"users": ["amy", "gate"]}]},
        {"product": "reasons", "subjects": [{"users": ["amy"]}], "purposes": ["audit"]},
        {"product": "reasons", "subjects": [{"users": ["amy"]}], "purposes": ["care"]},
    ),
    policies=(
        {"match": {"tags": ["mail"]}, "unless": [{"users": ["ben"]}],
         "effect": {"mask": {"kind": "constant", "value": "hidden"}}},
    ),
    tags={"email": ("mail",)},
    purposes={"audit": "To audit", "care": "To care"},
)  # fmt: skip
_NEAR_USERS = {
    name: {"groups": ["staff"]} for name in ("amy", "ben", "kim", "zoe", "josé")
}


def near(port: int, **settings: object) -> SmallMesh:
    """A mesh whose one source is the far gateway."""
    return SmallMesh(
        domain="hub",
        source={
            "connector": "flightsql",
            "settings": {"url": f"grpc://127.0.0.1:{port}", "user": "gate", **settings},
            "secrets": {"password": "FAR"},
        },
        tables={
            "orders": ("sales.orders.orders", TYPES),
            "small": ("sales.orders", {"id": "INTEGER", "amount": "DECIMAL(12,2)"}),
            "many": ("sales.many.many", {"n": "BIGINT"}),
            "reasons": ("sales.reasons", {"n": "BIGINT"}),
            "moved": ("sales.orders.orders", {"id": "INTEGER", "gone": "VARCHAR"}),
        },
        users=_NEAR_USERS,
        grants=tuple(
            {"product": name, "subjects": [{"groups": ["staff"]}]}
            for name in ("orders", "small", "many", "reasons", "moved")
        ),
        # Over and above what the far gateway does.
        policies=(
            {"match": {"product": "small"}, "effect": {"filter": "amount < 200"}},
        ),
        purposes={"audit": "To audit", "care": "To care", "other": "Other"},
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """Two gateways, and a DuckDB with all rows."""

    near: OpenGateway
    service: OpenGateway
    far: OpenGateway
    rows: duckdb.DuckDBPyConnection

    def ask(self, user: str, sql: str, **fields: object) -> pa.Table:
        """The near gateway's answer, by the caller's identity."""
        return answer(self.near, user, sql, **fields)

    def expected(self, sql: str) -> pa.Table:
        """DuckDB's answer over the rows of everybody."""
        return self.rows.sql(sql).to_arrow_table()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The far gateway served, two near ones over it: as the caller, and as a service."""
    folder = tmp_path_factory.mktemp("gateways")
    (folder / "far/data").mkdir(parents=True)
    rows = duckdb.connect()
    rows.execute("SET TimeZone = 'UTC'")
    rows.execute(_ROWS.replace(" COLUMNS_OF_NULLS", _NULLS))
    rows.execute("CREATE TABLE many AS SELECT range AS n FROM range(200000)")
    rows.execute(f"ATTACH '{folder}/far/data/rows.duckdb' AS file")
    for name in ("orders", "many"):
        rows.execute(f"CREATE TABLE file.{name} AS FROM {name}")
    rows.execute("DETACH file")
    far = opened_mesh(folder / "far", FAR)
    endpoint = FlightEndpoint(far, "127.0.0.1", 0)
    port = endpoint.start()
    opened = []
    for name in ("caller", "service"):
        secrets = folder / name / "data/secrets/hub"
        secrets.mkdir(parents=True)
        (secrets / "FAR").write_text("gate-demo")
        opened.append(opened_mesh(folder / name, near(port, identity=name)))
    yield Pair(opened[0], opened[1], far, rows)
    for one in opened:
        one.close()
    endpoint.stop()
    far.close()
    rows.close()


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
