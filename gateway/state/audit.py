"""Records of the audit: rows of a hash chain.

Takes: a record as a mapping and the hash of the one before. Gives: the row to store, and the
functions that read rows back. Never decides what is recorded, never changes a row but to redact.

What a row hashes: every column but `salt`, `redactable` and `hash` itself, as canonical JSON,
after the hash of the row before. Texts with literals (statement, parameters, plan) stand in
`redactable`; only their salted commitment is hashed. To redact a row is to forget both its text
and its salt: the chain still holds and the commitment cannot be guessed back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, insert, select, update

from gateway.state.tables import AUDIT_CHAINS, AUDIT_RECORDS

# A row as it was read: a plain mapping, independent of the connection.
Row = Mapping[str, object]
_UNHASHED = frozenset({"salt", "redactable", "hash"})
_LENGTHS = {one.name: getattr(one.type, "length", None) for one in AUDIT_RECORDS.columns}
HASHED = tuple(sorted(one.name for one in AUDIT_RECORDS.columns if one.name not in _UNHASHED))
_INSERT = insert(AUDIT_RECORDS)
_PAGE = 2000


def canonical(value: object) -> str:
    """JSON with one spelling for each value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def genesis_hash(chain: str, started_at: str, host: str, process: int) -> str:
    """The hash before the first record: it binds the chain to the process that wrote it."""
    return _sha256("sqluice audit chain 1", canonical([chain, started_at, host, process]))


def commitment(salt: str, redactable: str) -> str:
    """The salted commitment to a text that may be redacted."""
    return hmac.new(bytes.fromhex(salt), redactable.encode(), hashlib.sha256).hexdigest()


def record_hash(row: Mapping[str, object]) -> str:
    """The hash of a row: its hashed columns, `previous` among them."""
    return _sha256("sqluice audit record 1", canonical({name: row[name] for name in HASHED}))


def statement_hash(normalised: str) -> str:
    """The hash of a statement without its literals: equal for statements that differ in them."""
    return hashlib.sha256(normalised.encode()).hexdigest()


def _sha256(label: str, content: str) -> str:
    return hashlib.sha256(f"{label}\n{content}".encode()).hexdigest()


def sealed(record: Mapping[str, object]) -> dict[str, object]:
    """The complete row of a record: missing columns are NULL, the hash is computed."""
    row = {name: _storable(record.get(name), length) for name, length in _LENGTHS.items()}
    row["hash"] = record_hash(row)
    return row


def _storable(value: object, length: int | None) -> object:
    """A text as every database can keep it: a request is never refused for its odd characters."""
    if not isinstance(value, str):
        return value
    clean = value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return clean[:length]


def insert_chain(connection: Connection, row: Mapping[str, object]) -> None:
    """Declare a chain."""
    connection.execute(insert(AUDIT_CHAINS), dict(row))


def insert_record(connection: Connection, row: Mapping[str, object]) -> None:
    """Append a sealed row."""
    connection.execute(_INSERT, dict(row))


def chains(connection: Connection) -> Sequence[Row]:
    """All declared chains, oldest first."""
    found = select(AUDIT_CHAINS).order_by(AUDIT_CHAINS.c.started_at, AUDIT_CHAINS.c.chain)
    return _rows(connection, found)


def undeclared_chains(connection: Connection) -> Sequence[str]:
    """Names of chains that have records but no declaration."""
    declared = select(AUDIT_CHAINS.c.chain)
    found = select(AUDIT_RECORDS.c.chain).distinct()
    return connection.scalars(found.where(AUDIT_RECORDS.c.chain.not_in(declared))).all()


def records(connection: Connection, chain: str) -> Iterator[Row]:
    """The rows of a chain in order, a page at a time."""
    after = None
    while True:
        page = select(AUDIT_RECORDS).where(AUDIT_RECORDS.c.chain == chain)
        if after is not None:
            page = page.where(AUDIT_RECORDS.c.sequence > after)
        page = page.order_by(AUDIT_RECORDS.c.sequence).limit(_PAGE)
        rows = _rows(connection, page)
        yield from rows
        if len(rows) < _PAGE:
            return
        after = rows[-1]["sequence"]


def record_at(connection: Connection, chain: str, sequence: int) -> Row | None:
    """One row of a chain."""
    wanted = and_(AUDIT_RECORDS.c.chain == chain, AUDIT_RECORDS.c.sequence == sequence)
    return next(iter(_rows(connection, select(AUDIT_RECORDS).where(wanted))), None)


def of_query(connection: Connection, query_id: str) -> Sequence[Row]:
    """Every row about one query."""
    found = select(AUDIT_RECORDS).where(AUDIT_RECORDS.c.query_id == query_id)
    order = found.order_by(AUDIT_RECORDS.c.at, AUDIT_RECORDS.c.sequence)
    return _rows(connection, order)


def forget_text(connection: Connection, row: Row) -> None:
    """Drop the text and the salt of one row."""
    of_chain = AUDIT_RECORDS.c.chain == row["chain"]
    wanted = and_(of_chain, AUDIT_RECORDS.c.sequence == row["sequence"])
    connection.execute(update(AUDIT_RECORDS).where(wanted).values(salt=None, redactable=None))


def latest(
    connection: Connection, count: int, user: str | None
) -> Sequence[tuple[Row, Row | None]]:
    """The newest started rows, oldest first, each with its finished row if there is one."""
    started = select(AUDIT_RECORDS).where(AUDIT_RECORDS.c.kind == "started")
    if user is not None:
        started = started.where(AUDIT_RECORDS.c.user_name == user)
    key = (AUDIT_RECORDS.c.at, AUDIT_RECORDS.c.chain, AUDIT_RECORDS.c.sequence)
    newest = started.order_by(*(one.desc() for one in key)).limit(count)
    rows = _rows(connection, newest)[::-1]
    finished = _finished(connection, [str(one["query_id"]) for one in rows])
    return [(one, finished.get((one["chain"], one["query_id"]))) for one in rows]


def _finished(
    connection: Connection, query_ids: Sequence[str]
) -> Mapping[tuple[object, object], Row]:
    wanted = and_(AUDIT_RECORDS.c.kind == "finished", AUDIT_RECORDS.c.query_id.in_(query_ids))
    found = _rows(connection, select(AUDIT_RECORDS).where(wanted))
    return {(one["chain"], one["query_id"]): one for one in found}


def _rows(connection: Connection, query: Select[Any]) -> list[Row]:
    return [dict(one) for one in connection.execute(query).mappings()]
