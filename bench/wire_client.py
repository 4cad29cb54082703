"""A client of one endpoint, in a process of its own, so that its cost is nobody else's.

Takes: as arguments a way and an address as JSON; a task a line, as JSON, on standard input. Gives:
a line of JSON for each: seconds of each time, rows, and the answer of the last time. Never keeps
what it pulls.

Ways: `libpq` (PostgreSQL and the gateway's PostgreSQL wire alike), `flight` (ADBC's driver of
Flight SQL), `dbapi` (sqluice), `http`, `inside` (a gateway in this process).
"""

from __future__ import annotations

import json
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import adbc_driver_flightsql.dbapi
import psycopg
from psycopg import pq

import sqluice
from bench.inside import drained
from bench.ours import Ours
from gateway.config import load_config
from gateway.opening import open_gateway, settle

Row = Sequence[object]
_ARROW = "application/vnd.apache.arrow.stream"
_CHUNK = 1 << 20


class Way(Protocol):
    """What every way can do."""

    def pull(self, sql: str, form: str) -> int:
        """All rows of a statement, none of which is kept; how many there were."""

    def ask(self, sql: str, values: Row) -> list[Row]:
        """A small answer; a statement with values is prepared once."""

    def close(self) -> None:
        """Disconnect."""


class Libpq:
    """As a program in C would: values are not made Python's but in `ask`."""

    def __init__(self, address: str, user: str, password: str) -> None:
        """Connect."""
        parts = urlsplit(address)
        signed = f"{user}:{password}@" if user else ""
        self._connection = psycopg.connect(
            f"postgresql://{signed}{parts.netloc}{parts.path}", autocommit=True
        )
        self._wire = self._connection.pgconn

    def pull(self, sql: str, form: str) -> int:
        """Text or binary into libpq's own memory; as COPY in binary, row by row and dropped."""
        if form == "copy":
            return self._copied(f"COPY ({sql}) TO STDOUT (FORMAT binary)")
        result = self._wire.exec_params(sql.encode(), None, result_format=int(form == "binary"))
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise RuntimeError(result.error_message.decode())
        rows = result.ntuples
        result.clear()
        return rows

    def _copied(self, sql: str) -> int:
        self._wire.send_query(sql.encode())
        begun = self._wire.get_result()
        if begun is None or begun.status != pq.ExecStatus.COPY_OUT:
            raise RuntimeError(self._wire.error_message.decode())
        # A row a message; the last holds the end alone.
        rows = -1
        while self._wire.get_copy_data(0)[0] > 0:
            rows += 1
        while self._wire.get_result() is not None:
            pass
        return rows

    def ask(self, sql: str, values: Row) -> list[Row]:
        """Prepared where there are values, else as it is."""
        if not values:
            found = self._connection.execute(sql)
            return list(found.fetchall()) if found.description else []
        cursor = self._connection.execute(sql.replace("?", "%s"), values, prepare=True, binary=True)
        return list(cursor.fetchall())

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class Flight:
    """ADBC's driver, with a cursor for each statement."""

    def __init__(self, address: str, user: str, password: str) -> None:
        """Connect."""
        signed = {"username": user, "password": password}
        self._connection = adbc_driver_flightsql.dbapi.connect(
            address, db_kwargs=signed, autocommit=True
        )
        self._cursors: dict[str, adbc_driver_flightsql.dbapi.Cursor] = {}

    def pull(self, sql: str, form: str) -> int:
        """Batches as they come."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            with cursor.fetch_record_batch() as reader:
                return drained(reader)[0]

    def ask(self, sql: str, values: Row) -> list[Row]:
        """A repeated statement stays prepared as long as its cursor is the same."""
        if sql not in self._cursors:
            self._cursors[sql] = self._connection.cursor()
        cursor = self._cursors[sql]
        cursor.execute(sql, values or None)
        return list(cursor.fetchall())

    def close(self) -> None:
        """Disconnect."""
        for one in self._cursors.values():
            one.close()
        self._connection.close()


class DbApi:
    """The project's own client."""

    def __init__(self, address: str, user: str, password: str) -> None:
        """Connect."""
        self._connection = sqluice.connect(address, user=user, password=password)
        self._cursors: dict[str, sqluice.Cursor] = {}

    def pull(self, sql: str, form: str) -> int:
        """Batches as they come."""
        with closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            return drained(cursor.fetch_record_batch())[0]

    def ask(self, sql: str, values: Row) -> list[Row]:
        """A cursor for each statement."""
        if sql not in self._cursors:
            self._cursors[sql] = self._connection.cursor()
        cursor = self._cursors[sql]
        cursor.execute(sql, values)
        return list(cursor.fetchall())

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class Http:
    """One connection that is kept."""

    def __init__(self, address: str, user: str, password: str) -> None:
        """Connect."""
        self._connection = HTTPConnection(urlsplit(address).netloc)
        signed = b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {signed}", "Content-Type": "application/json"}

    def pull(self, sql: str, form: str) -> int:
        """The bytes of an Arrow stream; those are what is told."""
        answer = self._post({"sql": sql}, _ARROW)
        size = 0
        while chunk := answer.read(_CHUNK):
            size += len(chunk)
        return size

    def ask(self, sql: str, values: Row) -> list[Row]:
        """As JSON."""
        answer = self._post({"sql": sql, "parameters": list(values)}, "application/json")
        content = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(str(content))
        return list(content["rows"])

    def _post(self, body: Mapping[str, object], accept: str) -> Any:  # noqa: ANN401 - a response
        headers = {**self._headers, "Accept": accept}
        try:
            self._connection.request("POST", "/v1/query", json.dumps(body), headers)
            return self._connection.getresponse()
        except (BrokenPipeError, ConnectionResetError, RemoteDisconnected):
            # Others had their turn for so long that the server has closed it; it opens again.
            self._connection.close()
            self._connection.request("POST", "/v1/query", json.dumps(body), headers)
            return self._connection.getresponse()

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


