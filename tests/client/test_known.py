"""What a cursor tells of an answer beside its rows, and stopping a statement from elsewhere."""

from __future__ import annotations

import threading
import time
from itertools import repeat

import pytest

import sqluice
from sqluice.known import Known, warnings_of
from tests.client.conftest import Connect, Served
from tests.client.test_connection import ENDLESS


def test_products_masks_and_warnings(opened: Connect) -> None:
    cursor = opened().execute(
        "SELECT tailnum AS t, upper(tailnum) AS u, origin FROM operations.departures LIMIT 3"
    )
    assert cursor.masks == {"t": "pseudonym", "u": "pseudonym"}
    (product,) = cursor.products
    assert product["product"] == "operations.departures"
    assert product["version"] == "1.0.0"
    assert str(product["contract"]).startswith("urn:sqluice:contract:")
    assert product["freshness"]
    assert (cursor.stats["rows"], cursor.stats["is_complete"]) == (0, False)
    cursor.fetchall()
    assert (cursor.stats["rows"], cursor.stats["is_complete"]) == (3, True)
    assert cursor.stats["query_id"] == cursor.query_id
    assert cursor.warnings[0] == "t holds masked values (pseudonym)."
    assert opened().execute("SELECT 1").products == ()


def test_an_answer_that_was_cut_says_so(opened: Connect) -> None:
    connection = opened()
    connection.execute("SET row_limit = 2").fetchall()
    cursor = connection.execute("SELECT origin FROM operations.departures")
    assert cursor.fetchall() and "row limit of 2" in cursor.warnings[-1]
    assert warnings_of(Known(row_limit=2), 1) == ()


def test_a_failed_statement_has_its_id(opened: Connect) -> None:
    cursor = opened().cursor()
    with pytest.raises(sqluice.ProgrammingError) as caught:
        cursor.execute("SELECT nothing FROM operations.departures")
    assert cursor.query_id == caught.value.query_id is not None
    assert (caught.value.policy, caught.value.product) == ("", "operations.departures")


def stopped(first: sqluice.Connection, other: sqluice.Connection, tries: int) -> list[str]:
    """What another connection is told that kills a statement by the key of its cursor."""
    cursor = first.cursor()
    statement = f"KILL QUERY '{cursor.query_key}'"
    outcomes: list[str] = []

    def kill() -> None:
        # Long enough for what is not there; for what is, as long as it takes.
        for _ in repeat(None, tries):
            time.sleep(0.1)
            outcomes.append(other.execute(statement).fetchall()[0][1])
            if outcomes[-1] == "cancelling":
                return

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        cursor.execute(ENDLESS).fetchall()
    except sqluice.OperationalError as error:
        outcomes.append(error.code)
    killer.join()
    return outcomes


def test_killed_from_another_connection(served: Served) -> None:
    with served.connect(query_timeout=90) as first, served.connect() as other:
        # Who is told first, the killer or the killed, is the threads' affair.
        assert sorted(stopped(first, other, 600)[-2:]) == ["cancelled", "cancelling"]


def test_nobody_kills_what_is_anothers(served: Served) -> None:
    with served.connect(query_timeout=4) as first, served.connect("carl") as other:
        outcomes = stopped(first, other, 20)
    assert set(outcomes) == {"not running", "timeout"}


def test_a_key_is_for_one_statement(opened: Connect) -> None:
    cursor = opened().cursor()
    first = cursor.query_key
    assert cursor.query_key == first
    cursor.execute("SELECT 1").fetchall()
    assert cursor.query_key != first


def test_statements_that_are_closed_unread_hold_nothing(served: Served) -> None:
    with served.connect() as connection:
        began = time.monotonic()
        for _ in range(40):
            connection.execute("SELECT origin FROM operations.departures").close()
        assert time.monotonic() - began < 120


def test_ping_and_version(opened: Connect) -> None:
    connection = opened()
    connection.ping()
    assert connection.server_version
    connection.close()
    with pytest.raises(sqluice.InterfaceError):
        connection.ping()
