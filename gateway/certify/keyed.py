"""Whether a source finds the rows whose keys it is sent, in the very form in which they are sent.

Takes: a live source beside a DuckDB with the same rows. Gives: what disproves each type of keys,
how many keys one statement really takes, and what one costs. Rows too many are no fault: the merge
joins again. Never reads a table.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from connectors.base import Abilities, Connection, ConnectorError, Fragment, FragmentColumn
from gateway.certify.ask import Asker, Outcome, rendered
from gateway.certify.certificate import Disproof
from gateway.certify.probes import COLUMNS
from gateway.constants import INTEGERS

_ID, _NUMBER = (FragmentColumn("id", "INTEGER"),), (FragmentColumn("n", "BIGINT"),)
_PLAIN = "BIGINT"


def disproved_keys(asker: Asker) -> list[Disproof]:
    """The types whose keys do not find all their rows."""
    made = []
    for kind in asker.abilities.key_types:
        # The rows have no column of the smallest type: keys of whole numbers travel alike.
        column = COLUMNS["SMALLINT" if kind == "TINYINT" else kind]["column"]
        found = _missed(asker, kind, column)
        if found is not None:
            made.append(Disproof(f"key_types.{kind}", *found))
    return made


def _missed(asker: Asker, kind: str, column: str) -> tuple[str, str, str] | None:
    """The statement, what should be found and what is; None where nothing is missed."""
    held = asker.reference
    keys = held.sql(
        f"SELECT DISTINCT {column}{'::BIGINT' if kind in INTEGERS else ''} AS key FROM probe "
        f"WHERE {column} IS NOT NULL AND id % 2 = 0"
    ).to_arrow_table()["key"].combine_chunks()  # fmt: skip
    wanted = held.execute(
        f"SELECT id FROM probe WHERE {column} IN (SELECT {column} FROM probe WHERE id % 2 = 0)"
    ).fetchall()
    inner = rendered(f"SELECT id, {column} AS key_ FROM probe", asker)
    sql = f"SELECT k.id FROM ({inner}) AS k WHERE {_among(asker.abilities, 'k.key_', kind)}"
    got = _outcome(asker.connection, _keyed(sql, _ID, keys, kind))
    missed = {row[0] for row in wanted} - {row[0] for row in got.rows or ()}
    if not missed:
        return None
    told = "fails" if got.rows is None else f"all but {sorted(missed)}"
    return sql, "all rows of the keys", told


def most_keys(connection: Connection, abilities: Abilities) -> Callable[[int], None]:
    """Asks a statement with so many keys; raises where the source does not take them."""

    def ask(count: int) -> None:
        predicate = _among(abilities, "k.n", _PLAIN)
        sql = f"SELECT k.n FROM (SELECT 0 AS n) AS k WHERE {predicate}"
        keys = pa.array(range(7, 7 + count), pa.int64())
        if sum(one.num_rows for one in connection.stream(_keyed(sql, _NUMBER, keys, _PLAIN))):
            raise ConnectorError("a key was found that was not sent")

    return ask


def priced_keys(abilities: Abilities, series: str, count: int, rows: int) -> Fragment:
    """Rows of the source's own series, counted as far as they are among so many keys."""
    predicate = _among(abilities, "k.i", _PLAIN)
    sql = f"SELECT count(*) FROM ({series.format(n=rows)}) AS k WHERE {predicate}"
    return _keyed(sql, _NUMBER, pa.array(range(0, 7 * count, 7), pa.int64()), _PLAIN)


def takes_numbers(abilities: Abilities) -> bool:
    """Whether keys that are whole numbers may be sent at all."""
    return bool(abilities.keys) and bool(abilities.maximum_keys) and _PLAIN in abilities.key_types


def _among(abilities: Abilities, column: str, kind: str) -> str:
    mark = "$1" if abilities.parameter_style == "dollar" else "?1"
    return abilities.keys.format(column=column, keys=mark, type=abilities.key_types[kind])


def _keyed(
    sql: str, columns: tuple[FragmentColumn, ...], keys: pa.Array, kind: str
) -> Fragment:
    name = "BIGINT[]" if kind in INTEGERS else f"{kind}[]"
    return Fragment(sql, columns, (), (keys,), (name,))


def _outcome(connection: Connection, fragment: Fragment) -> Outcome:
    rows: list[tuple[object, ...]] = []
    try:
        for batch in connection.stream(fragment):
            rows += zip(*(one.to_pylist() for one in batch.columns), strict=True)
    except ConnectorError as error:
        return Outcome(None, str(error))
    return Outcome(tuple(rows))

