"""Records of the audit: rows of a hash chain.

Takes: a record as a mapping and the hash of the one before. Gives: the row to store, and the
functions that read rows back. Never decides what is recorded, never changes a row but to redact.

What a row hashes: every column but `salt`, `redactable` and `hash` itself, as canonical JSON,
after the hash of the row before. Literals are in no hashed column: each stands in `redactable`
beside a salt of its own, and only its salted commitment is hashed. To redact a literal is to
forget both: the chain still holds and the commitment cannot be guessed back. Chains of format 1
have the columns of the first version and one commitment for all texts of a record.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    insert,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from gateway.state.engine import writing
from gateway.state.tables import AUDIT_CHAINS, AUDIT_RECORDS

# A row as it was read: a plain mapping, independent of the connection.
Row = Mapping[str, object]
FORMAT = 2
_UNHASHED = frozenset({"salt", "redactable", "hash"})
_LENGTHS = {one.name: getattr(one.type, "length", None) for one in AUDIT_RECORDS.columns}
_FIRST_FORMAT = (
    "actor", "at", "byte_count", "chain", "client", "code", "columns_read", "commitment",
    "decision", "endpoint", "kind", "normalised", "outcome", "policies", "previous", "products",
    "purpose", "purpose_was_default", "query_id", "revision", "row_count", "sequence",
    "statement_hash", "timings", "user_name",
)
HASHED: Mapping[int, tuple[str, ...]] = {
    1: _FIRST_FORMAT,
    2: tuple(sorted(one.name for one in AUDIT_RECORDS.columns if one.name not in _UNHASHED)),
}
_INSERT = insert(AUDIT_RECORDS)
_COLUMNS = tuple(one.name for one in AUDIT_RECORDS.columns)
_VALUES = itemgetter(*_COLUMNS)
_INSERT_SQLITE = (
    f"INSERT INTO {AUDIT_RECORDS.name} ({', '.join(_COLUMNS)}) "
    f"VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_PAGE = 2000
_ENDS = 500
_LOOKED_AT = 100
_SALT_BYTES = 16


def canonical(value: object) -> str:
    """JSON with one spelling for each value."""
    return _CANONICAL(value)


def genesis_hash(declaration: Mapping[str, object]) -> str:
    """The hash before the first record: it binds the chain to the process that wrote it."""
    names = ["chain", "started_at", "host", "process"]
    if declaration["format"] != 1:
        names.append("format")
    label = f"sqluice audit chain {declaration['format']}"
    return _sha256(label, canonical([declaration[name] for name in names]))


def commitment(salt: str, literal: str) -> str:
    """The salted commitment to a text that may be redacted."""
    return hmac.digest(bytes.fromhex(salt), literal.encode(), "sha256").hex()


def committed(literals: Sequence[str]) -> tuple[list[str], str]:
    """The commitments of literals, each with a salt of its own; and what `redactable` keeps."""
    chance = secrets.token_bytes(_SALT_BYTES * len(literals)).hex()
    size = 2 * _SALT_BYTES
    salts = [chance[place : place + size] for place in range(0, len(chance), size)]
    pairs = list(zip(salts, literals, strict=True))
    return [commitment(*one) for one in pairs], canonical(pairs)


def kept_literals(row: Row) -> list[list[str] | None]:
    """The literals that a row still knows, each with its salt; None for a redacted one."""
    if row["commitments"] is None or row["redactable"] is None:
        return []
    try:
        found = json.loads(str(row["redactable"]))
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def record_hash(row: Mapping[str, object], form: int = FORMAT) -> str:
    """The hash of a row: its hashed columns, `previous` among them."""
    content = canonical({name: row[name] for name in HASHED[form]})
    return _sha256(f"sqluice audit record {form}", content)


def statement_hash(normalised: str) -> str:
    """The hash of a statement without its literals: equal for statements that differ in them."""
    return hashlib.sha256(normalised.encode()).hexdigest()


def _sha256(label: str, content: str) -> str:
    return hashlib.sha256(f"{label}\n{content}".encode()).hexdigest()


def sealed(record: Mapping[str, object]) -> dict[str, object]:
    """The complete row of a record: missing columns are NULL, the hash is computed."""
    row: dict[str, object] = dict.fromkeys(_LENGTHS)
    for name, value in record.items():
        row[name] = storable(value)[: _LENGTHS[name]] if isinstance(value, str) else value
    row["hash"] = record_hash(row)
    return row


def storable(value: str) -> str:
    """A text as every database can keep it: a request is never refused for its odd characters."""
    if value.isascii() and "\0" not in value:
        return value
    return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def insert_chain(connection: Connection, row: Mapping[str, object]) -> None:
    """Declare a chain."""
    connection.execute(insert(AUDIT_CHAINS), dict(row))


def insert_records(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    """Append sealed rows."""
    connection.execute(_INSERT, [dict(one) for one in rows])


def append_records(engine: Engine, rows: Sequence[Mapping[str, object]]) -> None:
    """Append sealed rows in a transaction of their own.

    Each statement of a client waits for one: SQLite gets it by the shortest way.
    """
    if engine.dialect.name != "sqlite":
        with writing(engine) as connection:
            insert_records(connection, rows)
        return
    with closing(engine.raw_connection()) as lent:
        try:
            cursor = lent.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany(_INSERT_SQLITE, [_VALUES(one) for one in rows])
            lent.commit()
        except sqlite3.Error as error:
            lent.rollback()
            raise SQLAlchemyError(str(error)) from error


def chains(connection: Connection) -> Sequence[Row]:
    """All declared chains, oldest first."""
    found = select(AUDIT_CHAINS).order_by(AUDIT_CHAINS.c.started_at, AUDIT_CHAINS.c.chain)
    return read_rows(connection, found)


def undeclared_chains(connection: Connection) -> Sequence[str]:
    """Names of chains that have records but no declaration."""
    declared = select(AUDIT_CHAINS.c.chain)
    found = select(AUDIT_RECORDS.c.chain).distinct()
    return connection.scalars(found.where(AUDIT_RECORDS.c.chain.not_in(declared))).all()


def records(
    connection: Connection, chain: str, first: int = 0, last: int | None = None
) -> Iterator[Row]:
    """The rows of a chain in order, a page at a time."""
    after = first - 1
    while True:
        page = select(AUDIT_RECORDS).where(AUDIT_RECORDS.c.chain == chain)
        page = page.where(AUDIT_RECORDS.c.sequence > after)
        if last is not None:
            page = page.where(AUDIT_RECORDS.c.sequence <= last)
        rows = read_rows(connection, page.order_by(AUDIT_RECORDS.c.sequence).limit(_PAGE))
        yield from rows
        if len(rows) < _PAGE:
            return
        after = int(str(rows[-1]["sequence"]))


def record_at(connection: Connection, chain: str, sequence: int) -> Row | None:
    """One row of a chain."""
    wanted = and_(AUDIT_RECORDS.c.chain == chain, AUDIT_RECORDS.c.sequence == sequence)
    return next(iter(read_rows(connection, select(AUDIT_RECORDS).where(wanted))), None)


def record_of_hash(connection: Connection, chain: str, wanted: str) -> Row | None:
    """The row of a chain that has a hash."""
    found = and_(AUDIT_RECORDS.c.chain == chain, AUDIT_RECORDS.c.hash == wanted)
    return next(iter(read_rows(connection, select(AUDIT_RECORDS).where(found).limit(1))), None)


def newest(connection: Connection, chain: str) -> Row | None:
    """The newest row of a chain."""
    found = select(AUDIT_RECORDS).where(AUDIT_RECORDS.c.chain == chain)
    last = found.order_by(AUDIT_RECORDS.c.sequence.desc()).limit(1)
    return next(iter(read_rows(connection, last)), None)


def of_query(connection: Connection, query_id: str) -> Sequence[Row]:
    """Every row about one query."""
    found = select(AUDIT_RECORDS).where(AUDIT_RECORDS.c.query_id == query_id)
    order = found.order_by(AUDIT_RECORDS.c.at, AUDIT_RECORDS.c.sequence)
    return read_rows(connection, order)


def of_kind(connection: Connection, kind: str) -> Sequence[Row]:
    """Every row of a kind that is rare, by time."""
    found = select(AUDIT_RECORDS).where(AUDIT_RECORDS.c.kind == kind)
    return read_rows(connection, found.order_by(AUDIT_RECORDS.c.at))


def with_literals(connection: Connection, user: str | None = None) -> Iterator[Row]:
    """Rows that still know a text, of everybody or of one user, a page at a time."""
    place = (AUDIT_RECORDS.c.chain, AUDIT_RECORDS.c.sequence)
    found = select(AUDIT_RECORDS).where(AUDIT_RECORDS.c.redactable.is_not(None))
    if user is not None:
        found = found.where(AUDIT_RECORDS.c.user_name == user)
    for chain in chains(connection):
        after = 0
        while True:
            page = found.where(place[0] == chain["chain"], place[1] > after).order_by(place[1])
            rows = read_rows(connection, page.limit(_PAGE))
            yield from rows
            if len(rows) < _PAGE:
                break
            after = int(str(rows[-1]["sequence"]))


def forget(connection: Connection, row: Row, places: Sequence[int]) -> None:
    """Drop some literals of a row with their salts; of format 1 the whole text."""
    if connection.dialect.name == "sqlite":
        # Else the bytes would stay in the file until something else is written over them.
        connection.execute(text("PRAGMA secure_delete = ON"))
    gone = set(places)
    kept = [None if at in gone else one for at, one in enumerate(kept_literals(row))]
    left = canonical(kept) if kept else None
    wanted = and_(
        AUDIT_RECORDS.c.chain == row["chain"], AUDIT_RECORDS.c.sequence == row["sequence"]
    )
    values = {"salt": None, "redactable": left}
    connection.execute(update(AUDIT_RECORDS).where(wanted).values(values))


def latest(
    connection: Connection, count: int, user: str | None
) -> Sequence[tuple[Row, Row | None]]:
    """The newest started rows, oldest first, each with its finished row if there is one."""
    started = select(AUDIT_RECORDS).where(AUDIT_RECORDS.c.kind == "started")
    if user is not None:
        started = started.where(AUDIT_RECORDS.c.user_name == user)
    key = (AUDIT_RECORDS.c.at, AUDIT_RECORDS.c.chain, AUDIT_RECORDS.c.sequence)
    found = started.order_by(*(one.desc() for one in key)).limit(count)
    return with_ends(connection, read_rows(connection, found)[::-1])


def of_statement(
    connection: Connection, user: str, hashed: str, until: str
) -> Sequence[tuple[Row, Row | None]]:
    """The newest started rows of a user up to a time, of one statement; newest first."""
    columns = AUDIT_RECORDS.c
    found = _of_user(user, until).where(columns.statement_hash == hashed)
    return with_ends(connection, read_rows(connection, found))


def entitled(connection: Connection, user: str, until: str) -> Sequence[Row]:
    """The newest started rows of a user up to a time that name entitlement values."""
    found = _of_user(user, until).where(AUDIT_RECORDS.c.principal.contains('"entitlements":"'))
    return read_rows(connection, found)


def _of_user(user: str, until: str) -> Select[Any]:
    columns = AUDIT_RECORDS.c
    found = select(AUDIT_RECORDS).where(columns.kind == "started", columns.user_name == user)
    newest = found.where(columns.at <= until)
    return newest.order_by(columns.at.desc(), columns.sequence.desc()).limit(_LOOKED_AT)


def between(
    connection: Connection, since: str | None = None, until: str | None = None
) -> Iterator[tuple[Row, Row | None]]:
    """Started rows from `since` on and before `until`, oldest first, each with its finished row."""
    key = (AUDIT_RECORDS.c.at, AUDIT_RECORDS.c.chain, AUDIT_RECORDS.c.sequence)
    started = select(AUDIT_RECORDS).where(AUDIT_RECORDS.c.kind == "started").order_by(*key)
    if since is not None:
        started = started.where(AUDIT_RECORDS.c.at >= since)
    if until is not None:
        started = started.where(AUDIT_RECORDS.c.at < until)
    after: tuple[object, ...] | None = None
    while True:
        page = started if after is None else started.where(_behind(key, after))
        rows = read_rows(connection, page.limit(_PAGE))
        yield from with_ends(connection, rows)
        if len(rows) < _PAGE:
            return
        after = tuple(rows[-1][one.name] for one in key)


def _behind(key: Sequence[Any], values: Sequence[object]) -> ColumnElement[bool]:
    """Whether a key sorts behind the values."""
    return tuple_(*key) > tuple_(*values)


def with_ends(
    connection: Connection, started: Sequence[Row]
) -> Sequence[tuple[Row, Row | None]]:
    """Each started row with its finished row, if there is one."""
    query_ids = [str(one["query_id"]) for one in started]
    ends: dict[object, Row] = {}
    for place in range(0, len(query_ids), _ENDS):
        wanted = AUDIT_RECORDS.c.query_id.in_(query_ids[place : place + _ENDS])
        found = and_(AUDIT_RECORDS.c.kind == "finished", wanted)
        for one in read_rows(connection, select(AUDIT_RECORDS).where(found)):
            ends[one["query_id"]] = one
    return [(one, ends.get(one["query_id"])) for one in started]


def read_rows(connection: Connection, query: Select[Any]) -> list[Row]:
    """The rows of a query as plain mappings."""
    return [dict(one) for one in connection.execute(query).mappings()]
