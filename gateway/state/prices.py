"""What sources charge, as runs have taught it.

Takes: prices. Gives: the last known ones of each source. Never decides what a price is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from gateway.state.tables import SOURCE_PRICES


@dataclass(frozen=True, slots=True)
class PriceRow:
    """Milliseconds a statement; microseconds a row, a key and a byte."""

    at: str
    per_statement: float
    per_row: float
    per_key: float
    per_byte: float


def price_rows(connection: Connection) -> Mapping[str, PriceRow]:
    """All known prices by source."""
    columns = SOURCE_PRICES.c
    asked = select(
        columns.source, columns.at, columns.per_statement, columns.per_row, columns.per_key,
        columns.per_byte,
    )  # fmt: skip
    return {source: PriceRow(*rest) for source, *rest in connection.execute(asked)}


def put_price(connection: Connection, source: str, row: PriceRow) -> None:
    """Keep the prices of a source in the place of the earlier ones."""
    values = {
        "at": row.at, "per_statement": row.per_statement, "per_row": row.per_row,
        "per_key": row.per_key, "per_byte": row.per_byte,
    }  # fmt: skip
    changed = connection.execute(
        update(SOURCE_PRICES).where(SOURCE_PRICES.c.source == source).values(**values)
    )
    if not changed.rowcount:
        connection.execute(insert(SOURCE_PRICES), {"source": source, **values})


def forget_price(connection: Connection, source: str) -> None:
    """Know nothing of a source any more."""
    connection.execute(delete(SOURCE_PRICES).where(SOURCE_PRICES.c.source == source))
