"""One behaviour everywhere: the same values, types, codes, policies and cancelling at each door.

One module, since all of it asks one gateway, which is started once.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy

import sqluice
from gateway import errors
from sqluice.codes import CODES
from tests.matrix import leaving, probes
from tests.matrix.doors import DOORS, Read
from tests.matrix.expected import Reference, expected, in_utc, reference, reflected
from tests.matrix.faults import (
    ELSEWHERE,
    FAULTS,
    PRIVATE,
    STATEMENTS,
    UNPROVOKED,
    Ask,
    Told,
    of_client,
    of_flight,
    wanted,
)
from tests.matrix.house import House, opened_house
from tests.matrix.kinds import COLUMNS, HELD, statement
from tests.served import basic, within


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened_house(tmp_path_factory.mktemp("matrix")) as made:
        yield made


# Rows with all values and NULLs; no row at all, which has types all the same; a bare NULL.
ASKED: Mapping[str, Callable[[str], str]] = {
    "values": statement,
    "nothing": lambda table: statement(table, "id < 0"),
    "bare NULL": lambda table: "SELECT NULL AS nothing, '' AS blank",
}


@pytest.fixture(scope="module")
def known(house: House) -> dict[str, Reference]:
    database = str(house.conf.parent / "data" / "kinds.duckdb")
    return {name: reference(database, asked("items")) for name, asked in ASKED.items()}


def differences(found: Read, wanted: Read) -> list[object]:
    """The columns that differ, each with both sides; by their text, which tells NaN and -0 too."""
    wrong: list[object] = []
    if wanted.types != found.types:
        pairs = zip(COLUMNS, found.types, wanted.types, strict=False)
        wrong += [one for one in pairs if one[1] != one[2]] or [found.types]
    for name, one, other in zip(COLUMNS, found.values, wanted.values, strict=False):
        if repr(in_utc(one)) != repr(in_utc(other)):
            wrong.append((name, one, other))
    return wrong


@pytest.mark.parametrize("door", DOORS)
def test_every_type_is_what_plain_duckdb_says(
    house: House, known: dict[str, Reference], door: str
) -> None:
    for name, asked in ASKED.items():
        found = DOORS[door](house, asked("kinds.items"), "nora")
        wanted = expected(door, known[name])
        assert len(found.values) == len(wanted.values), name
        assert not differences(found, wanted), name
    rows = known["values"].values()
    assert all(None in one and len(set(map(repr, one))) > 1 for one in rows)


@pytest.mark.parametrize("door", DOORS)
def test_what_postgresql_has_besides_is_what_a_contract_calls_it(house: House, door: str) -> None:
    items = ", ".join(
        f"CAST({one.gives} AS {one.type}) AS {one.name}" for one in house.physical
    )
    names = ", ".join(one.name for one in house.physical)
    nulls = ", ".join("NULL" for _ in house.physical)
    database = str(house.conf.parent / "data" / "kinds.duckdb")
    wanted = expected(door, reference(database, f"SELECT {items} UNION ALL SELECT {nulls}"))
    found = DOORS[door](house, f"SELECT {names} FROM stock.physical ORDER BY id", "nora")
    assert len(found.values) == len(house.physical) > 8
    assert found.types == wanted.types
    assert list(map(repr, found.values)) == list(map(repr, wanted.values))


def test_sqlalchemy_reflects_and_reads_every_type(house: House) -> None:
    engine = house.engine()
    table = sqlalchemy.Table("items", sqlalchemy.MetaData(), schema="kinds.items",
                             autoload_with=engine)  # fmt: skip
    kinds = {name: COLUMNS[name][0] for name in HELD}
    wrong = {
        name: table.c[name].type for name, kind in kinds.items()
        if not isinstance(table.c[name].type, reflected(kind))
    }  # fmt: skip
    assert not wrong
    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.select(table).order_by(table.c.id)).fetchall()
    values = [getattr(row, "code") for row in rows]  # noqa: B009 - a column, to the type checker
    assert UUID("d3b07384-d9a0-4c9b-8a6d-1d1b1b1b1bff") in values and None in values
    assert {"a": [1, None]} in [row.document for row in rows]


# Years, and moments of a day, that Python's types have no room for; Arrow and DuckDB have.
BEYOND = ("DATE '12013-01-31'", "DATE '0044-03-15 (BC)'", "TIMESTAMP 'infinity'")


@pytest.mark.parametrize("value", BEYOND)
def test_a_value_beyond_python(house: House, value: str) -> None:
    sql = f"SELECT {value} AS x"
    with house.connect() as connection:
        for one in (house.local(), connection):
            assert one.execute(sql).fetch_arrow_table().num_rows == 1
            with pytest.raises(sqluice.DataError) as caught:
                one.execute(sql).fetchall()
            assert "x" in caught.value.message and caught.value.remedy


def test_a_quota_names_its_policy_and_product(house: House) -> None:
    with house.connect() as connection:
        for _ in range(2):
            with suppress(sqluice.OperationalError):
                connection.execute("select * from stock.spent").fetchall()
        with pytest.raises(sqluice.OperationalError) as caught:
            connection.execute("select * from stock.spent")
    error = caught.value
    assert (error.code, error.policy, error.product) == (
        "rate_limited", "stock.spent", "stock.spent",
    )  # fmt: skip


def asked_everywhere(
    house: House, sql: str, password: str | None = None, doors: Mapping[str, Ask] = FAULTS
) -> dict[str, Told]:
    """What each door tells of an error, all of them at once."""
    with ThreadPoolExecutor(len(doors)) as pool:
        tasks = {
            name: pool.submit(ask, house, sql, password, "nora") for name, ask in doors.items()
        }
        return {name: task.result(60) for name, task in tasks.items()}


def check(told: dict[str, Told], code: str, product: str = "", policy: str = "") -> None:
    """All doors tell the same code, in their own protocol's terms, and nothing that is private."""
    for door, one in told.items():
        assert one.code == code, (door, one)
        assert one.outward == wanted(door, code), (door, one)
        assert one.is_retryable in (None, CODES[code].retryable), door
        assert (one.product, one.policy) == (product, policy), (door, one)
        assert not PRIVATE.search(one.text), (door, PRIVATE.search(one.text))
        assert bool(one.query_id) == (code != "unauthenticated"), (door, one)
    ids = [one.query_id for one in told.values() if one.query_id]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("code", [
    one for one in STATEMENTS if one not in ("cancelled", "unauthenticated", "internal")
])  # fmt: skip
def test_a_code_is_the_same_everywhere(house: House, code: str) -> None:
    case = STATEMENTS[code]
    if case.before:
        house.local().execute(case.before).fetchall()
    told = asked_everywhere(house, case.sql)
    check(told, code, case.product, case.policy)
    # Refusals are written down, each once, also where the client only prepared.
    assert [audited(house, str(one.query_id)) for one in told.values()] == [1] * len(told)


