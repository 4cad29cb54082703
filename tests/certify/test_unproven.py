"""Sources that declare their own abilities, and object stores: what certifying finds of them.

Takes: PostgreSQL and SQLite by the connectors of any driver. Gives: what holds of a right
declaration, what is taken away of a wrong one, and that it stays away from plans.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import pytest
from click.testing import CliRunner, Result

import gateway.cli.certify as command
from connectors.base import declared_abilities, load_abilities, load_connector
from gateway.certify.certificate import certified
from gateway.certify.rows import can_certify
from gateway.certify.run import Subject, certify
from gateway.demo.postgres import Server
from gateway.opening import OpenGateway, declared_of
from tests.certify.test_certify import only
from tests.objects.store import serving
from tests.small_mesh import SmallMesh, answer, opened_mesh

NOTHING: Mapping[str, tuple[str, ...]] = MappingProxyType({})
POSTGRES = """
can_filter = true
text_cast = "TEXT"
text_collation = '"C"'
comparable = ["INTEGER", "VARCHAR"]
functions = {Like = ["VARCHAR"], Sign = ["INTEGER"], Round = ["DOUBLE"]}
"""
SQLITE = """
can_filter = true
comparable = ["INTEGER", "VARCHAR"]
functions = {Like = ["VARCHAR"], Coalesce = ["INTEGER"]}
"""
# It tells no small letters from large ones.
LIKE = "SELECT id FROM shop.held WHERE note LIKE '%M%e' ORDER BY id"


@pytest.mark.parametrize("kind", ["adbc", "sqlalchemy"])
def test_what_is_found_of_postgres_by_its_drivers(
    kind: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds is proved, what its owner said too much is taken away, and nothing is added."""
    only(monkeypatch, "comparable.", "functions.Like", "functions.Sign", "functions.Round")
    url = server.url("postgres")
    settings = {
        "adbc": {"driver": "postgresql", "uri": url},
        "sqlalchemy": {"url": url.replace("postgresql://", "postgresql+psycopg://")},
    }[kind]
    declared = declared_abilities(kind, "postgres", POSTGRES)
    settings |= {"dialect": "postgres", "abilities": POSTGRES}
    with closing(load_connector(kind).connect(settings)) as connection:
        made = certify(Subject("d.s", kind, declared, NOTHING), connection)
    assert set(made.proved) == {
        "comparable.INTEGER", "comparable.VARCHAR", "functions.Like.VARCHAR",
        "functions.Sign.INTEGER",
    }  # fmt: skip
    assert [one.ability for one in made.disproved] == ["functions.Round.DOUBLE"]
    assert made.version and made.can_stage is True and made.bytewise == () and made.barrier is None
    left = certified(declared, made, is_current=True)
    assert "Round" not in left.functions and left.is_unproven
    assert (left.comparable, left.barrier) == (declared.comparable, None)


