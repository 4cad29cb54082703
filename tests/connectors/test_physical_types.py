"""Which types of PostgreSQL a contract can say, and what it is told of the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pytest

from connectors.base import load_connector
from gateway.demo.postgres import Server
from gateway.opening import OpenGateway
from gateway.source_check import check_sources
from tests.connectors.physical import PHYSICAL, TABLE, Physical, fill
from tests.small_mesh import SmallMesh, answer, opened_mesh

DATABASE = "physical_types"
_SAID = [one for one in PHYSICAL if one.type]
# What is pushed down where a type compares as its text does, and what is not.
FORMS = (
    "select id from stock.odd where {name} = {value}",
    "select id from stock.odd where {name} in ({value}, lower({value}), upper({value}))",
    "select {name}, count(*) as n from stock.odd group by 1 order by 1 nulls first",
    "select max({name}) as x, count(distinct {name}) as n from stock.odd",
    "select a.id from stock.odd as a join stock.odd as b on a.{name} = b.{name} order by 1",
    "select id from stock.odd order by {name} desc nulls last, id limit 1",
)


@dataclass(frozen=True, slots=True)
class Held:
    """A gateway over a table with a column of each type that its server has."""

    columns: tuple[Physical, ...]
    server: Server
    opened: OpenGateway


def _opened(
    server: Server, folder: Path, columns: tuple[Physical, ...], unsaid: str = ""
) -> OpenGateway:
    types = {one.name: one.type or unsaid for one in columns if one.type or unsaid}
    (folder / "data" / "secrets" / "stock").mkdir(parents=True)
    (folder / "data" / "secrets" / "stock" / "URL").write_text(server.url(DATABASE))
    mesh = SmallMesh(
        "stock", {"connector": "postgres", "secrets": {"url": "URL"}},
        {"odd": (f"public.{TABLE}", {"id": "INTEGER", **types})}, {"amy": {}},
        grants=({"product": "odd", "subjects": [{"users": ["amy"]}]},),
    )  # fmt: skip
    return opened_mesh(folder, mesh)


@pytest.fixture(scope="module")
def held(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    server.run("postgres", f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
    columns = fill(server, DATABASE)
    with closing(_opened(server, tmp_path_factory.mktemp("physical"), columns)) as opened:
        yield Held(columns, server, opened)


@pytest.mark.parametrize("one", PHYSICAL, ids=[one.name for one in PHYSICAL])
def test_what_a_contract_may_call_it(one: Physical, held: Held) -> None:
    if one not in held.columns:
        pytest.skip(f"the server has no extension {one.extension}")
    url = held.server.url(DATABASE)
    with closing(load_connector("postgres").connect({"url": url})) as session:
        found = {column.name: column for column in session.columns(f"public.{TABLE}")}
    types = found[one.name].contract_types
    assert one.type in types if one.type else (not types and one.why)


@pytest.mark.parametrize("one", _SAID, ids=[one.name for one in _SAID])
def test_a_value_is_what_the_contract_says(one: Physical, held: Held) -> None:
    if one not in held.columns:
        pytest.skip(f"the server has no extension {one.extension}")
    with duckdb.connect() as oracle:
        sql = f"SELECT CAST({one.gives} AS {one.type}) AS x UNION ALL SELECT NULL"
        wanted = oracle.sql(sql).to_arrow_table()
    found = answer(held.opened, "amy", f"select {one.name} from stock.odd order by id")
    assert found.column(0).to_pylist() == wanted.column(0).to_pylist()
    assert found.column(0).type == wanted.column(0).type
    for form in FORMS:
        if "upper" in form and one.type != "VARCHAR":
            continue
        statement = form.format(name=one.name, value=f"cast({one.gives} as {one.type})")
        pushed, pulled = (
            answer(held.opened, "amy", statement, push_down=is_pushed).to_pylist()
            for is_pushed in (True, False)
        )
        assert pushed == pulled and pulled, statement


def test_who_declares_what_cannot_be_said_is_told_what_to_do(held: Held, tmp_path: Path) -> None:
    """As text, which many would try; what can be said is the control."""
    with closing(_opened(held.server, tmp_path, held.columns, unsaid="VARCHAR")) as opened:
        published = opened.publisher.current().mesh
    domains = tuple(one for one in published.domains if one.name == "stock")
    products = tuple(one for one in published.products if one.domain == "stock")
    problems = check_sources(
        replace(published, domains=domains, products=products),
        lambda _: load_connector("postgres").connect({"url": held.server.url(DATABASE)}),
    )
    told = {one.message.split(":")[0].rpartition(".")[2]: one for one in problems}
    assert set(told) == {one.name for one in held.columns if not one.type}
    for one in told.values():
        assert one.code == "type_mismatch"
        assert "view" in one.remedy and "CAST" in one.remedy
