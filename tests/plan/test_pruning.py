"""What is sent for Parquet files lets DuckDB leave out partitions and row groups.

Takes: a folder in partitions by region, each in row groups of rising numbers and texts; a mesh made
of values with a policy on the partition. Gives: files and row groups read, as DuckDB's own profile
counts them for the statement that the plan sends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from catalog.model import Match, Policy
from connectors.base import Fragment, load_abilities, load_connector
from gateway.draft import PhysicalTable, PlanContext
from gateway.plan import plan
from gateway.resolve import Address
from tests.guard.test_cells import COLUMNS, grant, guarded_of, mesh_of

TABLE = "rows/**/*.parquet"
GROUPS = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two partitions of ten row groups each."""
    made: Path = tmp_path_factory.mktemp("pruning")
    rows = (
        "SELECT i::INTEGER AS id, CASE WHEN i % 2 = 0 THEN 'EU' ELSE 'US' END AS region, "
        "lpad(i::VARCHAR, 6, '0') AS a, 'b' AS b, (i % 7)::INTEGER AS n FROM range(40960) AS t(i)"
    )
    duckdb.execute(
        f"COPY ({rows}) TO '{made / 'rows'}' (FORMAT parquet, PARTITION_BY (region), "
        "ROW_GROUP_SIZE 2048)"
    )
    return made


def sent(sql: str, policy: str | None) -> Fragment:
    """The fragment of a statement."""
    policies = (Policy("f", "filter", Match(table="t"), filter=policy),) if policy else ()
    guarded = guarded_of(mesh_of((grant("all"),), policies), sql)
    physical = PhysicalTable("d.s", TABLE, {one: (one, kind) for one, kind in COLUMNS.items()})
    context = PlanContext(
        tables={Address("d", "p", "t"): physical},
        abilities={"d.s": load_abilities("files")},
        describe=lambda tree, values: ("INTEGER", "INTEGER", "VARCHAR"),
    )
    (made,) = plan(guarded, context).fragments
    return made.fragment


def profile(folder: Path, fragment: Fragment) -> dict[str, Any]:
    """The scan as DuckDB counts it, over the connector's own view."""
    connection = load_connector("files").connect({"path": str(folder), "format": "parquet"})
    with closing(connection), closing(duckdb.connect()) as plain:
        ((name, view),) = connection.in_place((TABLE,)).views  # type: ignore[attr-defined]
        plain.execute(f'CREATE VIEW "{name}" AS {view}')
        text = f"EXPLAIN (ANALYZE, FORMAT json) {fragment.sql}"
        found = plain.execute(text, list(fragment.parameters)).fetchall()[0][1]
        rows = sum(batch.num_rows for batch in connection.stream(fragment))
        assert rows == len(plain.execute(fragment.sql, list(fragment.parameters)).fetchall())
    (scan,) = _scans(json.loads(found)["operator"])
    return scan | {"rows": rows}


def _scans(operators: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in operators:
        if "row_groups_scanned" in one:
            yield one
        yield from _scans(one.get("children", []))


@pytest.mark.parametrize(
    ("where", "policy", "read"),
    [
        # The control: everything is read.
        ("n = 3", None, ("2", 2 * GROUPS, 5851)),
        ("id between 100 and 199", None, ("2", 2, 100)),
        ("region = 'EU' and id between 100 and 199", None, ("1", 1, 50)),
        ("id between 100 and 199", "region = 'EU'", ("1", 1, 50)),
        ("n = 3", "region = 'EU'", ("1", GROUPS, 2925)),
        # No safe predicate, but a range follows from it.
        ("a like '0199%'", "region = 'EU'", ("1", 1, 50)),
        ("left(a, 4) in ('0001', '0399')", "region = 'EU'", ("1", 2, 100)),
        ("id = 5 and n = 5", "region = 'US' and id < 3000", ("1", 1, 1)),
    ],
)
def test_what_is_read(
    where: str, policy: str | None, read: tuple[str, int, int], folder: Path
) -> None:
    """Files, row groups, and the rows that come of them."""
    scan = profile(folder, sent(f"select id, n, a from d.p where {where}", policy))
    files = scan["extra_info"]["Total Files Read"]
    assert (files, scan["row_groups_scanned"], scan["rows"]) == read
