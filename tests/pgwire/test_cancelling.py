"""Who cancels and who leaves stops his statement within a second, at the source, too.

What runs is counted at the source (pg_stat_activity); time only bounds the waiting.
"""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from psycopg import errors, pq

from gateway.errors import Cancelled
from gateway.serve.pgwire.faults import Left
from gateway.serve.pgwire.link import Link
from gateway.serve.pgwire.running import Runner
from tests.pgwire.conftest import Connect
from tests.pgwire.wire import SYNC, Wire, bind, execute, parse, query
from tests.served import MANY, SLOW, SLOW_MERGE, Served, at_rest, within

BATCH = 65_536


@pytest.mark.parametrize("sql", [SLOW, SLOW_MERGE], ids=["at the source", "in the merge"])
def test_a_cancel_request(connect: Connect, gateway: Served, sql: str) -> None:
    connection = connect()
    failed: list[psycopg.Error] = []

    def run() -> None:
        try:
            connection.execute(sql.encode())
        except psycopg.Error as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert within(60, gateway.is_busy)
    began = time.monotonic()
    connection.cancel_safe()
    thread.join(60)
    # Generous for a machine with much to do; what is promised is a second.
    assert time.monotonic() - began < 60 and not thread.is_alive()
    assert isinstance(failed[0], errors.QueryCanceled)
    assert gateway.is_idle()
    assert connection.execute("select 1").fetchone() == (1,)


def test_a_cancel_in_mid_stream(gateway: Served) -> None:
    with Wire(gateway.pgwire) as made:
        made.sign_in("nora")
        made.send(query(MANY))
        assert made.receive() is not None
        with Wire(gateway.pgwire) as other:
            other.send(struct.pack(">ii", 16, 80877102) + made.key)
            assert other.receive() is None
        kinds = {kind for kind, _ in made.until("Z")}
        assert kinds == {"D", "E", "Z"}
        assert gateway.is_idle()


def test_a_wrong_key_cancels_nothing(gateway: Served) -> None:
    with Wire(gateway.pgwire) as made:
        made.sign_in("nora")
        made.send(query(MANY))
        assert made.receive() is not None
        wrong = made.key[:4] + struct.pack(">I", struct.unpack(">I", made.key[4:])[0] ^ 1)
        with Wire(gateway.pgwire) as other, Wire(gateway.pgwire) as third:
            other.send(struct.pack(">ii", 16, 80877102) + wrong)
            third.sign_in("carl")
            third.send(struct.pack(">ii", 16, 80877102) + third.key)
            assert other.receive() is None
        time.sleep(0.5)
        assert within(60, lambda: gateway.running() == 1)
    assert gateway.is_idle()


@pytest.mark.parametrize("sql", [SLOW, SLOW_MERGE, MANY], ids=["source", "merge", "streaming"])
@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_a_client_that_leaves(gateway: Served, sql: str, extended: bool) -> None:
    with Wire(gateway.pgwire) as made:
        made.sign_in("nora")
        made.send(*([parse(sql), bind(), execute(), SYNC] if extended else [query(sql)]))
        assert within(60, gateway.is_busy)
    assert gateway.is_idle()


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_a_client_that_leaves_before_his_turn(gateway: Served, extended: bool) -> None:
    """A long text is read in another thread: he has left before anything could be stopped."""
    long = f"{SLOW_MERGE} /*{' x' * 450_000}*/"
    with Wire(gateway.pgwire) as made:
        made.sign_in("nora")
        made.send(*([parse(long), bind(), execute(), SYNC] if extended else [query(long)]))
    time.sleep(0.2)
    assert gateway.is_idle()


async def _cancelled_before_its_turn() -> None:
    """What a message asks for may not have begun: the cancel is for it, and for none after it."""
    link = SimpleNamespace(is_gone=False)
    nothing: Any = SimpleNamespace(gateway=None, queries=None)
    runner = Runner(nothing, nothing, cast(Link, link), nothing, nothing)
    with runner.serving():
        runner.cancel()
        with pytest.raises(Cancelled), runner._statement("q_1"):
            pytest.fail("it ran")
        with runner._statement("q_2"):
            pass
    with runner.serving():
        runner.cancel()
    runner.cancel()
    with runner.serving():
        with runner._statement("q_3"):
            pass
        link.is_gone = True
        with pytest.raises(Left), runner._statement("q_4"):
            pytest.fail("it ran for nobody")


def test_a_cancel_before_its_turn() -> None:
    asyncio.run(_cancelled_before_its_turn())


def test_a_client_that_leaves_an_open_portal(gateway: Served) -> None:
    with Wire(gateway.pgwire) as made:
        made.sign_in("nora")
        made.ask(query("begin"))
        made.ask(parse(MANY), bind("p"), execute("p", 5), SYNC)
        assert within(60, lambda: gateway.running() == 1)
    assert gateway.is_idle()


def test_a_slow_reader_holds_the_source_back(gateway: Served) -> None:
    with Wire(gateway.pgwire) as made:
        made.sign_in("nora")
        made.send(query(MANY))
        made.exactly(1_000)
        (running,) = gateway.ask("/v1/queries").json["queries"]
        assert running["endpoint"] == "postgres"
        first = at_rest(lambda: gateway.rows_left(running["query_id"]))
        assert 0 < first < 20 * BATCH
        made.exactly(10_000_000)
        assert within(60, lambda: gateway.rows_left(running["query_id"]) > first)
        assert at_rest(lambda: gateway.rows_left(running["query_id"])) < 40 * BATCH
    assert gateway.is_idle()


def test_a_statement_timeout(connect: Connect, gateway: Served) -> None:
    connection = connect(options="-c statement_timeout=300")
    with pytest.raises(errors.QueryCanceled):
        connection.execute(SLOW.encode())
    assert gateway.is_idle()
    assert connection.info.transaction_status == pq.TransactionStatus.IDLE
