"""How each door stops a statement: by its own means, and by a client that is killed.

Takes: the house. Gives: for each door a statement that runs and the way to stop it; a client as a
process of its own. Never looks whether anything stopped.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import adbc_driver_manager
import psycopg
import sqlalchemy

import sqluice
from sqluice.codes import CODES
from sqluice.details import facts_of
from tests.flight.raw import FAULTS, RawClient
from tests.flight.test_statements import code_in
from tests.matrix.house import House

# PostgreSQL sends rows without an end, and waits without sending any.
STREAMING, WAITING = "select id, other from stock.many", "select id, other from stock.slow"
STATEMENTS = {"streaming": STREAMING, "waiting": WAITING}
Stop = Callable[[], object]
# The code that a statement ends with, in `codes`; what stops it is what a door gives.
Begin = Callable[[House, str, list[str]], "contextlib.AbstractContextManager[Stop]"]


@contextlib.contextmanager
def _running(run: Callable[[], object], codes: list[str]) -> Iterator[None]:
    """A call in a thread of its own, whose error is what counts."""

    def work() -> None:
        try:
            run()
        except sqluice.Error as error:
            codes.append(error.code)
        except sqlalchemy.exc.DBAPIError as error:
            codes.append(str(getattr(error.orig, "code", "")))
        except adbc_driver_manager.Error as error:
            # The driver gives up by itself, before it reads what the gateway has to say.
            known = facts_of(error.details or ()).get("code")
            is_cancelled = error.status_code == adbc_driver_manager.AdbcStatusCode.CANCELLED
            codes.append(known or ("cancelled" if is_cancelled else str(error)))
        except FAULTS as error:
            codes.append(code_in(error))
        except psycopg.Error as error:
            codes.append(str(error.diag.message_detail).partition(",")[0])
            assert error.sqlstate == CODES["cancelled"].sqlstate
        except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
            codes.append(repr(error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()


@contextlib.contextmanager
def _in_process(house: House, sql: str, codes: list[str]) -> Iterator[Stop]:
    cursor = house.local().cursor()
    with cursor, _running(lambda: _drain(cursor.execute(sql).fetchone), codes):
        yield cursor.cancel


@contextlib.contextmanager
def _http(house: House, sql: str, codes: list[str]) -> Iterator[Stop]:
    served = house.served

    def read() -> None:
        with served.asking("/v1/query", {"sql": sql}) as response:
            while response.read(1 << 20):
                pass

    asked: list[str] = []
    with _running(read, []):
        yield lambda: asked.extend(delete_all(house))
    codes += [str(served.ask(f"/v1/queries/{one}").json["state"]) for one in asked]


@contextlib.contextmanager
def _flight(house: House, sql: str, codes: list[str]) -> Iterator[Stop]:
    """CancelFlightInfo where there is an info; until then there is only the query's id."""
    with RawClient(house.served.flight, "nora") as client:
        if sql == WAITING:
            with _running(lambda: client.start(sql), codes):
                yield lambda: delete_all(house)
            return
        info = client.start(sql)
        reader = client.reader(info)
        with _running(lambda: _drain(reader.read_chunk), codes):
            yield lambda: client.cancel(info)


def delete_all(house: House) -> list[str]:
    """Stop all that runs, over HTTP; gives what it was."""
    running = [str(one["query_id"]) for one in house.served.ask("/v1/queries").json["queries"]]
    for one in running:
        assert house.served.ask(f"/v1/queries/{one}", method="DELETE").status == 200
    return running


@contextlib.contextmanager
def _adbc(house: House, sql: str, codes: list[str]) -> Iterator[Stop]:
    with house.served.connect() as connection, connection.cursor() as cursor:

        def read() -> None:
            cursor.execute(sql)
            _drain(cursor.fetchone)

        with _running(read, codes):
            yield cursor.adbc_cancel


@contextlib.contextmanager
def _dbapi(house: House, sql: str, codes: list[str]) -> Iterator[Stop]:
    with house.connect() as connection:
        cursor = connection.cursor()
        with _running(lambda: _drain(cursor.execute(sql).fetchone), codes):
            yield cursor.cancel


@contextlib.contextmanager
def _sqlalchemy(house: House, sql: str, codes: list[str]) -> Iterator[Stop]:
    """By the driver's own cursor: SQLAlchemy has no word for it."""
    with house.engine().connect() as connection:
        driver = connection.connection.cursor()
        with _running(lambda: _drain(driver.execute(sql).fetchone), codes):
            yield driver.cancel


@contextlib.contextmanager
def _wire(house: House, sql: str, codes: list[str]) -> Iterator[Stop]:
    with house.wire() as connection:
        cursor = connection.cursor()
        with _running(lambda: [None for _ in cursor.stream(sql.encode())], codes):
            yield connection.cancel_safe


def _drain(read: Callable[[], Any]) -> None:
    while read() is not None:
        pass


DOORS: Mapping[str, Begin] = {
    "in process": _in_process,
    "HTTP": _http,
    "Flight SQL": _flight,
    "ADBC": _adbc,
    "DB-API": _dbapi,
    "SQLAlchemy": _sqlalchemy,
    "PostgreSQL": _wire,
}


# A client that has asked and then does nothing; argv: the address, the statement, the folder.
_CLIENTS: Mapping[str, str] = {
    "in process": "import sqluice; c = sqluice.connect(argv[3], user='nora').execute(argv[2])",
    "HTTP": (
        "import base64, json, http.client; from urllib.parse import urlsplit\n"
        "c = http.client.HTTPConnection(urlsplit(argv[1]).netloc)\n"
        "key = base64.b64encode(b'nora:nora-demo').decode()\n"
        "c.request('POST', '/v1/query', json.dumps({'sql': argv[2]}), {'Content-Type': "
        "'application/json', 'Authorization': 'Basic ' + key})\n"
        "c.getresponse().read(10)"
    ),
    "ADBC": (
        "from adbc_driver_flightsql import dbapi\n"
        "c = dbapi.connect(argv[1], db_kwargs={'username': 'nora', 'password': 'nora-demo'}, "
        "autocommit=True).cursor(); c.execute(argv[2])"
    ),
    "DB-API": (
        "import sqluice; "
        "c = sqluice.connect(argv[1], user='nora', password='nora-demo').execute(argv[2])"
    ),
    "PostgreSQL": (
        "import psycopg; c = psycopg.connect(argv[1], user='nora', password='nora-demo')\n"
        "rows = c.cursor().stream(argv[2]); next(rows)"
    ),
}


# Those that wait where the others read; and the other way round.
MIXED = {"in process", "HTTP", "PostgreSQL"}
CROSSED = set(_CLIENTS) - MIXED
COUNT = len(_CLIENTS)


@contextlib.contextmanager
def clients(house: House, waiting: set[str]) -> Iterator[Stop]:
    """A client for each door, each a process that has asked; gives what kills them all."""
    served = house.served
    addresses = {"HTTP": served.http, "PostgreSQL": served.pgwire}
    made = [
        subprocess.Popen(
            [sys.executable, "-c", f"from sys import argv, stdin\n{text}\nstdin.read()",
             addresses.get(door, served.flight), WAITING if door in waiting else STREAMING,
             f"{house.conf}/"],
            stdin=subprocess.PIPE,
        )
        for door, text in _CLIENTS.items()
    ]  # fmt: skip

    def kill() -> None:
        for one in made:
            one.kill()

    try:
        yield kill
    finally:
        kill()
        for one in made:
            with one:
                pass
