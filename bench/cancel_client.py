"""A client of one endpoint that asks for what takes too long, in a process that may be killed.

Takes: as arguments a way, an address and who asks, as JSON; on standard input a line of JSON a
task: `run` a statement in a thread, `stop` it as this endpoint's clients do, `over` to hear
whether it has ended. Gives: a line for each; for `over` how it ended. Never waits for an answer.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Protocol
from urllib.parse import urlsplit

import adbc_driver_flightsql.dbapi
import psycopg

import sqluice


class Way(Protocol):
    """What every way can do."""

    def run(self, sql: str) -> None:
        """Ask, and take the whole answer."""

    def stop(self) -> None:
        """Stop what runs, from another thread."""

    def close(self) -> None:
        """Disconnect."""


class Libpq:
    """A CancelRequest, as psycopg and psql send it."""

    def __init__(self, address: str, user: str, password: str) -> None:
        """Connect."""
        netloc = urlsplit(address).netloc
        self._connection = psycopg.connect(
            f"postgresql://{user}:{password}@{netloc}/", autocommit=True
        )

    def run(self, sql: str) -> None:
        """As text, without parameters."""
        self._connection.execute(sql.encode()).fetchall()

    def stop(self) -> None:
        """From a connection of its own."""
        self._connection.cancel_safe()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class Flight:
    """ADBC's driver."""

    def __init__(self, address: str, user: str, password: str) -> None:
        """Connect."""
        signed = {"username": user, "password": password}
        self._connection = adbc_driver_flightsql.dbapi.connect(
            address, db_kwargs=signed, autocommit=True
        )
        self._cursor = self._connection.cursor()

    def run(self, sql: str) -> None:
        """By a new cursor."""
        self._cursor.close()
        self._cursor = self._connection.cursor()
        self._cursor.execute(sql)
        self._cursor.fetchall()

    def stop(self) -> None:
        """What the driver has for it."""
        self._cursor.adbc_cancel()

    def close(self) -> None:
        """Disconnect."""
        self._cursor.close()
        self._connection.close()


class DbApi:
    """The project's own client; a folder as the address is a gateway in this process."""

    def __init__(self, address: str, user: str, password: str) -> None:
        """Connect; whoever asks in process gives the environment of the gateway as the password."""
        if urlsplit(address).scheme:
            self._connection = sqluice.connect(address, user=user, password=password)
        else:
            os.environ.update(json.loads(password))
            self._connection = sqluice.connect(address, user=user)
        self._cursor = self._connection.cursor()

    def run(self, sql: str) -> None:
        """By the one cursor."""
        self._cursor.execute(sql).fetchall()

    def stop(self) -> None:
        """The cursor's own word."""
        self._cursor.cancel()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class Http:
    """A connection for each request."""

    def __init__(self, address: str, user: str, password: str) -> None:
        """Nothing is connected yet."""
        self._netloc = urlsplit(address).netloc
        signed = b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {signed}", "Content-Type": "application/json"}

    def run(self, sql: str) -> None:
        """As JSON."""
        self._ask("POST", "/v1/query", {"sql": sql})

    def stop(self) -> None:
        """By its id, which is looked up as whoever does not know it would."""
        for one in json.loads(self._ask("GET", "/v1/queries"))["queries"]:
            self._ask("DELETE", f"/v1/queries/{one['query_id']}")

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> bytes:
        with closing(HTTPConnection(self._netloc)) as connection:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, self._headers)
            answer = connection.getresponse()
            found: bytes = answer.read()
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(found.decode())
        return found

    def close(self) -> None:
        """Nothing is kept open."""


WAYS: Mapping[str, Callable[[str, str, str], Way]] = {
    "libpq": Libpq, "flight": Flight, "dbapi": DbApi, "http": Http,
}  # fmt: skip


class _Asked:
    """One statement at a time, in a thread."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._thread: threading.Thread | None = None
        self._ended = ""

    def do(self, task: Mapping[str, str]) -> object:
        """One task; what is told of it."""
        if task["do"] == "run":
            self._ended = ""
            self._thread = threading.Thread(target=self._run, args=(task["sql"],), daemon=True)
            self._thread.start()
        elif task["do"] == "stop":
            self._way.stop()
        else:
            return self._ended
        return ""

    def _run(self, sql: str) -> None:
        try:
            self._way.run(sql)
        except Exception as error:  # noqa: BLE001 - what it is called differs by driver
            self._ended = f"{type(error).__name__}: {error}"
        else:
            self._ended = "answered"


def main(kind: str, arguments: str) -> None:
    """Do tasks until the input ends."""
    with closing(WAYS[kind](*json.loads(arguments))) as way:
        asked = _Asked(way)
        for line in sys.stdin:
            sys.stdout.write(json.dumps(asked.do(json.loads(line))) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
