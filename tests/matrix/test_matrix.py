"""One behaviour everywhere: the same values, types, codes, policies and cancelling at each door.

One module, since all of it asks one gateway, which is started once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from gateway import errors
from sqluice.codes import CODES
from tests.matrix import leaving
from tests.matrix.doors import DOORS, Read
from tests.matrix.expected import Reference, expected, reference
from tests.matrix.faults import ELSEWHERE, FAULTS, PRIVATE, STATEMENTS, UNPROVOKED, Told, wanted
from tests.matrix.house import House, opened_house
from tests.matrix.kinds import COLUMNS, statement
from tests.served import within


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened_house(tmp_path_factory.mktemp("matrix")) as made:
        yield made


# Rows with all values and NULLs; no row at all, which has types all the same; a bare NULL.
ASKED = {
    "values": statement,
    "nothing": lambda table: statement(table, "id < 0"),
    "bare NULL": lambda table: "SELECT NULL AS nothing, '' AS blank",
}


@pytest.fixture(scope="module")
def known(house: House) -> dict[str, Reference]:
    database = str(house.conf.parent / "data" / "kinds.duckdb")
    return {name: reference(database, asked("items")) for name, asked in ASKED.items()}


def in_utc(value: object) -> object:
    """The same value, its moments in one spelling of UTC."""
    if isinstance(value, list):
        return [in_utc(one) for one in value]
    if isinstance(value, dict):
        return {name: in_utc(one) for name, one in value.items()}
    is_zoned = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC) if is_zoned else value


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


def asked_everywhere(house: House, sql: str, password: str | None = None) -> dict[str, Told]:
    """What each door tells of an error, all of them at once."""
    with ThreadPoolExecutor(len(FAULTS)) as pool:
        tasks = {name: pool.submit(ask, house, sql, password) for name, ask in FAULTS.items()}
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
    check(asked_everywhere(house, case.sql), code, case.product, case.policy)


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
    assert within(10, lambda: not house.served.running())
    assert house.served.is_idle()
    return time.monotonic() - began


@pytest.mark.parametrize("how", leaving.STATEMENTS)
@pytest.mark.parametrize("door", leaving.DOORS)
def test_who_cancels_stops_the_source(house: House, door: str, how: str) -> None:
    codes: list[str] = []
    with leaving.DOORS[door](house, leaving.STATEMENTS[how], codes) as stop:
        assert within(30, lambda: house.served.running() == 1)
        stop()
        seconds = ends(house)
    assert codes == ["cancelled"]
    # What is promised is a second; the machine may have much to do.
    assert seconds < 5


@pytest.mark.parametrize("waiting", [
    pytest.param(leaving.MIXED, id="mixed"),
    pytest.param(leaving.CROSSED, id="crossed", marks=pytest.mark.long),
])  # fmt: skip
def test_who_is_killed_leaves_nothing_at_the_source(house: House, waiting: set[str]) -> None:
    with leaving.clients(house, waiting) as kill:
        assert within(60, lambda: house.served.running() == leaving.COUNT)
        kill()
        assert ends(house) < 5
