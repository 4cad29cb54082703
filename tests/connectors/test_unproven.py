"""What a source's owner declares may make his answers wrong, and never what a policy hides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import duckdb
import pytest

from connectors.base import Abilities, declared_abilities
from gateway.errors import SourceFailed
from gateway.opening import OpenGateway
from gateway.pipeline import Gateway
from tests.small_mesh import SmallMesh, answer, opened_mesh, request

# Not true: the column compares without case, so `= 'a'` finds `A` too.
DECLARED = """
can_filter = true
can_sort = true
can_limit = true
comparable = ["VARCHAR", "INTEGER"]
sortable = ["INTEGER"]
"""
COLUMNS = {"id": "INTEGER", "tenant": "VARCHAR", "note": "VARCHAR"}
ROWS = "(1, 'a', 'mine'), (2, 'A', 'theirs'), (3, 'b', 'theirs'), (4, 'a', NULL)"


def small_mesh(declared: str) -> SmallMesh:
    return SmallMesh(
        domain="shop",
        source={
            "connector": "adbc",
            "settings": {
                "driver": "duckdb", "dialect": "duckdb", "path": "rows.duckdb",
                "option.access_mode": "read_only", "abilities": declared,
            },
        },
        tables={"guarded": ("main.t", COLUMNS), "open": ("main.t", COLUMNS)},
        users={"amy": {}},
        grants=tuple({"product": one, "subjects": [{"users": ["amy"]}]} for one in
                     ("guarded", "open")),
        policies=({"match": {"product": "guarded"}, "effect": {"filter": "tenant = 'a'"}},),
    )  # fmt: skip


@pytest.fixture(scope="module")
def gateway_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., OpenGateway]]:
    """Opens a gateway whose source declares something."""
    opened: list[OpenGateway] = []

    def make(declared: str) -> OpenGateway:
        folder = tmp_path_factory.mktemp("unproven")
        (folder / "data").mkdir()
        with duckdb.connect(folder / "data/rows.duckdb") as made:
            made.execute("CREATE TABLE t (id INTEGER, tenant VARCHAR COLLATE NOCASE, note VARCHAR)")
            made.execute(f"INSERT INTO t VALUES {ROWS}")
        opened.append(opened_mesh(folder, small_mesh(declared)))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def opened(gateway_of: Callable[..., OpenGateway]) -> OpenGateway:
    return gateway_of(DECLARED)


QUERIES = (
    "SELECT id FROM shop.guarded ORDER BY id",
    "SELECT id FROM shop.guarded WHERE tenant = 'A' OR id > 0 ORDER BY id",
    "SELECT id FROM shop.guarded WHERE id <> 3 ORDER BY id LIMIT 10",
)


@pytest.mark.parametrize("sql", QUERIES)
def test_a_policy_is_not_left_to_what_is_declared(opened: OpenGateway, sql: str) -> None:
    assert answer(opened, "amy", sql)["id"].to_pylist() == [1, 4]


def test_the_control_leaks(opened: OpenGateway) -> None:
    """Were it believed, the source would decide the policy, and another's row would come."""
    proven = replace(declared_abilities("adbc", "duckdb", DECLARED), is_unproven=False)

    def abilities_of(_: object) -> Abilities:
        return proven

    services: Any = replace(opened.gateway.services, abilities_of=abilities_of)
    gateway = Gateway(opened.publisher.current, services)
    result = gateway.answer(request(opened, "amy", QUERIES[0] + " -- believed"))
    found = [one for batch in result.batches() for one in batch.column(0).to_pylist()]
    assert found == [1, 2, 4]


def reason(opened: OpenGateway, sql: str) -> str:
    """What EXPLAIN says of the predicate: '' where it was pushed."""
    steps = answer(opened, "amy", f"EXPLAIN {sql}").to_pylist()
    (found,) = [
        one for one in steps if one["what"] in ("pushed", "stayed") and " = 3" in one["detail"]
    ]
    return str(found["why"]) if found["what"] == "stayed" else ""


def test_what_is_declared_is_pushed_where_nothing_is_hidden(
    opened: OpenGateway, gateway_of: Callable[..., OpenGateway]
) -> None:
    sql = "SELECT note FROM shop.{} WHERE id = 3"
    plain = gateway_of("")
    assert reason(opened, sql.format("open")) == ""
    assert "barrier" in reason(opened, sql.format("guarded"))
    assert reason(plain, sql.format("open")) != ""
    for one in (opened, plain):
        assert answer(one, "amy", sql.format("open"))["note"].to_pylist() == ["theirs"]
        assert answer(one, "amy", sql.format("guarded"))["note"].to_pylist() == []


def test_a_wrong_declaration_is_the_owners_error(gateway_of: Callable[..., OpenGateway]) -> None:
    """Nothing of it is used, and nothing is asked of the source."""
    wrong = gateway_of("barrier = 'OFFSET 0'")
    with pytest.raises(SourceFailed) as caught:
        answer(wrong, "amy", "SELECT id FROM shop.open")
    assert "barrier" in str(caught.value.private) and "barrier" not in caught.value.message
