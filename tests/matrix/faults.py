"""Every code, provoked for real, and how each door tells of it.

Takes: the house. Gives: for each code a statement that ends in it; for each door the facts of the
error that its client meets. Never reads a code out of a text where the protocol has a place for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import grpc
import psycopg
import sqlalchemy
from pyarrow import flight

import sqluice
from gateway.serve.flight.messages import make, pack, parse
from sqluice.codes import CODES
from sqluice.details import STATUS_KEY, facts_of
from tests.matrix.doors import ARROW, CSV, JSON, PARQUET
from tests.matrix.house import House
from tests.served import basic

# As nora, with another password where one is given; or as another user.
Ask = Callable[[House, str, "str | None", str], "Told"]


@dataclass(frozen=True, slots=True)
class Provoked:
    """A statement, what has to be asked before it, and what it concerns."""

    sql: str
    product: str = ""
    policy: str = ""
    before: str = ""


STATEMENTS: Mapping[str, Provoked] = {
    "parse_error": Provoked("selec 1"),
    "unsupported_sql": Provoked("select id from stock.grouped", "stock.grouped", "stock.grouped"),
    "unknown_table": Provoked("select * from nowhere.at.all"),
    "unknown_column": Provoked("select wings from stock.open", "stock.open"),
    "ambiguous_name": Provoked("select id from stock.open as a, stock.people as b"),
    "type_error": Provoked("select cast(word as integer) as n from stock.open"),
    # Beside all groups, this one would show who alone has no note.
    "access_denied": Provoked(
        "select count(*) as n from stock.grouped where tenant = 'A' and note is not null",
        "stock.grouped", "stock.grouped",
        "select tenant, count(*) as n from stock.grouped group by tenant",
    ),
    "purpose_required": Provoked("select * from stock.asked", "stock.asked", "stock.asked"),
    "rate_limited": Provoked("select * from stock.shut", "stock.shut", "stock.shut"),
    "limit_exceeded": Provoked("select * from stock.few", "stock.few", "stock.few"),
    "source_unavailable": Provoked("select * from gone.nothing", "gone.nothing"),
    "source_error": Provoked("select * from stock.missing", "stock.missing"),
    "timeout": Provoked("select * from stock.late", "stock.late", "stock.late"),
    "cancelled": Provoked("select * from stock.slow"),
    "unauthenticated": Provoked("select 1"),
    "internal": Provoked("select id from stock.open"),
}  # fmt: skip
# What no statement ends in, and why. The doors of a served gateway never show `invalid_config`:
# files that are wrong do not come into force, and a gateway that begins with them does not begin.
UNPROVOKED: Mapping[str, str] = {
    "quality_gate": "nothing raises it yet: quality rules stop no query",
    "stale_data": "nothing raises it yet: freshness is told beside an answer, and stops no query",
}
# A key is what two queries can have in common; neither HTTP nor PostgreSQL's clients send one, and
# in process a connection has its gateway for itself.
ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "invalid_config": ("in process",),
    "conflict": ("DB-API", "Flight SQL"),
}
# Where the status on the wire is not the table's, for the sake of stock clients.
FLIGHT = {"RESOURCE_EXHAUSTED": "UNAVAILABLE", "FAILED_PRECONDITION": "UNKNOWN"}
_INFO = "/arrow.flight.protocol.FlightService/GetFlightInfo"
PRIVATE = re.compile(
    r"Traceback|File \"|\.py\b|(?<![\w:])/(?!v1/|openapi)\w+/|postgresql://|127\.0\.0\.1|no_such_table"
    r"|relation|psycopg|\.duckdb|sqlite"
)


@dataclass(frozen=True, slots=True)
class Told:
    """What a door tells of an error; None: its protocol has no place for it.

    outward: the status, class or SQLSTATE of the protocol. text: all that a reader sees.
    """

    code: str
    outward: object
    query_id: str | None
    product: str
    policy: str
    is_retryable: bool | None
    message: str
    text: str


def wanted(door: str, code: str) -> object:
    """The status, class or SQLSTATE that a door has for a code."""
    entry = CODES[code]
    if door.startswith("HTTP"):
        return entry.http, entry.pep249, entry.sqlstate
    if door.startswith("PostgreSQL"):
        return entry.sqlstate
    if door == "Flight SQL":
        return FLIGHT.get(entry.grpc, entry.grpc)
    return (entry.sqlstate,) if door == "ADBC" else (entry.pep249, entry.sqlstate)


def of_client(error: sqluice.Error) -> Told:
    outward = (type(error).__name__, error.sqlstate)
    return Told(
        error.code, outward, error.query_id, error.product, error.policy, error.is_retryable,
        error.message, f"{error} {error.failure}",
    )  # fmt: skip


def _of_facts(facts: Mapping[str, str], outward: object, text: str) -> Told:
    return Told(
        facts["code"], outward, facts["query_id"] or None, facts["product"], facts["policy"],
        facts["retryable"] == "true", facts["message"], f"{text} {facts}",
    )  # fmt: skip


def _in_process(house: House, sql: str, password: str | None = None, user: str = "nora") -> Told:
    try:
        connection = house.local(user if password is None else password)
        connection.execute(sql).fetchall()
    except sqluice.Error as error:
        return of_client(error)
    raise AssertionError("no error")


def _http(accept: str) -> Ask:
    def ask(house: House, sql: str, password: str | None = None, user: str = "nora") -> Told:
        answer = house.served.ask(
            "/v1/query", {"sql": sql}, Accept=accept, Authorization=basic(user, password)
        )
        assert answer.status != 200, (accept, answer.body[:200])
        fault = answer.json["error"]
        outward = (answer.status, fault["class"], fault["sqlstate"])
        assert fault["query_id"] == answer.headers["X-Sqluice-Query-Id"]
        return Told(
            fault["code"], outward, fault["query_id"], fault["product"] or "",
            fault["policy"] or "", fault["retryable"], fault["message"], answer.body.decode(),
        )  # fmt: skip

    return ask


def _flight(house: House, sql: str, password: str | None = None, user: str = "nora") -> Told:
    return of_flight(house, sql, basic(user, password))


def of_flight(house: House, sql: str, authorization: str, **headers: str) -> Told:
    """By gRPC's own client: pyarrow's has no place for the details of a status."""
    parts = urlsplit(house.served.flight)
    signed = [("authorization", authorization), *headers.items()]
    command = flight.FlightDescriptor.for_command(pack(make("CommandStatementQuery", query=sql)))
    known: dict[str, Any] = {"metadata": signed, "timeout": 60}
    try:
        with grpc.insecure_channel(f"{parts.hostname}:{parts.port}") as channel:
            begin: Any = channel.unary_unary(_INFO)
            info = begin(command.serialize(), **known)
            ticket = flight.FlightInfo.deserialize(info).endpoints[0].ticket
            got: Any = channel.unary_stream(_INFO.replace("GetFlightInfo", "DoGet"))
            for _ in got(ticket.serialize(), **known):
                pass
    except grpc.RpcError as error:
        ended: Any = error
        details = dict(ended.trailing_metadata())["grpc-status-details-bin"]
        return _of_status(details, str(ended.details()))
    raise AssertionError("no error")


def _of_status(details: bytes, text: str) -> Told:
    status = parse("Status", details)
    facts = facts_of([(STATUS_KEY, status.details[0].SerializeToString())])
    outward = next(one.name for one in grpc.StatusCode if one.value[0] == status.code)
    return _of_facts(facts, outward, text)


def _adbc(house: House, sql: str, password: str | None = None, user: str = "nora") -> Told:
    options = {} if password is None else {"password": password}
    try:
        with house.served.connect(user, **options) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            cursor.fetchall()
    except adbc_driver_manager.Error as error:
        facts = facts_of(error.details or ())
        return _of_facts(facts, (facts["sqlstate"],), str(error))
    raise AssertionError("no error")


def _dbapi(house: House, sql: str, password: str | None = None, user: str = "nora") -> Told:
    options = {} if password is None else {"password": password}
    try:
        with house.connect(user, **options) as connection:
            connection.execute(sql).fetchall()
    except sqluice.Error as error:
        return of_client(error)
    raise AssertionError("no error")


def _sqlalchemy(house: House, sql: str, password: str | None = None, user: str = "nora") -> Told:
    options = {} if password is None else {"password": password}
    try:
        with house.engine(user, **options).connect() as connection:
            connection.execute(sqlalchemy.text(sql)).fetchall()
    except sqlalchemy.exc.DBAPIError as error:
        assert isinstance(error.orig, sqluice.Error)
        assert type(error).__name__ == type(error.orig).__name__
        return of_client(error.orig)
    raise AssertionError("no error")


def _wire(is_binary: bool) -> Ask:
    def ask(house: House, sql: str, password: str | None = None, user: str = "nora") -> Told:
        options = {} if password is None else {"password": password}
        try:
            with house.wire(user, **options) as made, made.cursor(binary=is_binary) as cursor:
                cursor.execute(sql.encode())
        except psycopg.Error as error:
            told = error.diag
            if password is not None:
                # libpq hands on no fields of what ends a connection before it begins, and says
                # first where it went.
                text = str(error).partition("FATAL: ")[2]
                assert CODES["unauthenticated"].remedy in text
                return Told("unauthenticated", "28000", None, "", "", None, "", text)
            code, _, query = str(told.message_detail).partition(", query ")
            seen = {key: str(getattr(told, key)) for key in dir(told) if not key.startswith("_")}
            return Told(
                code, told.sqlstate, query or None, told.schema_name or "",
                told.constraint_name or "", None, str(told.message_primary), f"{error} {seen}",
            )  # fmt: skip
        raise AssertionError("no error")

    return ask


def _copied(house: House, sql: str, password: str | None = None, user: str = "nora") -> Told:
    secret = f"{user}-demo" if password is None else password
    address = house.served.pgwire.replace("://", f"://{user}:{secret}@") + "/postgres"
    try:
        with (
            adbc_driver_postgresql.dbapi.connect(address) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)
            cursor.fetchall()
    except adbc_driver_manager.Error as error:
        if password is not None:
            text = str(error).partition("FATAL: ")[2]
            assert CODES["unauthenticated"].remedy in text
            return Told("unauthenticated", "28000", None, "", "", None, "", text)
        # The drivers' interface says that keys are text, and this one gives bytes.
        details: Any = error.details or ()
        told = {key.decode().removeprefix("PG_DIAG_"): each.decode() for key, each in details}
        code, _, query = told.get("MESSAGE_DETAIL", "").partition(", query ")
        return Told(
            code, error.sqlstate, query or None, told.get("SCHEMA_NAME", ""),
            told.get("CONSTRAINT_NAME", ""), None, told.get("MESSAGE_PRIMARY", ""),
            f"{error} {told}",
        )  # fmt: skip
    raise AssertionError("no error")


FAULTS: Mapping[str, Ask] = {
    "in process": _in_process,
    "HTTP Arrow": _http(ARROW),
    "HTTP Parquet": _http(PARQUET),
    "HTTP JSON": _http(JSON),
    "HTTP CSV": _http(CSV),
    "Flight SQL": _flight,
    "ADBC": _adbc,
    "DB-API": _dbapi,
    "SQLAlchemy": _sqlalchemy,
    "PostgreSQL text": _wire(False),
    "PostgreSQL binary": _wire(True),
    "PostgreSQL ADBC": _copied,
}
