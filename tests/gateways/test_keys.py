"""Keys and sizes over another gateway: what a join does not need stays there.

Takes: a gateway over a small file and over another gateway, whose account reads a part of a large
table. Gives: plain DuckDB's answers over the permitted rows, and how few of them came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa
import pytest

from connectors.base import Fragment, FragmentColumn, Sizing, load_abilities, load_connector
from connectors.key_texts import as_list
from gateway.opening import OpenGateway
from gateway.serve.flight.server import FlightEndpoint
from tests.differential.compare import assert_same
from tests.gateways.conftest import Pair
from tests.plain_mesh import PlainMesh, PlainSource, PlainTable, open_plain
from tests.small_mesh import SmallMesh, answer, opened_mesh

ROWS = 60_000
PERMITTED = "id < 45000 AND part <> 3"
# What trips up who writes texts into a list; every tenth row has the next of them.
TEXTS = [
    "a", "A", "a ", "", "it's", 'q"q', "back\\slash", "{b,c}", "NULL", "é", "x,y", "null", "[1]",
    "\n", " lead", "\\", "\\n", "(", "]", "😀", "a\tb", "a\0b",
]  # fmt: skip
_TYPES = {
    "id": "BIGINT", "part": "INTEGER", "note": "VARCHAR", "day": "DATE", "uid": "UUID",
    "text": "VARCHAR",
}  # fmt: skip
_PHYSICAL = {
    "id": "bigint", "part": "integer", "note": "text", "day": "date", "uid": "uuid", "text": "text",
}  # fmt: skip
_LARGE = f"""
CREATE TABLE large AS SELECT i AS id, (i // 7)::INTEGER AS part, md5(i::VARCHAR) AS note,
    DATE '1900-01-01' + (i // 7)::INTEGER AS day,
    ('00000000-0000-0000-0000-' || lpad(i::VARCHAR, 12, '0'))::UUID AS uid,
    CASE WHEN i % 10 THEN 't' || i ELSE $1[i // 10 % len($1) + 1] END AS text
FROM range({ROWS}) AS r(i)
"""
# Keys that the other has and keys that it has not, and one that is NULL.
_SMALL = """
CREATE TABLE small AS SELECT id, part, day, uid, text, (id % 5)::INTEGER AS mark FROM large
WHERE id % 1500 IN (0, 1, 70) UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, 0
UNION ALL SELECT -1, -1, DATE '0001-01-01', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'no such', 1
"""


@dataclass(frozen=True, slots=True)
class Keyed:
    """The near gateway, the far one and its address, all rows that may be read."""

    near: PlainMesh
    far: OpenGateway
    url: str
    rows: duckdb.DuckDBPyConnection

    def run(self, sql: str, **fields: object) -> tuple[pa.Table, int]:
        """The answer, and how many rows came from both sources."""
        result = self.near.start(sql, **fields)
        table = pa.Table.from_batches(list(result.batches()), result.schema)
        return table, sum(result.fetched.values())


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """Both gateways."""
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "far/data").mkdir(parents=True)
    rows = duckdb.connect()
    rows.execute("ATTACH ':memory:' AS far; ATTACH ':memory:' AS own")
    rows.execute(_LARGE.replace("$1", "(SELECT t FROM (SELECT ? AS t))"), [TEXTS] * 2)
    rows.execute(_SMALL)
    for name, path in (("large", "far/data/rows.duckdb"), ("small", "small.duckdb")):
        rows.execute(f"ATTACH '{folder}/{path}' AS file")
        rows.execute(f"CREATE TABLE file.{name} AS FROM {name}; DETACH file")
    rows.execute(f"CREATE TABLE far.large AS FROM large WHERE {PERMITTED}")
    rows.execute("CREATE TABLE own.small AS FROM small")
    far = opened_mesh(folder / "far", _far())
    endpoint = FlightEndpoint(far, "127.0.0.1", 0)
    url = f"grpc://127.0.0.1:{endpoint.start()}"
    near = open_plain(
        folder,
        {
            "far": PlainSource("flightsql", {"url": url, "user": "gate", "identity": "service"},
                               {"password": "gate-demo"}),
            "own": PlainSource("duckdb", {"path": "small.duckdb"}, {}),
        },
        [
            PlainTable("far", "large", "sales.large", _PHYSICAL),
            PlainTable("own", "small", "main.small", {
                **{name: kind for name, kind in _PHYSICAL.items() if name != "note"},
                "mark": "integer",
            }),
        ],
    )  # fmt: skip
    assert near.opened.services.learning is not None
    # By the declared prices, however busy the machine is meanwhile.
    near.opened.services.learning._seconds = 0
    yield Keyed(near, far, url, rows)
    near.close()
    endpoint.stop()
    far.close()
    rows.close()


def _far() -> SmallMesh:
    return SmallMesh(
        domain="sales",
        source={"connector": "duckdb", "settings": {"path": "rows.duckdb"}},
        tables=dict.fromkeys(("large", "aims"), ("main.large", _TYPES)),
        users={"gate": {}},
        grants=(
            {"product": "large", "subjects": [{"users": ["gate"]}], "scope": PERMITTED},
            {"product": "aims", "subjects": [{"users": ["gate"]}], "purposes": ["audit"]},
            {"product": "aims", "subjects": [{"users": ["gate"]}], "purposes": ["care"],
             "scope": "id < 40"},
        ),
        purposes={"audit": "To audit", "care": "To care"},
        gateway={"limits": {"requests_per_second": 0}},
    )  # fmt: skip


# A statement, and how many rows of both sources it may move at most: the small table has 122.
JOINS = (
    ("SELECT l.id, l.note FROM far.large l JOIN own.small s ON l.id = s.id", 300),
    ("SELECT l.id, s.mark FROM far.large l JOIN own.small s ON l.part = s.part", 1200),
    ("SELECT l.id FROM far.large l JOIN own.small s ON l.day = s.day WHERE s.mark = 1", 1200),
    ("SELECT l.id, s.uid FROM far.large l JOIN own.small s ON l.uid = s.uid", 300),
    ("SELECT s.mark, count(*) AS n, max(l.note) AS m FROM far.large l JOIN own.small s "
     "ON l.id = s.id WHERE l.note < 'c' GROUP BY s.mark", 300),
    ("SELECT s.id, l.note FROM own.small s LEFT JOIN far.large l ON l.id = s.id", 300),
    ("SELECT count(*) AS n FROM far.large WHERE id IN (SELECT id FROM own.small)", 300),
    ("SELECT id FROM far.large WHERE id IN (SELECT id FROM own.small WHERE mark = 9)", 300),
)  # fmt: skip


@pytest.mark.parametrize(("sql", "most"), JOINS)
def test_a_join_moves_what_it_needs(sql: str, most: int, keyed: Keyed) -> None:
    """The same answer as of all permitted rows in one place; without keys all of them come."""
    wanted = keyed.rows.sql(sql).to_arrow_table()
    found, moved = keyed.run(sql)
    assert_same(found, wanted, ordered=False)
    assert moved <= most
    found, moved = keyed.run(sql, push_down=False)
    assert_same(found, wanted, ordered=False)
    assert moved > ROWS / 2


def test_texts_arrive_as_they_are(keyed: Keyed) -> None:
    """Each odd one finds its rows and no others, one by one and all at once."""
    settings = {"url": keyed.url, "user": "gate", "password": "gate-demo", "identity": "service"}
    where = load_abilities("flightsql").keys.format(column='"text"', keys="$1", type="VARCHAR")
    sql = f'SELECT "text", count(*) FROM "sales"."large" WHERE {where} GROUP BY 1'
    columns = (FragmentColumn("text", "VARCHAR"), FragmentColumn("n", "BIGINT"))
    with closing(load_connector("flightsql").connect(settings)) as connection:
        for chosen in ([], TEXTS, *([one] for one in TEXTS)):
            keys = pa.array(chosen, pa.string())
            fragment = Fragment(sql, columns, ("sales.large",), (keys,), ("VARCHAR[]",))
            found = [row for one in connection.stream(fragment) for row in one.to_pylist()]
            wanted = keyed.rows.execute(
                'SELECT "text", count(*) FROM far.large WHERE list_contains($1::VARCHAR[], "text") '
                "GROUP BY 1", [chosen],
            ).fetchall()  # fmt: skip
            assert sorted(tuple(one.values()) for one in found) == sorted(wanted), chosen


@pytest.mark.parametrize(
    ("kind", "values"),
    [(pa.int64(), [0, -(2**63), 2**63 - 1]), (pa.string(), TEXTS), (pa.string(), [])],
)
def test_a_list_is_read_back(kind: pa.DataType, values: list[object]) -> None:
    name = "BIGINT" if pa.types.is_integer(kind) else "VARCHAR"
    found = duckdb.execute(f"SELECT CAST(? AS {name}[])", [as_list(pa.array(values, kind))])
    assert found.fetchone() == (values,)


def test_sizes_are_what_is_permitted(keyed: Keyed) -> None:
    """Rows behind the policy there, between which numbers and days; nothing of a text."""
    settings = {"url": keyed.url, "user": "gate", "password": "gate-demo", "identity": "service"}
    (rows,) = keyed.rows.sql("SELECT count(*), max(id) FROM far.large").fetchall()
    with closing(cast(Sizing, load_connector("flightsql").connect(settings))) as connection:
        found = connection.sizes(["sales.large", "sales.nothing", "sales.aims"])
    # Of what wants a purpose nothing is known without one.
    assert set(found) == {"sales.large"}
    size = found["sales.large"]
    assert size.rows == rows[0]
    assert size.columns["id"] == (None, 0.0, float(rows[1]))
    assert set(size.columns) == {"id", "part", "day"}


def test_nobody_is_counted_for_nobody(pair: Pair) -> None:
    """Where each caller has his own rows, no size is asked for: neither his nor the account's."""
    source = pair.near.publisher.current().mesh.sources["hub.held"]
    settings = {**source.settings, "password": "gate-demo"}
    with closing(cast(Sizing, load_connector("flightsql").connect(settings))) as connection:
        assert connection.sizes(["sales.orders.orders"]) == {}


def _expected(opened: OpenGateway, sql: str, **fields: object) -> list[tuple[str, str]]:
    shown = answer(opened, "amy", f"EXPLAIN {sql}", **fields).to_pylist()
    return [(one["detail"], one["why"]) for one in shown if one["what"] == "expected rows"]


@contextmanager
def _over_aims(keyed: Keyed, folder: Path, settings: Mapping[str, str]) -> Iterator[OpenGateway]:
    secrets = folder / "data/secrets/hub"
    secrets.mkdir(parents=True)
    (secrets / "FAR").write_text("gate-demo")
    mesh = SmallMesh(
        domain="hub",
        source={
            "connector": "flightsql", "secrets": {"password": "FAR"},
            "settings": {"url": keyed.url, "user": "gate", "identity": "service", **settings},
        },
        tables={"aims": ("sales.aims", {"id": "BIGINT"})},
        users={"amy": {}},
        grants=({"product": "aims", "subjects": [{"users": ["amy"]}]},),
        purposes={"audit": "To audit", "care": "To care"},
    )  # fmt: skip
    opened = opened_mesh(folder, mesh)
    yield opened
    opened.close()


def test_a_size_is_that_of_the_purpose(keyed: Keyed, tmp_path: Path) -> None:
    """The other may show other rows for another purpose, and its counts are no plan's but those."""
    sql = "SELECT id FROM hub.aims"
    with _over_aims(keyed, tmp_path / "told", {}) as opened:
        for _ in range(2):
            for purpose, rows in (("audit", ROWS), ("care", 40)):
                assert _expected(opened, sql, purpose=purpose) == [(str(rows), "from sizes")]
    with _over_aims(keyed, tmp_path / "fixed", {"purpose": "care"}) as opened:
        assert _expected(opened, sql, purpose="audit") == [("40", "from sizes")]


def test_a_callers_rows_are_learned_for_him_alone(pair: Pair) -> None:
    """By what came to him: his plan knows it, and nobody else's has it."""
    sql = "SELECT n FROM hub.many WHERE n % 700 = 3"
    learning = pair.near.services.learning
    assert learning is not None
    (before,) = _expected(pair.near, sql)
    rows = pair.ask("amy", sql).num_rows
    learning.refresh()
    assert rows == 286 and before != ("100", "a guess")
    assert _expected(pair.near, sql) == [("100", "a guess")]
    decision = "".join(one for one in learning.counts._counts if not one.startswith("own "))
    assert decision == "", "of such a source nothing is learned for a decision"
