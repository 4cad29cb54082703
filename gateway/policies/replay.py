"""A statement decided again, as far as a decision goes: no source is asked.

Takes: a request, a snapshot, what entitlement tables gave then. Gives: what the stages from parse
to guard say of it, a refusal included. Never plans, never opens a connection.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, cast

from sqlglot import exp

from catalog.model import Mesh
from gateway.audit import AuditedQuery
from gateway.authorize import authorize, directory, entitlements_of, visible
from gateway.bind import bind
from gateway.decision import Decision
from gateway.errors import InternalError, SqluiceError, UnsupportedSql
from gateway.groups import ENTITY
from gateway.guard import GuardedQuery, guard
from gateway.identity import principal_of
from gateway.parse import ParsedStatement, parse
from gateway.request import Principal, Request, TokenScope
from gateway.resolve import Address, resolve
from gateway.snapshot import Snapshot

log = logging.getLogger("gateway.replay")

ALLOWED = "allowed"
Values = Mapping[str, tuple[str, ...]]
_NONE: Values = MappingProxyType({})
_COUNTED = re.compile(r"\b(?:limit|offset|fetch\s+(?:first|next))\s*$", re.IGNORECASE)
# What may stand for a text, for a number and for anything, the likeliest first.
_STANDINS = (("'1'", "1"), ("'day'", "1"), ("1", "1"), ("NULL", "1"))


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a statement: `verdict` is `allowed`, or the code that refuses it.

    `columns` are those that it reads, by table. `masked` are those of them that some policy masks.
    `missing` are entitlements whose values are not known: verdict and masks hold without them,
    the decision's conditions and its fingerprint do not.
    """

    verdict: str
    message: str = ""
    decision: Decision | None = None
    columns: Mapping[Address, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    masked: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def replay(request: Request, snapshot: Snapshot, values: Values | None = None) -> Replayed:
    """Decide a query again; a refusal is an outcome, and so is a defect of ours."""
    known = values or _NONE
    missing: tuple[str, ...] = ()
    decision: Decision | None = None
    try:
        statement = _query(parse(request))
        names = directory(snapshot.index, request.principal, request.now)
        resolved = resolve(statement, names, request.domain)
        missing = tuple(sorted(entitlements_of(snapshot.index, resolved.tables) - set(known)))
        asker = replace(request.principal, entitlements=known)
        decision = authorize(resolved, replace(request, principal=asker), snapshot.index)
        bound = bind(resolved, visible(decision))
        guarded = guard(bound, decision)
    except SqluiceError as error:
        return Replayed(error.code, error.message, decision, missing=missing)
    except Exception:  # one statement of many: the others are decided, and it is told
        log.exception("a defect in deciding a statement again")
        return Replayed(InternalError.code, "The gateway fails on this statement.")
    return Replayed(ALLOWED, "", decision, bound.columns, _masked(guarded), missing)


def recorded_principal(audited: AuditedQuery, mesh: Mesh) -> Principal:
    """Who asked, as the audit recorded him; else as a mesh knows him."""
    known = cast("Mapping[str, Any] | None", audited.principal)
    if known is None or "groups" not in known:
        user = next((one for one in mesh.users if one.name == audited.user), None)
        return principal_of(user) if user is not None else Principal(audited.user)
    return Principal(
        user=audited.user, groups=frozenset(known["groups"]), roles=frozenset(known["roles"]),
        attributes={name: tuple(values) for name, values in known["attributes"].items()},
        client=known.get("client", ""), address=known.get("address", ""),
        scope=_scope(known.get("scope") or {}), credential=known.get("credential", ""),
    )  # fmt: skip


def _scope(known: Mapping[str, Any]) -> TokenScope:
    """What his token was bounded to; where it signs in is no matter of the decision."""
    return TokenScope(frozenset(known.get("purposes", ())), frozenset(known.get("products", ())))


def audited_request(
    audited: AuditedQuery, principal: Principal, now: datetime
) -> Request | None:
    """An audited statement as a request; None where what was redacted has no stand-in."""
    session = cast("Mapping[str, Any]", audited.session or {})
    request = Request(
        sql=audited.statement, principal=principal, now=now, query_id=audited.query_id,
        purpose=audited.purpose, domain=session.get("domain"), dialect=audited.dialect,
        timezone=session.get("timezone") or "UTC",
    )  # fmt: skip
    return _with_standins(request, audited.redacted)


def _parses(request: Request) -> bool:
    """Whether the text is a query that the gateway reads."""
    try:
        parse(request)
    except SqluiceError:
        return False
    return True


def _with_standins(request: Request, places: Sequence[int]) -> Request | None:
    """The request with something in the place of each redacted literal that reads as a query.

    A decision depends on names alone; a literal only has to be of a kind that may stand there.
    None where nothing does.
    """
    if not places:
        return request
    for text, number in _STANDINS:
        filled = replace(request, sql="".join(_filled(request.sql, places, text, number)))
        if _parses(filled):
            return filled
    return None


def _filled(sql: str, places: Sequence[int], text: str, number: str) -> Iterator[str]:
    end = 0
    for place in places:
        before = sql[end:place]
        yield before
        yield number if _COUNTED.search(before) else text
        end = place + 1
    yield sql[end:]


def _query(statement: ParsedStatement) -> ParsedStatement:
    """The query of a statement that has one, whatever was to be done with it."""
    if isinstance(statement.tree, exp.Table):
        return ParsedStatement("query", exp.select("*").from_(statement.tree.copy()))
    if statement.tree is None:
        raise UnsupportedSql("The statement is no query, so nothing is decided of it.")
    return replace(statement, kind="query")


def _masked(guarded: GuardedQuery) -> tuple[str, ...]:
    found = {
        f"{one.address}.{column.name}"
        for one in guarded.relations.values()
        for column in one.columns
        if column.policy and column.name != ENTITY
    }
    return tuple(sorted(found))