class Inside:
    """A gateway in this process; the address is a mesh folder, the password its environment."""

    def __init__(self, address: str, user: str, password: str) -> None:
        """Open it."""
        self._opened = open_gateway(load_config(Path(address), json.loads(password)))
        settle()
        self._ours = Ours(self._opened, user)

    def pull(self, sql: str, form: str) -> int:
        """Batches as they come."""
        return drained(self._ours.batches(sql))[0]

    def ask(self, sql: str, values: Row) -> list[Row]:
        """Rows of Python's."""
        return list(self._ours.rows(sql, tuple(values)))

    def close(self) -> None:
        """Close it."""
        self._opened.close()


WAYS: Mapping[str, Callable[[str, str, str], Way]] = {
    "libpq": Libpq, "flight": Flight, "dbapi": DbApi, "http": Http, "inside": Inside,
}  # fmt: skip


def _done(way: Way, task: Mapping[str, Any]) -> dict[str, object]:
    """One task: `pull` a statement once, or `ask` one for each list of values."""
    sql = str(task["sql"])
    if task["do"] == "pull":
        start = time.perf_counter()
        rows = way.pull(sql, str(task["form"]))
        return {"took": [time.perf_counter() - start], "rows": rows, "answer": []}
    took = []
    answer: list[Row] = []
    for values in task["values"]:
        start = time.perf_counter()
        answer = way.ask(sql, values)
        took.append(time.perf_counter() - start)
    return {"took": took, "rows": len(answer), "answer": _plain(answer)}


def _plain(rows: list[Row]) -> list[list[object]]:
    """Values that look the same whichever way they came: HTTP has numbers as text."""
    return [[_value(one) for one in row] for row in rows]


def _value(one: object) -> object:
    if isinstance(one, datetime):
        return one.replace(tzinfo=None).isoformat()
    if isinstance(one, str):
        try:
            return datetime.fromisoformat(one).replace(tzinfo=None).isoformat()
        except ValueError:
            pass
    return str(one)


def main(kind: str, arguments: str) -> None:
    """Answer until the input ends."""
    with closing(WAYS[kind](*json.loads(arguments))) as way:
        for line in sys.stdin:
            sys.stdout.write(json.dumps(_done(way, json.loads(line))) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
