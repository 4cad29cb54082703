"""A source that declares too much is found out by the queries that it answers wrongly.

Takes: a gateway over SQLite whose ability file claims LIKE, which ignores case there. Gives: the
mismatch found, the ability off, the next answer right, evidence without a value. The control is the
same gateway with the true ability file: nothing is filed.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pytest
from click.testing import CliRunner
from sqlalchemy import select

import tests.sample
from connectors.base import Abilities, Fragment, load_abilities
from connectors.sqlite import SqliteConnection
from gateway import opening
from gateway.ability_names import ALL_BUT_FILTERS, ability_names, without
from gateway.audit import history
from gateway.certify.certificate import Certificate
from gateway.cli.certify import certify
from gateway.config import load_config
from gateway.errors import RateLimited
from gateway.opening import open_gateway
from gateway.prepare import Sampling
from gateway.self_check.check import ACTOR, SelfCheck
from gateway.state.engine import reading
from gateway.state.tables import AGGREGATE_ANSWERS, AUDIT_RECORDS, QUOTA_USAGE
from tests.aggregate.mesh import POLICY, Money, open_money
from tests.connectors.conformance.samples import in_duckdb, in_sqlite
from tests.differential.corpus import CASES, PURPOSES
from tests.differential.traps_mesh import TrapsMesh, open_over
from tests.sample import CONF, close_sample, open_sample

SETTINGS = "[self_check]\nsample = 1.0\n"
LIKE = "select id from traps.sqlite.probe where s like 'a_%'"
Declared = Callable[[str], Abilities]


def as_declared(kind: str) -> Abilities:
    return load_abilities(kind)


def claims_like(kind: str) -> Abilities:
    """As an ability file that says too much."""
    held = load_abilities(kind)
    functions = MappingProxyType({**held.functions, "Like": ("VARCHAR",)})
    return replace(held, functions=functions) if kind == "sqlite" else held


@pytest.fixture
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TrapsMesh]:
    """A gateway over one SQLite file by an ability file; every query is checked."""
    declared: Declared = getattr(request, "param", claims_like)
    monkeypatch.setattr(opening, "load_abilities", declared)
    (tmp_path / "sqlite").mkdir()
    made = open_over(tmp_path, {"sqlite": in_sqlite(tmp_path / "sqlite")}, {}, SETTINGS)
    yield made
    made.close()


def check_of(mesh: TrapsMesh) -> SelfCheck:
    made: Sampling | None = mesh.opened.services.self_check
    assert isinstance(made, SelfCheck)
    return made


def ask(mesh: TrapsMesh, sql: str, user: str = "open", **fields: object) -> pa.Table:
    """An answer, and the check of it done."""
    answer = mesh.ask(user, sql, **fields)
    assert check_of(mesh).drain(60)
    return answer


def right(mesh: TrapsMesh, sql: str, user: str = "open") -> int:
    return len(mesh.reference[user].sql(sql).fetchall())


def evidence(mesh: TrapsMesh) -> list[tuple[str, dict[str, object]]]:
    return [(one.ability, json.loads(one.content)) for one in mesh.opened.abilities.events()]


def test_a_wrong_answer_is_found_and_the_next_is_right(opened: TrapsMesh) -> None:
    wanted = right(opened, LIKE)
    first = ask(opened, LIKE)
    assert first.num_rows > wanted  # the caller's answer is not touched
    ((ability, found),) = evidence(opened)
    assert ability == "functions.Like.VARCHAR"
    assert found["rows pushed"] == first.num_rows and found["rows pulled"] == wanted
    assert found["only pushed"] == first.num_rows - wanted and found["only pulled"] == 0
    assert ask(opened, LIKE).num_rows == wanted
    assert len(evidence(opened)) == 1
    log = (opened.opened.config.logs / "traps.jsonl").read_text(encoding="utf-8")
    assert "functions.Like.VARCHAR" in log and "self-check" not in log.split("query_id")[0]


def test_the_command_shows_the_evidence(opened: TrapsMesh) -> None:
    """And certifying again switches on what the probe does not disprove."""
    ask(opened, LIKE)
    config = opened.opened.config
    given = ["--conf", str(config.folder), "--evidence"]
    environment = {"SQLUICE_DATA": str(config.data)}
    shown = CliRunner().invoke(certify, given, env=environment)
    assert shown.exit_code == 0
    assert "traps.sqlite: functions.Like.VARCHAR off since" in shown.output
    assert "select id from traps . sqlite . probe where s like ?" in shown.output
    held = json.loads(CliRunner().invoke(certify, [*given, "--json"], env=environment).output)
    assert [one["in_force"] for one in held["evidence"]] == [True]
    made = Certificate("traps.sqlite", "sqlite", "now", MappingProxyType({}))
    opened.opened.abilities.record(made)
    lifted = CliRunner().invoke(certify, given, env=environment).output
    assert "functions.Like.VARCHAR lifted since" in lifted


def test_the_evidence_holds_no_value(opened: TrapsMesh) -> None:
    """Neither of rows, nor of the caller's text, nor of a policy."""
    secret = "select s, id from traps.sqlite.probe where s like '%aB' and id <> 77123"
    ask(opened, secret, "narrow")
    ((_, found),) = evidence(opened)
    text = json.dumps(found, ensure_ascii=False)
    assert "77123" not in text, text
    assert "aB" not in text, text
    assert "no-far-rows" in text, text
    assert "-10" not in text  # of the policy
    assert "LIKE ?" in text.upper()


