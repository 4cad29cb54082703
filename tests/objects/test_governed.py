"""Objects under policies: hidden rows decide nothing, and secrets are secrets."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gateway.draft import TableSize
from gateway.errors import SqluiceError
from gateway.opening import OpenGateway
from gateway.resolve import Address
from gateway.statistics import Statistics
from tests.objects.store import BUCKET, Store
from tests.served import within
from tests.small_mesh import SmallMesh, answer, opened_mesh

COLUMNS = {"id": "INTEGER", "tenant": "VARCHAR", "note": "VARCHAR"}
TEXT = "id,tenant,note\n1,a,10\n2,b,word\n3,a,30\n4,b,%\\\n"


def small_mesh(store: Store, form: str, **settings: str) -> SmallMesh:
    return SmallMesh(
        domain="lake",
        source={
            "connector": "objects",
            "settings": {
                "store": "s3", "bucket": BUCKET, "prefix": "governed", "format": form,
                "endpoint": f"127.0.0.1:{store.port}", **settings,
            },
            "secrets": {"access_key": "KEY", "secret_key": "SECRET"},
        },
        tables={"notes": (f"notes.{form}", COLUMNS)},
        users={"amy": {}, "eve": {}},
        grants=(
            {"product": "notes", "subjects": [{"users": ["amy"]}], "scope": "tenant = 'a'"},
            {"product": "notes", "subjects": [{"users": ["eve"]}]},
        ),
    )  # fmt: skip


def gateway_over(folder: Path, store: Store, form: str) -> OpenGateway:
    (folder / "data/secrets/lake").mkdir(parents=True)
    for name in ("KEY", "SECRET"):
        (folder / "data/secrets/lake" / name).write_text(f"the {name}".replace(" ", "-"))
    rows = [line.split(",") for line in TEXT.splitlines()[1:]]
    table = pa.table({
        "id": pa.array([int(row[0]) for row in rows], pa.int32()),
        "tenant": [row[1] for row in rows], "note": [row[2] for row in rows],
    })  # fmt: skip
    sink = io.BytesIO()
    pq.write_table(table, sink)
    store.put("governed/notes.csv", TEXT.encode())
    store.put("governed/notes.parquet", sink.getvalue())
    return opened_mesh(folder, small_mesh(store, form))


@pytest.fixture(scope="module", params=["csv", "parquet"])
def gateway(
    request: pytest.FixtureRequest, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenGateway]:
    """A gateway whose one table lies in the store."""
    opened = gateway_over(tmp_path_factory.mktemp("governed"), store, request.param)
    yield opened
    opened.close()


# Each fails, or matches, on a hidden row.
STATEMENTS = (
    ("SELECT sum(CAST(note AS INTEGER)) AS n FROM lake.notes", [40]),
    ("SELECT id AS n FROM lake.notes WHERE CAST(note AS INTEGER) > 20", [3]),
    ("SELECT count(*) AS n FROM lake.notes WHERE 60 / (id - 2) IS NOT NULL", [2]),
    ("SELECT count(*) AS n FROM lake.notes WHERE tenant = 'b'", [0]),
    ("SELECT max(id) AS n FROM lake.notes", [3]),
    ("SELECT id AS n FROM lake.notes ORDER BY id LIMIT 2", [1, 3]),
)


@pytest.mark.parametrize(("sql", "wanted"), STATEMENTS)
@pytest.mark.parametrize("push_down", [True, False])
def test_hidden_rows_meet_nothing(
    gateway: OpenGateway, sql: str, wanted: list[int], push_down: bool
) -> None:
    assert answer(gateway, "amy", sql, push_down=push_down)["n"].to_pylist() == wanted


@pytest.mark.parametrize(("user", "is_told"), [("amy", False), ("eve", True)])
def test_the_size_of_hidden_rows_is_not_told(
    gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch, user: str, is_told: bool
) -> None:
    """Neither footers nor bytes reach the plan of whom a policy restricts; else they do."""
    real, known = Statistics.permitted, list[Address]()

    def told(self: Statistics, *given: Any) -> Mapping[Address, TableSize]:  # noqa: ANN401 - as given
        found = real(self, *given)
        known.extend(found)
        return found

    statistics = gateway.services.statistics
    assert statistics is not None
    monkeypatch.setattr(Statistics, "permitted", told)
    sql = "SELECT a.id FROM lake.notes a JOIN lake.notes b ON a.id = b.id"
    answer(gateway, user, sql)
    assert within(60, lambda: not statistics.is_asking(("lake.held",)))
    known.clear()
    answer(gateway, user, f"{sql} WHERE a.id > 0")
    assert bool(known) is is_told


def test_the_secrets_arrive(gateway: OpenGateway, store: Store) -> None:
    store.asked.clear()
    answer(gateway, "amy", "SELECT id FROM lake.notes WHERE id < 100")
    assert store.asked and all("Credential=the-KEY/" in one.authorization for one in store.asked)
    assert not any("the-SECRET" in one.authorization for one in store.asked)


def test_secrets_do_not_stand_in_a_domains_file(store: Store, tmp_path: Path) -> None:
    """What is written there is no secret: the source is not opened."""
    opened = opened_mesh(tmp_path, small_mesh(store, "csv", session_token="written-down"))
    try:
        with pytest.raises(SqluiceError) as caught:
            answer(opened, "amy", "SELECT id FROM lake.notes")
        assert caught.value.code == "source_unavailable"
        assert "session_token" in str(caught.value.private)
        assert "written-down" not in str(caught.value.private)
    finally:
        opened.close()
