"""Clients of Flight SQL: ADBC, our DB-API, SQLAlchemy, and the protocol by hand."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress

import adbc_driver_manager
import pyarrow as pa
import sqlalchemy as sa
from pyarrow import flight

import sqluice
from gateway.serve.flight.messages import make
from tests.flight.raw import RawClient
from tests.served import MANY, SLOW, SLOW_MERGE
from tests.soak.place import Known, Place
from tests.soak.wrong import FAILING, WrongError, expect, expect_rows

_PREPARED = (
    "select f.carrier, count(*) as n from operations.departures f where f.month = ? "
    "group by 1 order by 1"
)


def adbc(place: Place, chosen: random.Random) -> None:
    """The stock driver: known answers, prepared statements, settings."""
    known = chosen.choice(place.known)
    with place.served.connect(known.user) as connection, connection.cursor() as cursor:
        for _ in range(3):
            cursor.execute(known.sql)
            expect_rows(known, cursor.fetchall(), "ADBC")
        cursor.execute("set timezone = 'Europe/Berlin'")
        cursor.fetchall()
        cursor.execute("show timezone")
        expect(cursor.fetchall(), [("Europe/Berlin",)], "a setting")
        with suppress(NotImplementedError):
            connection.adbc_get_objects(depth="tables").read_all()


def prepared(place: Place, chosen: random.Random) -> None:
    """One statement, prepared once, executed with many values."""
    rows: dict[int, list[tuple[object, ...]]] = {}
    with place.served.connect("nora") as connection, connection.cursor() as cursor:
        for month in (1, 2, 3, 1):
            cursor.execute(_PREPARED, (month,))
            found = cursor.fetchall()
            expect(rows.setdefault(month, found), found, "a prepared statement")
        i = chosen.randrange(1000)
        cursor.execute("select i + ? as n from range(0, 5000) as r(i) order by 1", (i,))
        expect([one[0] for one in cursor.fetchall()], list(range(i, i + 5000)), "parameters")


def abandoned(place: Place, chosen: random.Random) -> None:
    """Results that nobody fetches, or not to their end; statements that nobody closes."""
    how = chosen.randrange(4)
    if how < 2:
        with place.served.connect() as connection, connection.cursor() as cursor:
            cursor.execute(MANY)
            if how:
                cursor.fetch_record_batch().read_next_batch()
        return
    with RawClient(place.served.flight, "nora") as raw:
        info = raw.start(MANY)
        raw.prepare(_PREPARED)
        if how == 3:
            raw.reader(info).read_chunk()
        # Signing out ends a session; what it began waits for its fetcher until the client says so.
        raw.cancel(info)
        if chosen.random() < 0.5:
            raw.act("CloseSession")


def options(place: Place, chosen: random.Random) -> None:
    """Session options by their own calls."""
    zone = chosen.choice(("Europe/Berlin", "Asia/Tokyo"))
    value = make("SessionOptionValue", string_value=zone)
    entry = make("SessionOptionEntry", key="timezone", value=value)
    with RawClient(place.served.flight, "carl") as raw:
        raw.act("SetSessionOptions", make("SessionOptions", session_options=[entry])
                .SerializeToString())  # fmt: skip
        (told,) = raw.act("GetSessionOptions")
        expect(zone.encode() in told, True, "a session's option")
        found = raw.read("CommandStatementQuery", query="show timezone").column(0).to_pylist()
        expect(found, [zone], "what the option set")
        raw.read("CommandGetTables", include_schema=True)
        raw.act("CloseSession")


def cancelling(place: Place, chosen: random.Random) -> None:
    """Cancelled before the first batch, at the source or in the merge; and while it streams."""
    with place.served.connect() as connection, connection.cursor() as cursor:
        other = threading.Timer(chosen.uniform(0.05, 0.8), cursor.adbc_cancel)
        other.start()
        try:
            cursor.execute(chosen.choice((SLOW, SLOW_MERGE)))
        except adbc_driver_manager.Error:
            pass
        else:
            raise WrongError("what was cancelled has an answer")
        finally:
            other.join()
        cursor.execute("select 1 as x")
        expect(cursor.fetchall(), [(1,)], "after a cancel")
    with RawClient(place.served.flight, "nora") as raw:
        info = raw.start(MANY)
        reader = raw.reader(info)
        reader.read_chunk()
        expect(raw.cancel(info), 1, "cancelling a stream")
        try:
            while True:
                reader.read_chunk()
        except (flight.FlightError, pa.ArrowCancelled):
            pass
        except StopIteration:
            raise WrongError("a cancelled stream ends like a whole one") from None


def errors(place: Place, chosen: random.Random) -> None:
    """By our own client: each error has its code."""
    with sqluice.connect(place.served.flight, user="nora", password="nora-demo") as connection:
        for sql, code, _ in chosen.sample(FAILING, 3):
            try:
                connection.execute(sql).fetchall()
            except sqluice.Error as error:
                expect(error.code, code, sql[:40])
            else:
                raise WrongError(f"an answer to {sql[:40]}")
        expect(connection.execute("select 1").fetchall(), [(1,)], "after errors")
    # By hand: a stock driver that is refused keeps its connection as long as its process lives.
    try:
        RawClient(place.served.flight, "nobody", "x")
    except (flight.FlightUnauthenticatedError, flight.FlightUnavailableError):
        time.sleep(0.3)
    else:
        raise WrongError("a stranger was let in")


def own(place: Place, chosen: random.Random) -> None:
    """Our DB-API, in rows and tables."""
    known = chosen.choice(place.known)
    with sqluice.connect(
        place.served.flight, user=known.user, password=f"{known.user}-demo"
    ) as connection:
        cursor = connection.cursor()
        expect_rows(known, cursor.execute(known.sql).fetchall(), "our DB-API")
        table = cursor.execute(known.sql).fetch_arrow_table()
        expect_rows(known, _listed(table), "our DB-API, a table")
        if chosen.random() < 0.3:
            cursor.execute(MANY).fetchone()


def alchemy(place: Place, chosen: random.Random) -> None:
    """SQLAlchemy: reflection and statements, from a pool."""
    known = chosen.choice(place.known)
    host = place.served.flight.partition("//")[2]
    engine = sa.create_engine(
        f"sqluice://{known.user}:{known.user}-demo@{host}/", pool_pre_ping=True
    )
    try:
        with engine.connect() as connection:
            expect_rows(known, connection.execute(sa.text(_escaped(known))), "SQLAlchemy")
            schemas = sa.inspect(connection).get_schema_names()
            expect("operations.departures" in schemas, True, "schemas")
    finally:
        engine.dispose()


def slowly(place: Place, chosen: random.Random) -> None:
    """Reads a batch now and then, and leaves."""
    with RawClient(place.served.flight, "nora") as raw:
        reader = raw.reader(raw.start(MANY))
        for _ in range(6):
            if not reader.read_chunk().data.num_rows:
                raise WrongError("a slow reader meets an end")
            time.sleep(0.4)
        reader.cancel()


def _escaped(known: Known) -> str:
    return known.sql.replace(":", "\\:")


def _listed(table: pa.Table) -> list[tuple[object, ...]]:
    return list(zip(*(one.to_pylist() for one in table.columns), strict=True))