def audited(house: House, query_id: str) -> int:
    """How often a request is written down."""
    state = house.conf.parent / "data" / "gateway" / "state.sqlite"
    sql = "SELECT count(*) FROM audit_records WHERE kind = 'started' AND query_id = ?"
    with closing(sqlite3.connect(state, timeout=20)) as connection:
        return int(connection.execute(sql, [query_id]).fetchone()[0])


def test_who_is_not_signed_in(house: House) -> None:
    told = asked_everywhere(house, "select 1", "a-wrong-word")
    check(told, "unauthenticated")
    assert not any("a-wrong-word" in one.text for door, one in told.items() if door != "in process")


def test_the_codes_that_nothing_provokes_are_these() -> None:
    provoked = {*STATEMENTS, *ELSEWHERE}
    assert not provoked & set(UNPROVOKED)
    assert provoked | set(UNPROVOKED) == set(CODES)
    assert not {one.code for one in errors.SqluiceError.__subclasses__()} & set(UNPROVOKED)


def ends(house: House) -> float:
    """Seconds until nothing runs at the source any more; bounded for a machine with much to do."""
    began = time.monotonic()
    assert within(60, lambda: not house.served.running())
    assert house.served.is_idle()
    return time.monotonic() - began


@pytest.mark.parametrize("how", leaving.STATEMENTS)
@pytest.mark.parametrize("door", leaving.DOORS)
def test_who_cancels_stops_the_source(house: House, door: str, how: str) -> None:
    codes: list[str] = []
    with leaving.DOORS[door](house, leaving.STATEMENTS[how], codes) as stop:
        assert within(60, lambda: house.served.running() == 1)
        stop()
        seconds = ends(house)
    assert codes == ["cancelled"]
    # What is promised is a second; the machine may have much to do.
    assert seconds < 60


