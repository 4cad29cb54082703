"""Clients of the PostgreSQL wire: psycopg in text and binary, cursors, COPY, and by hand."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from typing import Any, TypeAlias

import psycopg

from tests.pgwire.wire import SYNC, Wire, bind, execute, parse, query
from tests.served import MANY, SLOW, SLOW_MERGE
from tests.soak.place import Place
from tests.soak.wrong import FAILING, WrongError, expect, expect_rows

Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"


def connect(place: Place, user: str, autocommit: bool = True) -> Connection:
    """A connection by SCRAM."""
    return psycopg.connect(
        place.served.pgwire, user=user, password=f"{user}-demo", autocommit=autocommit,
        connect_timeout=30,
    )  # fmt: skip


def forms(place: Place, chosen: random.Random) -> None:
    """Known answers in text and in binary, with parameters."""
    known = chosen.choice(place.known)
    with connect(place, known.user) as connection:
        for binary in (False, True):
            with connection.cursor(binary=binary) as cursor:
                cursor.execute(known.sql.encode())
                expect_rows(known, cursor.fetchall(), f"psycopg, binary={binary}")
        number = chosen.randrange(1000)
        sql = "select i + %s::bigint as n from range(0, 3000) as r(i) order by 1"
        found = connection.execute(sql, (number,), prepare=True).fetchall()
        expect([one[0] for one in found], list(range(number, number + 3000)), "parameters")


def cursors(place: Place, chosen: random.Random) -> None:
    """Cursors in the server: read whole, in part, or left to the end of the connection."""
    known = chosen.choice(place.known)
    with connect(place, known.user, False) as connection:
        with connection.cursor("whole", binary=chosen.random() < 0.5) as cursor:
            cursor.itersize = 700
            expect_rows(known, list(cursor.execute(known.sql.encode())), "a cursor")
        connection.commit()
    with connect(place, "nora", False) as connection:
        connection.execute(f"declare part cursor for {MANY}".encode())
        found = connection.execute("fetch 10 from part").fetchall()
        expect(len(found), 10, "a part of a cursor")
        if chosen.random() < 0.5:
            connection.rollback()
            expect(connection.execute("select 1").fetchone(), (1,), "after a rollback")


def copy(place: Place, chosen: random.Random) -> None:
    """COPY in text and binary; some are left in the middle."""
    known = chosen.choice(place.known)
    with connect(place, known.user) as connection, connection.cursor() as cursor:
        with cursor.copy(f"COPY ({known.sql}) TO STDOUT".encode()) as rows:
            expect_rows(known, list(rows.rows()), "COPY")
        with cursor.copy(f"COPY ({known.sql}) TO STDOUT (FORMAT binary)".encode()) as rows:
            expect(sum(1 for _ in rows.rows()), len(known.rows), "COPY in binary")
    with Wire(place.served.pgwire) as made:
        made.sign_in("nora")
        made.send(query(f"COPY ({MANY}) TO STDOUT"))
        made.exactly(chosen.randrange(1, 3_000_000))


def cancelling(place: Place, chosen: random.Random) -> None:
    """A cancel request reaches what runs."""
    with connect(place, "nora") as connection:
        other = threading.Timer(chosen.uniform(0.2, 0.8), connection.cancel_safe)
        other.start()
        try:
            connection.execute(chosen.choice((SLOW, SLOW_MERGE)).encode())
        except psycopg.errors.QueryCanceled:
            pass
        else:
            raise WrongError("what was cancelled has an answer")
        finally:
            other.join()
        expect(connection.execute("select 1").fetchone(), (1,), "after a cancel")


def errors(place: Place, chosen: random.Random) -> None:
    """Each error with its SQLSTATE, also inside a transaction; wrong passwords."""
    with connect(place, "nora", False) as connection:
        for sql, _, sqlstate in chosen.sample(FAILING, 3):
            try:
                connection.execute(sql.encode()).fetchall()
            except psycopg.Error as error:
                expect(error.sqlstate, sqlstate, sql[:40])
            else:
                raise WrongError(f"an answer to {sql[:40]}")
            try:
                connection.execute("select 1")
            except psycopg.errors.InFailedSqlTransaction:
                connection.rollback()
            else:
                raise WrongError("a failed transaction goes on")
        expect(connection.execute("select 1").fetchone(), (1,), "after errors")
    try:
        psycopg.connect(place.served.pgwire, user="nobody", password="x").close()
    except psycopg.OperationalError:
        time.sleep(0.3)
    else:
        raise WrongError("a stranger was let in")


def leaving(place: Place, chosen: random.Random) -> None:
    """Clients that vanish, at every stage."""
    sql = chosen.choice((SLOW, SLOW_MERGE, MANY))
    with Wire(place.served.pgwire) as made:
        stage = chosen.randrange(4)
        if stage == 0:
            made.send(struct.pack(">ii", 40, 196608))
        else:
            made.sign_in("nora")
        if stage == 1:
            made.send(query(sql))
        if stage == 2:
            made.send(parse(sql), bind(), execute("", 50), SYNC)
        if stage == 3:
            made.ask(query("begin"))
            made.ask(parse(MANY), bind("p"), execute("p", 5), SYNC)
        time.sleep(chosen.uniform(0, 0.5))
        if chosen.random() < 0.5:
            made.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def slowly(place: Place, chosen: random.Random) -> None:
    """A large answer, some KB a second; then he has had enough."""
    with Wire(place.served.pgwire) as made:
        made.sign_in("nora")
        made.send(query(MANY))
        for _ in range(10):
            if len(made.exactly(2000)) < 2000:
                raise WrongError("a slow reader meets an end")
            time.sleep(0.25)
