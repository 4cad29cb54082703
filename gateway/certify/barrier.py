"""Whether the declared barrier holds at the live source.

Takes: a connection and the attacks of `attack.yaml`, over rows that are written into the statement.
Gives: a `Verdict`: nothing of the user's met the hidden row behind the barrier, and whether the
same attacks did without it. Never needs a table, never sees a row of the source's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from connectors.base import Abilities, Connection
from gateway.certify.ask import outcome
from gateway.certify.rows import Dialect

ATTACK: Mapping[str, Any] = yaml.safe_load(
    Path(__file__).with_name("attack.yaml").read_text(encoding="utf-8")
)
HIDDEN: int = ATTACK["hidden"]
COLUMNS: Mapping[str, str] = {
    "id": "INTEGER", "tenant": "VARCHAR", "ref": "INTEGER", "secret": "VARCHAR", "day": "VARCHAR",
    "word": "VARCHAR", "pattern": "VARCHAR", "amount": "INTEGER", "big": "BIGINT",
    "mark": "VARCHAR", "one": "INTEGER",
}  # fmt: skip
_ROWS = 40
# The quick ones of the suite of attacks, which runs all of them on tables.
_SHAPES = ("where", "selected", "cross_join", "left_join", "correlated")
_NAME = re.compile(r"\b(t|entitled|many)\b(?= AS)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`broken`: the first attack that got through, empty where none did.

    `bites`: without the barrier some of the same attacks saw the hidden row.
    """

    attacks: int
    broken: str
    bites: bool


def hidden_row() -> tuple[object, ...]:
    """The row whose every value makes something fail."""
    return (HIDDEN, "b", 1, "SECRET-7", "no day", "SECRET", "(", 2**31 - 1, -(2**63), "xx", 1)


def plain_row(number: int) -> tuple[object, ...]:
    """A row that fails nowhere."""
    ref = None if number % 2 else 2
    return (number, "a", ref, "1", "2024-01-01", "w", "w", 65, -1, "!", 1)


def barrier(connection: Connection, abilities: Abilities, dialect: Dialect) -> Verdict | None:
    """What the attacks found; None where the kind declares no barrier, or there are no attacks."""
    if abilities.barrier is None or dialect.name not in ATTACK:
        return None
    tables = _tables(dialect, hidden_row())
    attacks, broken = 0, ""
    # What they answer where there is no such row. Every policy keeps all rows but that one.
    truth = dict(_answers(connection, _tables(dialect), dialect, "t.id > 0", ""))
    for policy in ATTACK["policies"]:
        found = _answers(connection, tables, dialect, ATTACK["policies"][policy], abilities.barrier)
        for name, answer in found:
            attacks += 1
            if answer != truth[name] and not broken:
                broken = f"{policy}, {name}"
    bites = any(
        answer != truth[name]
        for policy in ATTACK["policies"]
        for name, answer in _answers(connection, tables, dialect, ATTACK["policies"][policy], "")
    )
    return Verdict(attacks, broken, bites)


def _answers(
    connection: Connection, tables: Mapping[str, str], dialect: Dialect, policy: str, end: str
) -> Iterator[tuple[str, object]]:
    guarded = f"(SELECT * FROM t AS t WHERE {policy} {end})"
    for shape in _SHAPES:
        for name, predicate in ATTACK[dialect.name]["predicates"].items():
            sql = ATTACK["shapes"][shape].format(guarded=guarded, predicate=predicate)
            text = _NAME.sub(lambda found: f"({tables[found[1]]})", sql)
            yield f"{shape}, {name}", outcome(connection, text, ["BIGINT"]).rows


def _tables(dialect: Dialect, *more: tuple[object, ...]) -> Mapping[str, str]:
    rows = [plain_row(number) for number in range(1, _ROWS + 1) if number != HIDDEN]
    # In the middle: what reads in order meets it before it could stop.
    rows[_ROWS // 2 : _ROWS // 2] = more
    return {
        "t": _union(rows, COLUMNS, dialect),
        "entitled": _union([("a",)], {"tenant": "VARCHAR"}, dialect),
        "many": _union([(HIDDEN, 1), (HIDDEN, 2)], {"k": "INTEGER", "n": "INTEGER"}, dialect),
    }


def _union(
    rows: list[tuple[object, ...]], columns: Mapping[str, str], dialect: Dialect
) -> str:
    made = []
    for row in rows:
        texts = (None if value is None else str(value) for value in row)
        shown = (
            f"{dialect.literal(text, kind, is_first=True)} AS {name}"
            for text, (name, kind) in zip(texts, columns.items(), strict=True)
        )
        made.append(f"SELECT {', '.join(shown)}")
    return " UNION ALL ".join(made)