def test_another_gateway_over_the_state_knows(opened: TrapsMesh) -> None:
    ask(opened, LIKE)
    config = opened.opened.config
    other = open_gateway(load_config(config.folder, {"SQLUICE_DATA": str(config.data)}))
    source = other.publisher.current().mesh.sources["traps.sqlite"]
    assert "Like" not in other.abilities.of(source).functions
    other.close()


RIGHT = (
    "select id, s from traps.sqlite.probe where s >= 'a' and id < 20",
    "select b, sum(n), avg(i), count(distinct s) from traps.sqlite.probe group by b",
    "select distinct s from traps.sqlite.probe order by s limit 5",
    "select p.id, q.s from traps.sqlite.probe p join traps.sqlite.probe q on p.i = q.id",
    "select id, f from traps.sqlite.probe where f > 1",
    "select id, s, n, d from traps.sqlite.probe where id < 30",
    "select id, now() as t from traps.sqlite.probe where z < now() and d < current_date",
)


@pytest.mark.parametrize("opened", [as_declared], indirect=True)
def test_a_source_that_is_right_files_nothing(opened: TrapsMesh) -> None:
    for user in ("open", "narrow", "masked"):
        for sql in RIGHT:
            ask(opened, sql, user)
    # The third has no total order for nobody but `distinct`; all of them were checked.
    assert check_of(opened).checked == 3 * len(RIGHT)
    checks = [one.outcome for one in history(opened.opened.state) if one.endpoint == ACTOR]
    assert checks == ["ok"] * len(checks) and len(checks) == 3 * len(RIGHT)
    assert evidence(opened) == []


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_whole_corpus_files_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement of the differential corpus over five sources, by everybody who may ask it."""
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    with (conf / "gateway.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n{SETTINGS}fetched_rows = 1000000\n")
    monkeypatch.setattr(tests.sample, "CONF", conf)
    mesh = open_sample(tmp_path / "data")
    check = mesh.opened.services.self_check
    assert isinstance(check, SelfCheck)
    for case in CASES:
        for user in case.users:
            mesh.ask(user, case.sql, purpose=PURPOSES.get(user), parameters=case.values)
            assert check.drain(120)
    assert check.checked > 400
    assert mesh.opened.abilities.events() == ()
    close_sample(mesh)


UNCHECKED = (
    "select id from traps.sqlite.probe limit 3",
    "select any_value(s) from traps.sqlite.probe",
    "select string_agg(s, ',') from traps.sqlite.probe",
    "select id, row_number() over (order by b) from traps.sqlite.probe",
    "select distinct on (b) b, id from traps.sqlite.probe",
    "explain select id from traps.sqlite.probe",
    "select 1",
)


@pytest.mark.parametrize("opened", [as_declared], indirect=True)
def test_what_has_no_one_answer_is_not_checked(opened: TrapsMesh) -> None:
    for sql in UNCHECKED:
        ask(opened, sql)
    ask(opened, RIGHT[0], push_down=False)
    assert check_of(opened).checked == 0


@pytest.mark.parametrize("opened", [as_declared], indirect=True)
def test_its_reads_are_its_own(opened: TrapsMesh) -> None:
    """Audited as such, with the decision of the query that they check."""
    ask(opened, RIGHT[0])
    asked, checked = history(opened.opened.state)
    asked, checked = sorted((asked, checked), key=lambda one: one.endpoint == ACTOR)
    assert checked.endpoint == ACTOR and checked.client == f"self-check of {asked.query_id}"
    assert checked.rows == 0 and checked.outcome == "ok"
    with reading(opened.opened.state) as connection:
        actors = connection.execute(select(AUDIT_RECORDS.c.actor)).scalars().all()
    assert actors.count(ACTOR) == 1
    assert checked.decision == asked.decision and checked.products == asked.products


def test_the_caller_does_not_wait(opened: TrapsMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check hangs, and the answer is there all the same."""
    gate = threading.Event()
    check = check_of(opened)
    found = check._check

    def slow(one: object) -> None:
        assert gate.wait(60)
        found(one)  # type: ignore[arg-type]  # what came

    monkeypatch.setattr(check, "_check", slow)
    for _ in range(40):  # more than may wait
        assert opened.ask("open", LIKE).num_rows == right(opened, LIKE) + 1
    assert check.checked == 0
    gate.set()
    assert check.drain(60) and 1 <= check.checked <= 20
    assert opened.ask("open", LIKE).num_rows == right(opened, LIKE)


