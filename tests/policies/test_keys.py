"""Pseudonyms of four kinds of sources join, before and after a rotation; keys stay sealed.

Takes: one table of addresses each in PostgreSQL, DuckDB, SQLite and Parquet. Gives: joins on
masked values. The control shows that other values, and other keys, do not join.
"""

from __future__ import annotations

import hmac
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import combinations, count
from pathlib import Path

import duckdb
import pytest
import yaml

from connectors.base import Fragment, FragmentColumn, load_abilities, load_connector
from gateway.config import load_config
from gateway.demo.postgres import NoPostgres, Server, find_server
from gateway.errors import InvalidConfig
from gateway.keys import VARIABLE, Vault
from gateway.opening import OpenGateway, open_gateway
from gateway.pseudonyms import key_block, pseudonym
from gateway.state.engine import open_state
from tests.policies.running import Running

STATE_KEY = "a state key of more than 32 characters"
KINDS = ("postgres", "duckdb", "sqlite", "files")
MAILS = ("ada@example.org", "bob@example.com", "ünïcode@例え.jp", "", "o'neil@example.org")
PAIRS = list(combinations(KINDS, 2))
_NUMBERS = count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    try:
        made = find_server(tmp_path_factory.mktemp("keys-postgres"))
        made.start()
    except NoPostgres as error:
        pytest.skip(str(error))
    yield made
    made.discard()


def _write(folder: Path, push: tuple[str, ...]) -> None:
    texts: dict[str, object] = {
        "governance/taxonomy.yaml": {
            "kind": "Taxonomy", "tags": {"mail": "x"},
            "joinGroups": {"customer": {"description": "x", "push": bool(push)}},
        },
        "governance/policies/mail.yaml": {
            "kind": "Policy", "id": "mail", "match": {"tags": ["mail"]},
            "effect": {"mask": {"kind": "pseudonym", "joinGroup": "customer"}},
        },
    }  # fmt: skip
    settings = {
        "postgres": {"connector": "postgres", "secrets": {"url": "URL"}},
        "duckdb": {"connector": "duckdb", "settings": {"path": "mail.duckdb"}},
        "sqlite": {"connector": "sqlite", "settings": {"path": "mail.sqlite"}},
        "files": {"connector": "files", "settings": {"path": "mail", "format": "parquet"}},
    }
    for kind in KINDS:
        here = f"domains/{kind}"
        texts[f"{here}/domain.yaml"] = {
            "kind": "Domain", "name": kind, "description": "x", "owners": ["o"],
            "sources": {"s": settings[kind]},
            **({"pushPseudonyms": ["customer"]} if kind in push else {}),
        }  # fmt: skip
        texts[f"{here}/people.odps.yaml"] = {
            "apiVersion": "v1.0.0", "kind": "DataProduct", "id": f"{kind}-p", "name": "people",
            "version": "1.0.0", "status": "active", "domain": kind,
            "outputPorts": [{"name": "people", "version": "1.0.0", "contractId": f"{kind}-c"}],
            "team": {"members": [{"username": "o", "role": "owner"}]},
        }  # fmt: skip
        text = {"logicalType": "string", "physicalType": "text"}
        texts[f"{here}/contracts/people.odcs.yaml"] = {
            "apiVersion": "v3.2.0", "kind": "DataContract", "id": f"{kind}-c",
            "version": "1.0.0", "status": "active",
            "customProperties": [{"property": "source", "value": "s", "vendor": "sqluice"}],
            "schema": [{
                "name": "people", "logicalType": "object",
                "physicalName": {"postgres": "public.people", "files": "people.parquet"}.get(
                    kind, "people"
                ),
                "properties": [
                    {"name": "n", "logicalType": "integer", "physicalType": "integer"},
                    {"name": "mail", **text, "tags": ["mail"]},
                ],
            }],
        }  # fmt: skip
        texts[f"{here}/grants/all.yaml"] = {
            "kind": "Grant", "id": f"{kind}.all", "product": "people", "subjects": [{"all": True}],
        }  # fmt: skip
    for name, content in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    (folder / "gateway.toml").write_text('[paths]\ndata = "data"\n')


