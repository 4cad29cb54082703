"""Databases of PostgreSQL whose texts are not in UTF-8: right, or refused in clear words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from connectors.base import ConnectorError, Fragment, FragmentColumn, load_connector
from gateway.demo.postgres import Server
from gateway.errors import TypeMismatch
from gateway.opening import OpenGateway
from tests.small_mesh import SmallMesh, answer, opened_mesh

WORDS = ("é", "ß", "z", "Ä", "a", "~", "ÿ", "\xa0", None, "é" * 300)
# Somebody whom a policy restricts is asked the same.
USERS = {"all": {}, "part": {"groups": ["part"]}}
RIGHT = (
    "select w from stock.words where w is not null order by w",
    "select w from stock.words where w = 'é'",
    "select id from stock.words where w <> 'é' order by id",
    "select id from stock.words where w > 'ß' and w < 'ÿ' order by id",
    "select id from stock.words where w in ('é', 'ÿ', 'x') order by id",
    "select w, count(*) as n from stock.words group by w order by w nulls first",
    "select min(w) as least, max(w) as most, count(distinct w) as n from stock.words",
    "select id from stock.words where w like '%é%' or starts_with(w, 'Ä') order by id",
    "select length(w) as l, left(w, 1) as f, w || 'é' as x, replace(w, 'é', 'ß') as r "
    "from stock.words order by id",
    "select a.id, b.id as other from stock.words a join stock.words b on a.w = b.w "
    "order by 1, 2",
    "select code from stock.words order by id",
)
REFUSED = (
    "select id from stock.words where w = '漢'",
    "select id from stock.words where w <> '漢'",
    "select id from stock.words where w < 'あ'",
    "select id from stock.words where w in ('é', '漢')",
    "select id from stock.words where w like '%漢%'",
    "select id from stock.words where w || '漢' = 'é漢'",
)  # fmt: skip


def _database(server: Server, encoding: str) -> str:
    name = f"in_{encoding.lower()}"
    server.run(
        "postgres",
        f"DROP DATABASE IF EXISTS {name}",
        f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' "
        "TEMPLATE template0",
    )
    return server.url(name)


@pytest.fixture(scope="module")
def latin(server: Server) -> str:
    url = _database(server, "LATIN1")
    with psycopg.connect(url, autocommit=True, client_encoding="utf8") as connection:
        connection.execute('CREATE TABLE "wörter" (id int, w text, code text)')
        for row in ((at, one, f"ü{at}é") for at, one in enumerate(WORDS)):
            connection.execute('INSERT INTO "wörter" VALUES (%s, %s, %s)', row)
    return url


@pytest.fixture(scope="module")
def opened(latin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenGateway]:
    with closing(_opened(tmp_path_factory.mktemp("latin"), latin, "é', 'z', 'ß', 'ÿ")) as made:
        yield made


def _opened(folder: Path, url: str, words: str) -> OpenGateway:
    (folder / "data" / "secrets" / "stock").mkdir(parents=True)
    (folder / "data" / "secrets" / "stock" / "URL").write_text(url)
    part = [{"groups": ["part"]}]
    mesh = SmallMesh(
        "stock", {"connector": "postgres", "secrets": {"url": "URL"}},
        {"words": ("public.wörter", {"id": "INTEGER", "w": "VARCHAR", "code": "VARCHAR"})}, USERS,
        grants=({"product": "words", "subjects": [{"users": list(USERS)}]},),
        policies=(
            {"match": {"table": "words"}, "subjects": part,
             "effect": {"filter": f"w IN ('{words}')"}},
            {"match": {"table": "words", "tags": ["coded"]}, "subjects": part,
             "effect": {"mask": {"kind": "partial", "keepLast": 1}}},
        ),
        tags={"code": ("coded",)},
    )  # fmt: skip
    return opened_mesh(folder, mesh)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("sql", RIGHT)
def test_latin_letters_are_right(opened: OpenGateway, user: str, sql: str) -> None:
    pushed, pulled = (
        answer(opened, user, sql, push_down=is_pushed).to_pylist() for is_pushed in (True, False)
    )
    assert pushed == pulled and pulled


def test_what_is_read_is_what_was_written(opened: OpenGateway) -> None:
    whole = answer(opened, "all", "select w, code from stock.words order by id")
    assert whole.column("w").to_pylist() == list(WORDS)
    part = answer(opened, "part", "select w, code from stock.words order by id").to_pydict()
    assert part["w"] == ["é", "ß", "z", "ÿ"]
    assert {one[-1] for one in part["code"]} == {"é"}
    assert not any("ü" in one for one in part["code"])


@pytest.mark.parametrize("sql", REFUSED)
def test_other_letters_are_refused_in_clear_words(opened: OpenGateway, sql: str) -> None:
    with pytest.raises(TypeMismatch, match="encoding") as caught:
        answer(opened, "all", sql)
    assert caught.value.product == "stock.words" and "漢" not in caught.value.message
    # And nothing is broken by it.
    assert answer(opened, "all", RIGHT[1]).num_rows == 1


def test_a_rule_with_other_letters_lets_nothing_through(latin: str, tmp_path: Path) -> None:
    with closing(_opened(tmp_path, latin, "é', '漢")) as made:
        with pytest.raises(TypeMismatch, match="or of a rule"):
            answer(made, "part", RIGHT[0])
        assert answer(made, "all", RIGHT[0]).num_rows == len(WORDS) - 1


def test_keys_with_other_letters_match_nothing(latin: str) -> None:
    sql = (
        'SELECT w FROM "wörter" WHERE CAST(w AS TEXT) IN '
        "(SELECT DISTINCT unnest(CAST($1 AS text[]))) ORDER BY id"
    )
    sql = sql.replace('"wörter"', 'public."wörter"')
    keys = pa.array(["漢", "é", "a\nÿ", "", "ÿ", "é漢"])
    column = (FragmentColumn("w", "VARCHAR"),)
    fragment = Fragment(sql, column, ("public.wörter",), (keys,), ("VARCHAR",))
    with closing(load_connector("postgres").connect({"url": latin})) as session:
        found = [row["w"] for batch in session.stream(fragment) for row in batch.to_pylist()]
    assert found == ["é", "ÿ"]


@pytest.mark.parametrize("encoding", ["EUC_JP", "LATIN9", "WIN1252", "SQL_ASCII"])
def test_what_orders_texts_otherwise_is_refused(server: Server, encoding: str) -> None:
    with pytest.raises(ConnectorError, match=f"in {encoding}.*UTF8 or LATIN1"):
        load_connector("postgres").connect({"url": _database(server, encoding)})