@pytest.mark.parametrize("opened", [as_declared], indirect=True)
def test_too_many_rows_end_a_check(opened: TrapsMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    check = check_of(opened)
    monkeypatch.setattr(check, "_bounds", replace(check._bounds, fetched=20))
    ask(opened, "select count(*) from traps.sqlite.probe where s = 'a'")
    (checked,) = (one for one in history(opened.opened.state) if one.endpoint == ACTOR)
    assert checked.outcome == "failed" and evidence(opened) == []
    monkeypatch.setattr(check, "_bounds", replace(check._bounds, rows=5))
    ask(opened, "select id from traps.sqlite.probe")
    assert check.checked == 1


def test_what_no_single_ability_explains_is_pulled(
    opened: TrapsMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two faults in two conjuncts; only columns and safe filters go down then."""
    stream = SqliteConnection.stream

    def forgetful(self: SqliteConnection, fragment: Fragment) -> Iterator[pa.RecordBatch]:
        for batch in stream(self, fragment):
            yield batch.slice(1) if "COALESCE" in fragment.sql else batch

    monkeypatch.setattr(SqliteConnection, "stream", forgetful)
    sql = (
        "select id from traps.sqlite.probe "
        "where s not like 'A_%' and coalesce(i, 0) <> 5 and id > 0"
    )
    assert ask(opened, sql).num_rows != right(opened, sql)
    assert [name for name, _ in evidence(opened)] == [ALL_BUT_FILTERS]
    assert ask(opened, sql).num_rows == right(opened, sql)
    shown = str(opened.ask("open", f"explain {sql}").to_pydict())
    assert '"id" > 0' in shown and "COALESCE" not in shown.split("stayed", maxsplit=1)[0]


def test_a_comparison_that_means_something_else_stays_with_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column of DuckDB that ignores case, and a row that says nothing of collations."""

    def as_it_stands(kind: str) -> Abilities:
        return replace(load_abilities(kind), text_collation=None)

    monkeypatch.setattr(opening, "load_abilities", as_it_stands)
    (tmp_path / "duckdb").mkdir()
    sample = in_duckdb(tmp_path / "duckdb", "NOCASE")
    mesh = open_over(tmp_path, {"duckdb": sample}, {}, SETTINGS)
    sql = "select id from traps.duckdb.probe where s = 'A'"
    assert ask(mesh, sql).num_rows > right(mesh, sql)
    assert [name for name, _ in evidence(mesh)] == [ALL_BUT_FILTERS, "comparable.VARCHAR"]
    assert ask(mesh, sql).num_rows == right(mesh, sql)
    mesh.close()


@pytest.mark.parametrize("kind", ["postgres", "sqlite", "duckdb", "files"])
def test_single_abilities_can_be_taken_away(kind: str) -> None:
    """Each of them alone, and nothing else with it."""
    held = load_abilities(kind)
    names = ability_names(held)
    for name in names:
        left = set(ability_names(without(held, [name])))
        assert name not in left
        if name != "is_reference":
            assert left == set(names) - {name}
    few = ability_names(without(held, [ALL_BUT_FILTERS]))
    assert {one.partition(".")[0] for one in few} <= {"comparable", "can_filter", "barrier"}
    assert "can_filter" in few


QUOTA = """
---
kind: Policy
id: few
match: {table: spend}
subjects: [{groups: [auditors]}]
effect: {limit: {requests: 2, per: hour}}
"""


def test_groups_are_not_asked_twice_and_quotas_do_not_count_checks(tmp_path: Path) -> None:
    """A check is no question of the caller's; where each question counts there is none."""
    open_money(tmp_path, POLICY + QUOTA).opened.close()
    (tmp_path / "conf" / "gateway.toml").write_text(SETTINGS)
    config = load_config(tmp_path / "conf", {"SQLUICE_DATA": str(tmp_path / "data")})
    money = Money(open_gateway(config))
    check = money.opened.services.self_check
    assert isinstance(check, SelfCheck)
    money.ask("ada", "select region, count(*) as n from money.sqlite.spend group by region")
    assert check.drain(30) and check.checked == 0
    with reading(money.opened.state) as connection:
        asked = connection.execute(select(AGGREGATE_ANSWERS.c.query_id)).scalars().all()
    assert len(set(asked)) == 1
    plain = "select person, month from money.sqlite.spend where month = 2"
    rows = sum(len(money.ask("olga", plain)) for _ in range(2))
    assert check.drain(30) and check.checked == 2
    with reading(money.opened.state) as connection:
        used = connection.execute(select(QUOTA_USAGE.c.requests, QUOTA_USAGE.c.row_count)).all()
    assert used == [(2, rows)]
    with pytest.raises(RateLimited):
        money.ask("olga", plain)
    money.opened.close()