@pytest.mark.parametrize("waiting", [
    pytest.param(leaving.MIXED, id="mixed"),
    pytest.param(leaving.CROSSED, id="crossed", marks=pytest.mark.long),
])  # fmt: skip
def test_who_is_killed_leaves_nothing_at_the_source(house: House, waiting: set[str]) -> None:
    with leaving.clients(house, waiting) as kill:
        assert within(60, lambda: house.served.running() == leaving.COUNT)
        kill()
        assert ends(house) < 60


def test_a_query_that_somebody_stops(house: House) -> None:
    chosen = {name: FAULTS[name] for name in (
        "HTTP JSON", "Flight SQL", "ADBC", "DB-API", "SQLAlchemy", "PostgreSQL text",
    )}  # fmt: skip

    def stop() -> None:
        assert within(60, lambda: house.served.running() == len(chosen))
        assert len(leaving.delete_all(house)) == len(chosen)

    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(stop)
        check(asked_everywhere(house, STATEMENTS["cancelled"].sql, doors=chosen), "cancelled")
        stopping.result()


def test_two_queries_of_one_key(house: House) -> None:
    key = "k_" + "7" * 32
    with house.connect() as connection, connection.cursor() as first:
        first._key = key
        first.execute(leaving.STREAMING)
        with house.connect() as other:
            second = other.cursor()
            second._key = key
            with pytest.raises(sqluice.OperationalError) as caught:
                second.execute("select 1 + 1")
            told = {
                "DB-API": of_client(caught.value),
                "Flight SQL": of_flight(
                    house, "select 1 + 1", basic("nora"), **{"x-sqluice-query-key": key}
                ),
            }
    assert {one.code for one in told.values()} == {"conflict"}
    assert all(one.outward == wanted(door, "conflict") for door, one in told.items())
    assert set(told) == set(ELSEWHERE["conflict"])
    assert house.served.is_idle()


def test_files_that_are_wrong(house: House, tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("[no.such.section]\nx = 1\n")
    with pytest.raises(sqluice.OperationalError) as caught:
        sqluice.connect(f"{tmp_path}/", user="nora")
    told = of_client(caught.value)
    assert (told.code, told.outward) == ("invalid_config", wanted("in process", "invalid_config"))


@pytest.mark.parametrize("attacks", [
    pytest.param(probes.ATTACKS[::9], id="some"),
    pytest.param(probes.ATTACKS, id="all", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
])  # fmt: skip
def test_policies_hold_through_every_door(house: House, attacks: tuple[str, ...]) -> None:
    wrong, told_more = [], Counter[str]()
    for sql in probes.statements(attacks):
        known = probes.in_process(house, sql, "part")
        open_to_all = probes.in_process(house, sql, "nora")
        assert not any(one in repr(known) for one in probes.HIDDEN if one not in sql), sql
        with ThreadPoolExecutor(len(DOORS)) as pool:
            tasks = {
                door: pool.submit(
                    probes.through, door, house, sql, "part", not isinstance(known, Reference)
                )
                for door in DOORS
            }
        for door, task in tasks.items():
            found = probes.unordered(task.result())
            other = probes.unordered(probes.wanted(door, open_to_all))
            right = probes.unordered(probes.wanted(door, known))
            if found != right:
                wrong.append((door, sql, found, right))
            told_more[door] += found != other
    assert not wrong
    # A control: without the policies the same attacks are answered otherwise.
    assert all(told_more[door] > len(attacks) / 3 for door in DOORS), told_more


def test_an_audit_that_cannot_be_written(house: House) -> None:
    """What is a defect to every caller: nothing is answered that is not written down."""
    state = house.conf.parent / "data" / "gateway" / "state.sqlite"

    def rename(old: str, new: str) -> None:
        with closing(sqlite3.connect(state, timeout=20, isolation_level=None)) as connection:
            connection.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename("audit_records", "away")
    try:
        check(asked_everywhere(house, STATEMENTS["internal"].sql), "internal")
    finally:
        rename("away", "audit_records")
    # The same state, written to again.
    assert house.served.query("select 1 as x").json["rows"] == [[1]]
