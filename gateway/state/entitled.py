"""What entitlement tables gave, kept so that past decisions can be computed again.

Takes: a set of values as text, an open connection. Gives: its reference, a salted commitment, and
the values of a reference. Equal sets are kept once. Never tells a value by its reference alone:
the salt stands beside the values and goes with them.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Iterable

from sqlalchemy import Connection, delete, insert, select, text, update

from gateway.state.audit import commitment
from gateway.state.tables import AUDIT_RECORDS, ENTITLEMENT_VALUES

_SALT_BYTES = 16
_MARK = '"entitlements":"'
_REFERENCE = 64


def keep_values(connection: Connection, content: str, used_at: str) -> str:
    """Keep a set of values; gives its reference."""
    columns = ENTITLEMENT_VALUES.c
    # One salt for all that are kept together, so that equal sets have one reference.
    salt = connection.scalar(select(columns.salt).order_by(columns.hash).limit(1))
    salt = salt or secrets.token_hex(_SALT_BYTES)
    reference = commitment(salt, content)
    known = update(ENTITLEMENT_VALUES).where(columns.hash == reference)
    if connection.execute(known.values(used_at=used_at)).rowcount:
        return reference
    row = {"hash": reference, "salt": salt, "content": zlib.compress(content.encode())}
    connection.execute(insert(ENTITLEMENT_VALUES), {**row, "used_at": used_at})
    return reference


def values_of(connection: Connection, reference: str) -> str | None:
    """The set of a reference; None where it is gone, or is not what was committed to."""
    columns = ENTITLEMENT_VALUES.c
    asked = select(columns.salt, columns.content).where(columns.hash == reference)
    row = connection.execute(asked).first()
    if row is None:
        return None
    try:
        content = zlib.decompress(row.content).decode()
    except (zlib.error, UnicodeDecodeError):
        return None
    return content if commitment(row.salt, content) == reference else None


def drop_orphans(connection: Connection, unused_since: str) -> int:
    """Remove the sets that no record names any more; gives their number.

    A young set stays: the record that names it may not be committed yet.
    """
    columns = ENTITLEMENT_VALUES.c
    old = set(connection.scalars(select(columns.hash).where(columns.used_at < unused_since)))
    if not old:
        return 0
    named = select(AUDIT_RECORDS.c.principal).where(AUDIT_RECORDS.c.principal.contains(_MARK))
    orphans = old - set(_references(connection.scalars(named.distinct())))
    if connection.dialect.name == "sqlite":
        # Else the bytes would stay in the file until something else is written over them.
        connection.execute(text("PRAGMA secure_delete = ON"))
    for one in sorted(orphans):
        connection.execute(delete(ENTITLEMENT_VALUES).where(columns.hash == one))
    return len(orphans)


def _references(principals: Iterable[str]) -> Iterable[str]:
    for one in principals:
        start = one.find(_MARK) + len(_MARK)
        yield one[start : start + _REFERENCE]