def test_what_is_found_of_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is DuckDB itself; what its statements cost without a table tells nothing of the store."""
    only(monkeypatch, "groupable.VARCHAR", "can_sort")
    declared = load_abilities("objects")
    with serving() as store:
        settings = {**store.settings, "format": "parquet"}
        with closing(load_connector("objects").connect(settings)) as connection:
            made = certify(Subject("d.s", "objects", declared, NOTHING), connection)
        assert store.bytes_read == 0
    assert made.differs == () and made.version and dict(made.prices) == {}
    assert all(one.is_same for one in made.facts)


def opened_over(folder: Path, connector: str, **source: object) -> OpenGateway:
    """A gateway over a SQLite file, by a connector."""
    path = folder / "notes.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE t (id INTEGER, note TEXT)")
        made.executemany("INSERT INTO t VALUES (?, ?)", [(1, "Mine"), (2, "mine"), (3, None)])
        made.commit()
    (folder / "data/secrets/shop").mkdir(parents=True)
    (folder / "data/secrets/shop/URL").write_text(f"sqlite:///{path}")
    mesh = SmallMesh(
        domain="shop",
        source={"connector": connector, **source},
        tables={"held": ("t", {"id": "INTEGER", "note": "VARCHAR"})},
        users={"amy": {}},
        grants=({"product": "held", "subjects": [{"users": ["amy"]}]},),
    )
    return opened_mesh(folder, mesh)


@pytest.fixture
def by_any_dialect(tmp_path: Path) -> Iterator[OpenGateway]:
    """A gateway whose source declares more than SQLite keeps."""
    settings = {"dialect": "sqlite", "abilities": SQLITE}
    made = opened_over(tmp_path, "sqlalchemy", settings=settings, secrets={"url": "URL"})
    yield made
    made.close()


def stayed(opened: OpenGateway, sql: str) -> bool:
    """Whether the filter of the statement stays with the gateway."""
    steps = answer(opened, "amy", f"EXPLAIN {sql}").to_pylist()
    (found,) = [one for one in steps if one["what"] in ("pushed", "stayed")
                and "LIKE" in one["detail"]]  # fmt: skip
    return bool(found["what"] == "stayed")


def ask(opened: OpenGateway, *arguments: str) -> Result:
    """`sqluice certify` over the same state."""
    given = [*arguments, "--conf", str(opened.config.folder)]
    return CliRunner().invoke(command.certify, given, env={})


@pytest.mark.usefixtures("quick")
def test_what_an_owner_declared_too_much_is_not_pushed_any_more(
    by_any_dialect: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It made wrong answers until then."""
    only(monkeypatch, "functions.Like", "functions.Coalesce.INTEGER")
    monkeypatch.setattr("gateway.abilities.FOLLOW_SECONDS", 0.0)
    assert not stayed(by_any_dialect, LIKE)
    assert answer(by_any_dialect, "amy", LIKE)["id"].to_pylist() == [1, 2]
    result = ask(by_any_dialect, "shop.held")
    assert result.exit_code == 1 and "functions.Like.VARCHAR" in result.output, result.output
    assert stayed(by_any_dialect, LIKE)
    assert answer(by_any_dialect, "amy", LIKE)["id"].to_pylist() == [1]
    source = by_any_dialect.publisher.current().mesh.sources["shop.held"]
    left = by_any_dialect.abilities.of(source)
    assert left.is_unproven and left.functions == {"Coalesce": ("INTEGER",)} and left.can_filter
    assert left.taken == {"functions.Like.VARCHAR"}


def test_what_is_switched_off_stays_off(by_any_dialect: OpenGateway) -> None:
    """Though the source's settings still declare it."""
    assert not stayed(by_any_dialect, LIKE)
    by_any_dialect.abilities.switch_off("shop.held", "functions.Like.VARCHAR", {}, "q")
    assert stayed(by_any_dialect, LIKE)
    assert answer(by_any_dialect, "amy", LIKE)["id"].to_pylist() == [1]


def test_what_cannot_be_certified_is_told_and_is_no_failure(tmp_path: Path) -> None:
    """Among all; an error where it is named."""
    settings = {"driver": "sqlite", "dialect": "sqlite", "uri": f"file:{tmp_path}/notes.sqlite"}
    opened = opened_over(tmp_path, "adbc", settings=settings)
    with closing(opened):
        source = opened.publisher.current().mesh.sources["shop.held"]
        assert not can_certify(source.kind, declared_of(source).dialect)
        every, as_json = ask(opened, "--all"), ask(opened, "--all", "--json")
        assert every.exit_code == 0 and every.output == "shop.held: not certifiable\n"
        assert json.loads(as_json.output) == {
            "sources": [], "errors": {}, "not_certifiable": ["shop.held"],
        }  # fmt: skip
        named = ask(opened, "shop.held")
        assert named.exit_code == 1 and "cannot be certified" in named.output
