"""The semantic traps of push-down over sources whose kind knows nothing of their database.

Takes: the statements of traps.yaml and traps_more.yaml, the sources of `any_source`. Gives:
equality with plain DuckDB, pushed and pulled; what is refused stands in any_source.yaml with its
code and the reason, and a refusal that is not there, or is no more, is a failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.demo.postgres import find_server
from gateway.errors import SqluiceError
from tests.differential.any_source import PRODUCTS, any_sources
from tests.differential.test_traps import CASES, WAYS, Way, check, is_whole
from tests.differential.traps_mesh import TrapsMesh, open_places
from tests.objects.store import serving
from tests.settled import settled

REFUSED: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("any_source.yaml").read_text(encoding="utf-8")
)
# Each request of the store's server costs milliseconds: there every so manieth is quick.
EVERY = 9


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrapsMesh]:
    """A gateway over all of them; the rows in objects on a server of S3's protocol."""
    folder = tmp_path_factory.mktemp("anywhere")
    with find_server(folder / "postgres") as server, serving() as store:
        made = open_places(folder, dict(any_sources(folder, server, store)))
        yield made
        made.close()
        server.discard()


def _refusals(product: str, sql: str, push_down: bool) -> list[dict[str, Any]]:
    way = "pushed" if push_down else "pulled"
    return [
        one for one in REFUSED
        if product in one["over"] and sql in (*one.get("both", ()), *one.get(way, ()))
    ]  # fmt: skip


def _ask(case: dict[str, Any], sql: str, way: Way, product: str, mesh: TrapsMesh) -> str:
    """Check one statement; gives its code where it is refused, as it has to be."""
    listed = _refusals(product, sql, way[1])
    if not listed:
        check(case, sql, way, product, mesh)
        return ""
    with pytest.raises(SqluiceError) as caught:
        check(case, sql, way, product, mesh)
    told = (caught.value.code, str(caught.value.private))
    assert any(one["code"] == told[0] and one["says"] in told[1] for one in listed), (told, sql)
    return caught.value.code


def _ways(product: str) -> tuple[Way, ...]:
    """All, but where a policy would read what the driver gives as something else than it is."""
    blind = any(product in one["over"] for one in REFUSED)
    return tuple(one for one in WAYS if one[0] == "open") if blind else WAYS


NUMBERED = [(number, *one) for number, one in enumerate(CASES)]
QUICK = [
    (*one, product)
    for one in NUMBERED
    for product in (
        PRODUCTS["objects"][one[0] // EVERY % 2 :][:1] if one[0] % EVERY == 0
        else PRODUCTS["drivers"][one[0] % len(PRODUCTS["drivers"]) :][:1]
    )
]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "case", "sql", "product"),
    QUICK,
    ids=[f"{product}-{case['trap']}-{sql[:60]}" for _, case, sql, product in QUICK],
)
def test_one_answer(
    number: int, case: dict[str, Any], sql: str, product: str, anywhere: TrapsMesh
) -> None:
    """Pushed, and in turn another way, of the products in turn."""
    ways = _ways(product)
    _ask(case, sql, ways[0], product, anywhere)
    if number % 2:
        _ask(case, sql, ways[1 + number % (len(ways) - 1)], product, anywhere)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("product", [*PRODUCTS["objects"], *PRODUCTS["drivers"]])
def test_one_answer_everywhere(product: str, anywhere: TrapsMesh) -> None:
    """All statements, all ways."""
    with settled():
        for case, sql in CASES:
            for way in _ways(product):
                _ask(case, sql, way, product, anywhere)


@pytest.mark.parametrize("product", [*PRODUCTS["objects"], *PRODUCTS["drivers"]])
def test_something_goes_down(product: str, anywhere: TrapsMesh) -> None:
    """Else the gateway would be compared with itself."""
    sql = f"select s, count(*) as n from traps.{product}.probe where i > 3 group by s"
    assert is_whole(anywhere.ask("open", f"explain {sql}"))


def test_every_refusal_has_its_reason() -> None:
    """And all that is listed is asked."""
    asked = {sql for _, sql in CASES}
    for one in REFUSED:
        listed = {sql for way in ("both", "pushed", "pulled") for sql in one.get(way, ())}
        assert one["why"] and listed and listed <= asked


def test_a_rule_over_what_does_not_fit_permits_nothing(anywhere: TrapsMesh) -> None:
    """Why the products with refusals are asked by whoever sees everything alone."""
    sql = "select id from traps.adbc_sqlite.probe"
    assert anywhere.ask("narrow", sql).num_rows == 0
    assert anywhere.ask("open", sql).num_rows > 0
