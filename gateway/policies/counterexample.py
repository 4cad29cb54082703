"""A row that one condition lets through and another does not.

Takes: two bound conditions over one table. Gives: a row and a subject, found by DuckDB among the
boundary values of every constant, their neighbours and NULL; None where none of those tells. Never
reads a row of a product: all values are made from the conditions themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import islice, product
from types import MappingProxyType

import duckdb
from sqlglot import exp

from catalog.model import Table
from gateway.constants import INTEGERS, family
from gateway.decision import CompiledCondition
from gateway.request import Principal
from gateway.subjects import SubjectValues

_MOST_ROWS = 100_000
_MOST_SUBJECTS = 48
# No column of a contract has such a name.
_PLACE = "place of the value"
_DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "VARCHAR": ("a", "b"), "BOOLEAN": ("true", "false"), "DATE": ("2000-01-01",),
    "UUID": ("00000000-0000-0000-0000-000000000000",),
}
_TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
_NUMBERS = INTEGERS | {"DOUBLE", "REAL", "DECIMAL"}


@dataclass(frozen=True, slots=True)
class CounterExample:
    """A row, None for NULL, and what its reader has."""

    row: Mapping[str, str | None]
    subject: Mapping[str, tuple[str, ...]]

    def __str__(self) -> str:
        """The row in words."""
        cells = [
            f"{name} {'NULL' if value is None else f'= {value!r}'}"
            for name, value in self.row.items()
        ]
        held = [
            f"{name} {' or '.join(map(repr, values)) or 'empty'}"
            for name, values in self.subject.items()
        ]
        row = f"a row with {', '.join(cells)}" if cells else "every row"
        return row + (f", for somebody with {', '.join(held)}" if held else "")


def counter_example(
    new: CompiledCondition | None, old: CompiledCondition, table: Table
) -> CounterExample | None:
    """A row of which `new` is true and `old` is not. None as `new` is true of every row."""
    conditions = [old] if new is None else [new, old]
    texts = tuple(dict.fromkeys(text for one in conditions for text in _texts(one.expression)))
    names = dict.fromkeys(
        column.name for one in conditions for column in one.expression.find_all(exp.Column)
    )
    columns = [found for name in names if (found := table.column(name)) is not None]
    with duckdb.connect(config={"enable_external_access": False}) as connection:
        try:
            connection.execute("SET TimeZone = 'UTC'")
            _make_values(connection, [(one.name, one.type) for one in columns], texts)
            return _search(connection, conditions, list(names), texts)
        except duckdb.Error:
            # A type that DuckDB cannot make here: nothing is shown.
            return None


def _search(
    connection: duckdb.DuckDBPyConnection, conditions: list[CompiledCondition],
    names: list[str], texts: tuple[str, ...],
) -> CounterExample | None:
    shown = ", ".join(f'CAST("{one}" AS VARCHAR)' for one in names) or "1"
    tables = [f"values_{number}" for number, _ in enumerate(names)]
    source = ", ".join(tables) or "(SELECT 1)"
    places = "".join(f", {number + 1}" for number, _ in enumerate(names))
    order = (" + ".join(f'{one}."{_PLACE}"' for one in tables) or "1") + places
    for principal, purpose, now in _subjects(conditions, texts):
        filled = SubjectValues(principal, purpose, now)
        *new, old = (filled.fill(one).sql for one in conditions)
        where = " AND ".join([f"({one}) IS TRUE" for one in new] + [f"(({old}) IS TRUE) IS FALSE"])
        found = connection.execute(
            f"SELECT {shown} FROM {source} WHERE {where} ORDER BY {order} LIMIT 1"
        ).fetchone()
        if found is not None:
            row = {name: found[number] for number, name in enumerate(names)}
            return CounterExample(row, _told(conditions, principal, purpose, now))
    return None


def _make_values(
    connection: duckdb.DuckDBPyConnection, columns: list[tuple[str, str]], texts: tuple[str, ...]
) -> None:
    """One table of values for each column; together no more rows than can be looked at."""
    most = max(4, int(_MOST_ROWS ** (1 / len(columns)))) if columns else 0
    for number, (name, type_name) in enumerate(columns):
        values = list(islice(dict.fromkeys(_values(type_name, texts)), most))
        listed = ", ".join(
            f"({place}, {'NULL' if one is None else exp.Literal.string(one).sql('duckdb')})"
            for place, one in enumerate((*values, None))
        )
        # Values that people recognise come first: the constants, then what lies beside them.
        connection.execute(
            f'CREATE TABLE values_{number} AS SELECT TRY_CAST(v AS {type_name}) AS "{name}", '
            f'min(n) AS "{_PLACE}" FROM (VALUES {listed}) AS t(n, v) GROUP BY 1'
        )


def _values(type_name: str, texts: tuple[str, ...]) -> Iterator[str]:
    """Boundary values of a type: first the constants themselves, then what lies beside them."""
    kind = family(type_name)
    yield from texts
    yield from _DEFAULTS.get(kind, ())
    if kind in _NUMBERS:
        yield from ("0", "1", "-1")
        for one in texts:
            yield from _near_number(one)
    elif kind in _TIMES:
        for one in texts:
            yield from _near_time(one)
    elif kind == "VARCHAR":
        for one in texts:
            yield from (f"{one}a", one[:-1], one.lower(), one.upper(), one.replace("%", ""),
                        one.replace("%", "x").replace("_", "x"), "")  # fmt: skip


def _near_number(text: str) -> Iterator[str]:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return
    for step in ("1", "0.5", "0.01", "0.0001"):
        yield str(number + Decimal(step))
        yield str(number - Decimal(step))


def _near_time(text: str) -> Iterator[str]:
    try:
        moment = datetime.fromisoformat(text)
        near = [moment + sign * step for sign in (1, -1)
                for step in (timedelta(days=1), timedelta(microseconds=1), timedelta(days=400))]
    except (ValueError, OverflowError):
        return
    yield from (str(one) for one in near)


def _texts(expression: exp.Expression) -> Iterator[str]:
    """Every constant as text."""
    for one in expression.find_all(exp.Literal):
        if isinstance(one.parent, exp.DataTypeParam):
            continue
        yield f"-{one.name}" if isinstance(one.parent, exp.Neg) else str(one.name)


def _subjects(
    conditions: list[CompiledCondition], texts: tuple[str, ...]
) -> Iterator[tuple[Principal, str | None, datetime]]:
    """Who may ask: with nothing, one value or several for each attribute that is named."""
    names = _placeholders(conditions)
    plain = [one for one in texts if one] or ["a"]
    choices: list[tuple[tuple[str, ...], ...]] = []
    for name in names:
        if name == "request.now":
            choices.append((*((text,) for text in _moments(texts)),))
        elif name in ("subject.user", "request.purpose"):
            choices.append(tuple((one,) for one in (*plain[:4], "b")))
        else:
            choices.append(((plain[0],), (), tuple(plain[:3]), ("b",), (plain[-1],)))
    for values in islice(product(*choices), _MOST_SUBJECTS):
        held = dict(zip(names, values, strict=True))
        yield _principal(held)


def _moments(texts: tuple[str, ...]) -> list[str]:
    found = ["2026-01-01 00:00:00+00:00"]
    for one in texts:
        found += list(_near_time(one))
    return found[:7]


def _principal(
    held: Mapping[str, tuple[str, ...]],
) -> tuple[Principal, str | None, datetime]:
    def of(prefix: str) -> Mapping[str, tuple[str, ...]]:
        return MappingProxyType({
            name.removeprefix(prefix): values for name, values in held.items()
            if name.startswith(prefix)
        })  # fmt: skip

    subject = of("subject.")
    principal = Principal(
        user=subject.get("user", ("somebody",))[0],
        groups=frozenset(subject.get("groups", ())), roles=frozenset(subject.get("roles", ())),
        attributes=subject, entitlements=of("entitlement."),
    )
    moment = datetime.fromisoformat(held.get("request.now", ("2026-01-01",))[0])
    purpose = held.get("request.purpose", (None,))[0]
    return principal, purpose, moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _placeholders(conditions: list[CompiledCondition]) -> list[str]:
    return sorted({
        node.name for one in conditions for node in one.expression.find_all(exp.Placeholder)
    })


def _told(
    conditions: list[CompiledCondition], principal: Principal, purpose: str | None, now: datetime
) -> Mapping[str, tuple[str, ...]]:
    held: dict[str, tuple[str, ...]] = {}
    for name in _placeholders(conditions):
        kind, _, key = name.partition(".")
        if name == "request.now":
            held[name] = (now.isoformat(sep=" "),)
        elif name == "request.purpose":
            held[name] = () if purpose is None else (purpose,)
        elif name == "subject.user":
            held[name] = (principal.user,)
        else:
            values = principal.entitlements if kind == "entitlement" else principal.attributes
            held[name] = tuple(values.get(key, ()))
    return held