def _fill(data: Path, server: Server) -> None:
    rows = [*enumerate(MAILS), (len(MAILS), None)]
    name = f"mail_{next(_NUMBERS)}"
    server.run("postgres", f"CREATE DATABASE {name}")
    values = ", ".join(f"({n}, {_literal(mail)})" for n, mail in rows)
    create = "CREATE TABLE people (n INTEGER, mail TEXT)"
    server.run(name, create, f"INSERT INTO people VALUES {values}")
    (data / "mail").mkdir(parents=True)
    secrets = data / "secrets"
    (secrets / "postgres").mkdir(parents=True)
    (secrets / "postgres" / "URL").write_text(server.url(name))
    (secrets / "governance").mkdir()
    (secrets / "governance" / "PSEUDONYM_CUSTOMER").write_text("k" * 40)
    with duckdb.connect(str(data / "mail.duckdb")) as connection:
        connection.execute("CREATE TABLE people (n INTEGER, mail VARCHAR)")
        connection.executemany("INSERT INTO people VALUES (?, ?)", rows)
        connection.execute(f"COPY people TO '{data / 'mail' / 'people.parquet'}' (FORMAT parquet)")
    other = sqlite3.connect(data / "mail.sqlite")
    other.execute("CREATE TABLE people (n INTEGER, mail TEXT)")
    other.executemany("INSERT INTO people VALUES (?, ?)", rows)
    other.commit()
    other.close()


def _literal(text: str | None) -> str:
    quoted = (text or "").replace("'", "''")
    return "NULL" if text is None else f"'{quoted}'"


@contextmanager
def mails(folder: Path, server: Server, push: tuple[str, ...] = ()) -> Iterator[Running]:
    """An open gateway over four kinds of sources."""
    _write(folder, push)
    _fill(folder / "data", server)
    opened: OpenGateway = open_gateway(load_config(folder, {}))
    try:
        yield Running(opened, folder)
    finally:
        opened.close()


def _joined(gateway: Running, one: str, other: str) -> list[int]:
    sql = (
        f"SELECT a.n FROM {one}.people a JOIN {other}.people b ON a.mail = b.mail AND a.n = b.n "
        "ORDER BY 1"
    )
    return [row["n"] for row in gateway.ask(sql)]


def _shown(gateway: Running, kind: str) -> list[str | None]:
    rows = gateway.ask(f"SELECT mail FROM {kind}.people ORDER BY n")
    return [row["mail"] for row in rows]


@pytest.mark.parametrize("push", [(), KINDS], ids=["at the gateway", "pushed"])
def test_pseudonyms_join_across_sources_before_and_after_a_rotation(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, push: tuple[str, ...]
) -> None:
    monkeypatch.setenv(VARIABLE, STATE_KEY)
    with mails(tmp_path, server, push) as gateway:
        first = sha256(b"k" * 40).digest()
        wanted = [*(pseudonym(one, first) for one in MAILS), None]
        assert {kind: _shown(gateway, kind) for kind in KINDS} == dict.fromkeys(KINDS, wanted)
        for one, other in PAIRS:
            assert _joined(gateway, one, other) == [0, 1, 2, 3, 4]
        assert Vault(gateway.opened.state, {VARIABLE: STATE_KEY}).rotate("customer", "petra") == 1
        publisher = gateway.opened.publisher
        while publisher.current().index.standing.epochs.get("customer") != 1:
            pass
        second = Vault(gateway.opened.state, {VARIABLE: STATE_KEY}).key("customer", 1)
        renewed = [*(pseudonym(one, second) for one in MAILS), None]
        assert not set(renewed[:-1]) & set(wanted)
        assert {kind: _shown(gateway, kind) for kind in KINDS} == dict.fromkeys(KINDS, renewed)
        for one, other in PAIRS:
            assert _joined(gateway, one, other) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("push", "hashing"),
    [(KINDS, {"postgres", "duckdb"}), (("postgres", "duckdb", "sqlite"), set()), ((), set())],
)
def test_a_key_goes_to_sources_only_if_every_domain_agrees(
    tmp_path: Path, server: Server, push: tuple[str, ...], hashing: set[str]
) -> None:
    with mails(tmp_path, server, push) as gateway:
        for kind in KINDS:
            shown = json.dumps(gateway.ask(f"EXPLAIN SELECT mail FROM {kind}.people"))
            assert ("hashed at the source" in shown) == (kind in hashing), kind
            assert "sha256" not in shown.casefold()


