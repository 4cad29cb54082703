"""The questions of the demo, and how a stock client asks them.

Takes: the addresses of a gateway. Gives: what each person got, and why, as values. Never prints,
and knows no more of the gateway than any client does.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import adbc_driver_flightsql.dbapi as flight_sql
import pyarrow as pa

FIVE_SOURCES = """\
SELECT al.name AS airline, count(*) AS trips,
       round(avg(f.dep_delay), 1) AS delay_min,
       round(avg(p.seats)) AS seats, round(avg(w.wind_speed), 1) AS wind_mph
FROM loyalty.trips t
JOIN operations.departures f ON f.flight_id = t.flight_id
JOIN fleet.aircraft p ON p.tailnum = f.tailnum
JOIN weather.observations w
  ON w.origin = f.origin AND w.time_hour = f.time_hour
JOIN network.reference.airlines al ON al.carrier = f.carrier
WHERE f.dep_delay > 30
GROUP BY al.name ORDER BY trips DESC, airline LIMIT 4"""
PERSONAL = """\
SELECT name, email, phone, birth_date, region, spend
FROM loyalty.members ORDER BY member_id LIMIT 3"""
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks, and why."""

    user: str
    role: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Reason:
    """One line of EXPLAIN POLICY that changed the answer."""

    object: str
    outcome: str
    policy: str
    file: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person got: columns and rows, or an error with what would change it; and why."""

    person: Person
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()
    reasons: tuple[Reason, ...] = ()
    error: Mapping[str, str] | None = None
    requests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One line of EXPLAIN."""

    step: str
    where: str
    what: str
    detail: str
    why: str


PEOPLE = (
    Person("mara", "marketing analyst for the northeast and the south", "loyalty-marketing"),
    Person("petra", "privacy officer", "privacy-review"),
    Person("carl", "analyst of United Air Lines for the west", "service-quality"),
)


def over_flight(flight: str) -> Iterator[Answer]:
    """The question over five sources, by the stock ADBC driver of Flight SQL."""
    for person in PEOPLE:
        with _connected(flight, person) as connection, connection.cursor() as cursor:
            cursor.execute(FIVE_SOURCES)
            answer = cursor.fetch_arrow_table()
            cursor.execute(f"EXPLAIN POLICY {FIVE_SOURCES}")
            told = cursor.fetch_arrow_table().to_pylist()
        reasons = _reasons(told)
        yield Answer(person, tuple(answer.column_names), _rows(answer), reasons)


def over_http(http: str) -> Iterator[Answer]:
    """The question for personal data, as JSON over HTTP."""
    for person in PEOPLE:
        answer = _posted(http, person, PERSONAL)
        told = _told(http, person)
        if isinstance(error := answer.get("error"), dict):
            asked = dict.fromkeys(str(row["request"]) for row in told if row["request"])
            shown = {name: str(value) for name, value in error.items()}
            yield Answer(person, error=shown, requests=tuple(asked))
            continue
        yield Answer(
            person,
            tuple(str(one["name"]) for one in _list(answer["columns"])),
            tuple(tuple(row) for row in _list(answer["rows"])),
            _reasons(told),
        )


def _told(http: str, person: Person) -> list[dict[str, object]]:
    """EXPLAIN POLICY of the question for personal data."""
    told = _posted(http, person, f"EXPLAIN POLICY {PERSONAL}")
    names = tuple(str(one["name"]) for one in _list(told["columns"]))
    return [dict(zip(names, row, strict=True)) for row in _list(told["rows"])]


def plan(flight: str) -> tuple[Step, ...]:
    """EXPLAIN of the question over five sources, as the first person sees it."""
    with _connected(flight, PEOPLE[0]) as connection, connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {FIVE_SOURCES}")
        return tuple(Step(**row) for row in cursor.fetch_arrow_table().to_pylist())


def _connected(flight: str, person: Person) -> flight_sql.Connection:
    return flight_sql.connect(
        flight,
        autocommit=True,
        db_kwargs={
            "username": person.user,
            "password": f"{person.user}-demo",
            "adbc.flight.sql.rpc.call_header.x-sqluice-purpose": person.purpose,
        },
    )


def _posted(http: str, person: Person, sql: str) -> Mapping[str, object]:
    token = base64.b64encode(f"{person.user}:{person.user}-demo".encode()).decode()
    request = urllib.request.Request(
        f"{http}/v1/query",
        data=json.dumps({"sql": sql, "purpose": person.purpose}).encode(),
        headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        with error:
            return dict(json.load(error))


def _list(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


def _rows(table: pa.Table) -> tuple[tuple[object, ...], ...]:
    return tuple(tuple(row.values()) for row in table.to_pylist())


def _reasons(told: Sequence[Mapping[str, object]]) -> tuple[Reason, ...]:
    """What was filtered, and what was masked among the columns that the question reads."""
    found = [
        Reason(str(row["object"]), str(row["outcome"]), str(row["policy"]), str(row["file"]))
        for row in told
        if row["what"] == "rows" or str(row["outcome"]).startswith("masked")
    ]
    return tuple(dict.fromkeys(found))
