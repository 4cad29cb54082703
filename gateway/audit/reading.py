"""The audit read back: requests, each with its start and its end.

Takes: state. Gives: audited requests, oldest first. Never shows a literal that was redacted: `?`
stands in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from gateway.audit.writer import settle
from gateway.normalise import Cut
from gateway.state import audit as rows
from gateway.state.engine import moment_text, reading

# What the session of a question to the catalogs of an endpoint says besides.
CATALOG: Mapping[str, object] = {"asks": "catalog"}


@dataclass(frozen=True, slots=True)
class AuditedQuery:
    """A request as the history tells it. `outcome` is unknown where no finish was recorded.

    `statement` has its literals where they are still known, `redacted` are the places in it where
    `?` stands for one that is not; `parameters` are their texts. `actor` is who asked in the place
    of `user`.
    """

    query_id: str
    at: str
    user: str
    endpoint: str
    purpose: str | None
    statement: str
    products: tuple[str, ...]
    policies: tuple[str, ...]
    outcome: str
    code: str
    rows: int | None
    bytes: int | None
    seconds: float | None
    client: str = ""
    dialect: str = "duckdb"
    parameters: tuple[str | None, ...] = ()
    columns: tuple[str, ...] = ()
    statement_hash: str = ""
    revision: str = ""
    decision: str = ""
    verdict: str = ""
    reasons: tuple[tuple[str, str, str], ...] = ()
    lineage: tuple[tuple[str | None, str, str, bool], ...] = ()
    plan: str = ""
    principal: Mapping[str, object] | None = None
    session: Mapping[str, object] | None = None
    redacted: tuple[int, ...] = ()
    actor: str = ""

    @property
    def kind(self) -> str:
        """What was asked: `query`, or `catalog` where it was an endpoint's own catalogs."""
        return "catalog" if (self.session or {}).get("asks") == CATALOG["asks"] else "query"

    @property
    def standing(self) -> int | None:
        """Up to which event about access it was decided; None where that was not recorded."""
        number = (self.principal or {}).get("standing")
        return number if isinstance(number, int) else None

    @property
    def own_decision(self) -> str:
        """The fingerprint of what the mesh's own rules decided, whoever restricted it further."""
        return str((self.principal or {}).get("own_decision") or self.decision)

    @property
    def entitled(self) -> str:
        """Where the values of entitlement tables are kept that its decision used; '' for none."""
        return str((self.principal or {}).get("entitlements") or "")


def history(engine: Engine, count: int = 50, user: str | None = None) -> tuple[AuditedQuery, ...]:
    """The newest audited requests, of everybody or of one user, oldest first."""
    settle(engine)
    with reading(engine) as connection:
        found = rows.latest(connection, count, user)
    return tuple(audited(started, finished) for started, finished in found)


def request_of(engine: Engine, query_id: str) -> AuditedQuery | None:
    """The request of a query id; None where no record names it."""
    settle(engine)
    with reading(engine) as connection:
        found = rows.of_query(connection, query_id)
    started = next((one for one in found if one["kind"] == "started"), None)
    ended = next((one for one in found if one["kind"] == "finished"), None)
    return None if started is None else audited(started, ended)


def same_statement(
    engine: Engine, user: str, hashed: str, purpose: str | None, until: str
) -> AuditedQuery | None:
    """The newest request of a user up to a time with that statement and purpose."""
    with reading(engine) as connection:
        found = rows.of_statement(connection, user, hashed, until)
    made = (audited(started, finished) for started, finished in found)
    return next((one for one in made if one.purpose == purpose), None)


def earlier_entitled(engine: Engine, user: str, until: str) -> tuple[AuditedQuery, ...]:
    """The newest requests of a user up to a time whose decision used entitlements."""
    with reading(engine) as connection:
        found = rows.entitled(connection, user, until)
    return tuple(audited(one, None) for one in found)