HASHED = [
    *MAILS, "a", "p_", "0", "-1", "x" * 63, "x" * 64, "x" * 65, "x" * 1000, "a\nb", "a\\b", "%_",
    "Ä", "A\u0308", "\U0001f600", "名前", " leading", "trailing ",
]  # fmt: skip
SECRETS = [b"k" * 32, bytes(range(32)), b"", b"x" * 64]


@pytest.mark.parametrize("kind", ["postgres", "duckdb"])
def test_the_hash_of_a_source_is_the_hmac_byte_for_byte(
    tmp_path: Path, server: Server, kind: str
) -> None:
    source = load_connector(kind)
    settings = {"url": server.url("postgres")}
    if kind == "duckdb":
        settings = {"path": str(tmp_path / "any.duckdb")}
        duckdb.connect(settings["path"]).close()
    template = load_abilities(kind).keyed_hash
    assert template is not None
    numbers = [*enumerate(HASHED)]
    rows = " UNION ALL ".join(f"SELECT {n} AS n, {_literal(text)} AS v" for n, text in numbers)
    values = template.format(value="v", inner="$1", outer="$2")
    connection = source.connect(settings)
    columns = (FragmentColumn("n", "INTEGER"), FragmentColumn("h", "VARCHAR"))
    for key in SECRETS:
        blocks = (key_block(key, False), key_block(key, True))
        sql = f"SELECT n, {values} AS h FROM ({rows} UNION ALL SELECT 99, NULL) AS given ORDER BY n"
        fragment = Fragment(sql, columns, (), blocks, ("BLOB", "BLOB"))
        found = [row for batch in connection.stream(fragment) for row in batch.to_pylist()]
        wanted = [hmac.new(key, text.encode(), sha256).hexdigest() for text in HASHED]
        assert [row["h"] for row in found] == [*wanted, None]
    connection.close()


def test_a_rotated_key_needs_the_key_of_state(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "another state key of 32 characters and more")
    with mails(tmp_path, server) as gateway:
        Vault(gateway.opened.state, {VARIABLE: STATE_KEY}).rotate("customer", "petra")
        publisher = gateway.opened.publisher
        while not publisher.current().index.standing.epochs:
            pass
        with pytest.raises(InvalidConfig, match="cannot be opened"):
            _shown(gateway, "duckdb")
        assert gateway.ask("SELECT n FROM duckdb.people WHERE n = 1") == [{"n": 1}]


def test_keys_are_sealed(tmp_path: Path) -> None:
    engine = open_state(f"sqlite:///{tmp_path / 'state.sqlite'}")
    vault = Vault(engine, {VARIABLE: STATE_KEY})
    assert [vault.rotate("customer", "petra"), vault.rotate("customer", "petra")] == [1, 2]
    key = vault.key("customer", 2)
    assert len(key) == 32
    held = b"".join(one.sealed for one in vault.rows())
    assert key not in held and key.hex().encode() not in held
    for environment in ({}, {VARIABLE: "short"}, {VARIABLE: f"{STATE_KEY},short"}):
        with pytest.raises(InvalidConfig, match=VARIABLE):
            Vault(engine, environment).key("customer", 2)
    with pytest.raises(InvalidConfig, match="cannot be opened"):
        Vault(engine, {VARIABLE: "x" * 40}).key("customer", 2)
    both = {VARIABLE: f"{'x' * 40}, {STATE_KEY}"}
    assert Vault(engine, both).key("customer", 2) == key
    with pytest.raises(InvalidConfig, match="cannot be opened"):
        vault.key("customer", 3)
    engine.dispose()