def requests(
    engine: Engine, since: datetime | None = None, until: datetime | None = None
) -> Iterator[AuditedQuery]:
    """Every audited request from `since` on and before `until`, oldest first."""
    first = None if since is None else moment_text(since)
    end = None if until is None else moment_text(until)
    settle(engine)
    with reading(engine) as connection:
        for started, finished in rows.between(connection, first, end):
            yield audited(started, finished)


def audited(started: rows.Row, finished: rows.Row | None) -> AuditedQuery:
    """One request from its rows."""
    end = finished or {}
    statement, plan, parameters, redacted = _texts(started)
    timings = json.loads(str(end["timings"])) if finished else {}
    return AuditedQuery(
        query_id=str(started["query_id"]),
        at=str(started["at"]),
        user=str(started["user_name"]),
        endpoint=str(started["endpoint"]),
        purpose=None if started["purpose"] is None else str(started["purpose"]),
        statement=statement,
        products=tuple(_json(started, "products")),
        policies=tuple(_json(started, "policies")),
        outcome=str(end.get("outcome", "unknown")),
        code=str(end.get("code") or ""),
        rows=_whole(end.get("row_count")),
        bytes=_whole(end.get("byte_count")),
        seconds=timings.get("total"),
        client=str(started["client"] or ""),
        dialect=str(started["dialect"] or "duckdb"),
        parameters=parameters,
        columns=tuple(_json(started, "columns_read")),
        statement_hash=str(started["statement_hash"]),
        revision=str(started["revision"]),
        decision=str(started["decision"]),
        verdict=str(started["verdict"] or ""),
        reasons=tuple((one[0], one[1], one[2]) for one in _json(started, "reasons")),
        lineage=tuple((one[0], one[1], one[2], one[3]) for one in _json(started, "lineage")),
        plan=plan,
        principal=_mapping(started, "principal"),
        session=_mapping(started, "session"),
        redacted=redacted,
        actor=str(started["actor"] or ""),
    )


def _texts(row: rows.Row) -> tuple[str, str, tuple[str | None, ...], tuple[int, ...]]:
    """Statement, plan and parameters, with the literals that are still known; where in the
    statement others were.
    """
    if row["commitments"] is None:
        text = row["redactable"]
        whole = json.loads(str(text)) if text else {"statement": str(row["normalised"])}
        return whole["statement"], whole.get("plan", ""), tuple(whole.get("parameters", ())), ()
    places: dict[str, list[int]] = {"statement": [], "plan": [], "parameter": []}
    known: dict[str, list[str | None]] = {"statement": [], "plan": [], "parameter": []}
    for (what, at, _), kept in zip(
        _json(row, "commitments"), rows.kept_literals(row), strict=True
    ):
        places[what].append(at)
        known[what].append(None if kept is None else kept[1])
    parameters: list[str | None] = [None] * len((_mapping(row, "session") or {})["parameters"])
    for number, value in zip(places["parameter"], known["parameter"], strict=True):
        parameters[number] = value
    return (
        _filled(str(row["normalised"]), places["statement"], known["statement"]),
        _filled(str(row["plan"] or ""), places["plan"], known["plan"]),
        tuple(parameters),
        _unknown(places["statement"], known["statement"]),
    )


def _unknown(offsets: list[int], literals: list[str | None]) -> tuple[int, ...]:
    """Where `?` stands once the others are filled in."""
    found, longer = [], 0
    for offset, literal in zip(offsets, literals, strict=True):
        if literal is None:
            found.append(offset + longer)
        else:
            longer += len(literal) - 1
    return tuple(found)


def _filled(text: str, offsets: list[int], literals: list[str | None]) -> str:
    return Cut(text, tuple((one, "") for one in offsets)).filled(literals)


def _json(row: rows.Row, name: str) -> list[Any]:
    found = row[name]
    return [] if found is None else list(json.loads(str(found)))


def _mapping(row: rows.Row, name: str) -> Mapping[str, Any] | None:
    found = row[name]
    return None if found is None else dict(json.loads(str(found)))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
