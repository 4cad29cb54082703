"""Random expressions over the columns in scope.

Takes: a source of chance and columns. Gives: SQL text of a wanted family. `risky` gives those
that fail on some values: where one meets a hidden value, its failure tells of it. Never gives an
expression whose value depends on order, time or chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

from gateway.probe.rules import quoted, tame_value, written
from gateway.probe.shapes import Field

_FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), "whole"),
        **dict.fromkeys(("DECIMAL", "DOUBLE", "FLOAT"), "number"),
        "VARCHAR": "text",
        "BOOLEAN": "truth",
        "DATE": "day",
        "TIMESTAMP": "moment",
    }
)


@dataclass(frozen=True, slots=True)
class Column:
    """A column in scope: how it is written, and its field."""

    ref: str
    field: Field

    @property
    def family(self) -> str:
        """What it can be combined with: whole, number, text, truth, day, moment or other."""
        if self.field.type.endswith("[]"):
            return "other"
        return _FAMILIES.get(self.field.family, "other")


@dataclass(slots=True)
class Speaker:
    """Says expressions. `values` are the parameters that the statement has got so far."""

    chance: Random
    values: list[object] = field(default_factory=list)

    def pick(self, columns: Sequence[Column], family: str) -> Column | None:
        """A column of a family."""
        found = [one for one in columns if one.family == family]
        return self.chance.choice(found) if found else None

    def value(self, columns: Sequence[Column], family: str) -> str:
        """A value of a family; a constant where there is no column of it."""
        chance = self.chance
        column = self.pick(columns, family)
        if column is None or chance.random() < 0.05:
            return _CONSTANTS[family]
        if chance.random() < 0.6:
            return column.ref
        form = chance.choice(_FORMS.get(family, ("{c}",)))
        other = self.pick(columns, family) or column
        return form.format(c=column.ref, d=other.ref, p=self.predicate(columns, 0))

    def predicate(self, columns: Sequence[Column], depth: int = 1) -> str:
        """A condition that fails on no value."""
        chance = self.chance
        if depth and chance.random() < 0.35:
            left, right = (self.predicate(columns, depth - 1) for _ in range(2))
            form = chance.choice(("({} AND {})", "({} OR {})", "({} AND NOT {})"))
            return form.format(left, right)
        column = chance.choice(list(columns))
        if chance.random() < 0.15 or column.family == "other":
            return f"{column.ref} IS {chance.choice(('', 'NOT '))}NULL"
        alike = [one for one in columns if one.field.type == column.field.type]
        other = self.pick(alike, column.family)
        if other is not None and other is not column and chance.random() < 0.2:
            return f"{column.ref} {chance.choice(_OPERATORS)} {other.ref}"
        return self._against_constants(column)

    def _against_constants(self, column: Column) -> str:
        chance = self.chance
        made = [self.constant(column.field) for _ in range(3)]
        forms = ["{c} {o} {a}", "{c} {o} {a}", "{c} IN ({a}, {b})", "{c} NOT IN ({a}, {b})",
                 "{c} BETWEEN {a} AND {b}", "{a} {o} {c}"]  # fmt: skip
        if column.family == "text":
            forms += ["{c} LIKE '%a%'", "lower({c}) = {a}", "length({c}) > 2", "{c} ILIKE 'A_%'"]
        if column.family == "whole":
            forms += ["abs({c} + 1) > 3", "{c} * 2 < {a}", "coalesce({c}, 7) > {a}"]
        operator = chance.choice(_OPERATORS)
        text = chance.choice(forms).format(c=column.ref, o=operator, a=made[0], b=made[1])
        if chance.random() < 0.12 and column.family in ("whole", "text"):
            self.values.append(tame_value(chance, column.field))
            return f"{column.ref} {operator} ${len(self.values)}"
        return text

    def constant(self, one: Field) -> str:
        """A tame constant of a field's type."""
        if one.family == "TIMESTAMP WITH TIME ZONE" or _FAMILIES.get(one.family) is None:
            return "NULL"
        made = tame_value(self.chance, one)
        return str(made).upper() if one.family == "BOOLEAN" else written(one, made)

    def risky(self, columns: Sequence[Column]) -> str:
        """A condition that fails on some values, and mostly not on tame ones."""
        chance = self.chance
        column = chance.choice([one for one in columns if one.family in _RISKS] or list(columns))
        if column.family not in _RISKS:
            return f"CAST(CAST({column.ref} AS VARCHAR) AS INTEGER) IS NULL"
        forms: tuple[str, ...] = _RISKS[column.family]
        if column.family == "text" and chance.random() < 0.75:
            forms = _TEXT_RISKS.get(column.field.flavour, _WORD_RISKS)
        return chance.choice(forms).format(c=column.ref, q=quoted("S"))


_OPERATORS = ("=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")
_CONSTANTS: Mapping[str, str] = MappingProxyType(
    {
        "whole": "3", "number": "2.5", "text": "'A'", "truth": "TRUE",
        "day": "DATE '2024-01-31'", "moment": "TIMESTAMP '2024-01-31 06:00:00'", "other": "NULL",
    }
)  # fmt: skip
_FORMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "whole": (
            "({c} + 1)", "({c} - {d})", "abs({c})", "coalesce({c}, {d}, 0)", "nullif({c}, 7)",
            "CASE WHEN {p} THEN {c} ELSE 0 END", "greatest({c}, {d})", "({c} % 3)",
            "TRY_CAST({c} AS SMALLINT)", "-{c}",
        ),
        "number": ("({c} + 1)", "coalesce({c}, 0)", "round({c})", "floor({c})", "-{c}"),
        "text": (
            "lower({c})", "upper({c})", "({c} || '!')", "coalesce({c}, 'none')", "left({c}, 2)",
            "substr({c}, 2, 3)", "CASE WHEN {p} THEN {c} ELSE {d} END", "trim({c})",
            "replace({c}, 'a', 'b')", "concat({c}, {d})", "reverse({c})",
        ),
        "truth": ("NOT {c}", "({p})", "coalesce({c}, FALSE)"),
        "day": ("({c} + 1)", "date_trunc('month', {c})::DATE", "coalesce({c}, {d})"),
        "moment": ("date_trunc('day', {c})::TIMESTAMP", "({c} + INTERVAL 1 DAY)"),
    }
)  # fmt: skip
_RISKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "text": (
            "CAST({c} AS INTEGER) >= 0", "{c} = 7", "CAST({c} AS DATE) IS NULL",
            "strptime({c}, '%Y-%m-%d') IS NULL", "CAST({c} AS UUID) IS NULL",
            "CAST({c} AS DOUBLE) < 3", "json_extract(CAST({c} AS JSON), '$.a') IS NULL",
            "CAST({c} AS BOOLEAN)", "{c} IN (7, 8)", "chr(ascii({c}) - 65) = 'a'",
            "TRY_CAST({c} AS INTEGER) > 5", "regexp_matches({c}, '^S')", "{c} LIKE 'S%'",
            "{c} = 'SECRET-7'", "{c} LIKE 'x!%' ESCAPE '!'", "length({c}) > 200",
            "date_trunc('month', CAST({c} AS TIMESTAMP)) IS NULL",
        ),
        "whole": (
            "10 // ({c} - 7) >= 0", "10 % ({c} - 7) >= 0", "10 / ({c} - 7) > 0",
            "({c} + 2147483000) > 0", "{c} * 9223372036854775807 >= 0", "CAST({c} AS TINYINT) > 2",
            "chr(({c} + 40)::INTEGER) = 'a'", "[1, 2, 3][{c}] = 2", "factorial({c}::INTEGER) > 3",
            "DATE '2024-01-01' + {c}::INTEGER > DATE '2024-01-05'",
            "make_date(2024, ({c} + 5)::INTEGER, 1) IS NULL", "abs({c}) > 3", "-{c} < 2",
            "{c} = 7", "CAST({c} * 100 AS SMALLINT) > 200", "({c} << 3) > 1", "sqrt({c} + 5) > 2",
            "ln({c} + 5) > 1", "CAST({c} AS DECIMAL(4,2)) > 1",
        ),
        "number": (
            "CAST({c} AS TINYINT) > 2", "sqrt({c} + 2) > 1", "CAST({c} AS INTEGER) > 2",
            "CAST({c} * 10 AS SMALLINT) > 2", "ln({c} + 2) > 0", "CAST({c} AS DECIMAL(4,2)) > 1",
            "{c} > 1e6",
        ),
        "day": (
            "{c} + 3000000 > DATE '2024-01-01'",
            "CAST(strftime({c}, '%Y%m%d') AS INTEGER) > 20240101",
            "{c} - INTERVAL 200000 YEAR IS NULL", "CAST(year({c}) - 2000 AS TINYINT) > 3",
        ),
        "moment": (
            "{c} + INTERVAL 290000 YEAR IS NULL", "CAST(year({c}) - 2000 AS TINYINT) > 3",
            "epoch_ms({c}) > 0",
        ),
    }
)  # fmt: skip
_TEXT_RISKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "number": (
            "CAST({c} AS INTEGER) >= 0", "CAST({c} AS SMALLINT) + 1 > 3", "{c} = 7",
            "CAST({c} AS TINYINT) IN (7, 10)", "CAST({c} AS DOUBLE) < 15",
        ),
        "day": (
            "CAST({c} AS DATE) > DATE '2024-01-01'", "strptime({c}, '%Y-%m-%d') IS NULL",
            "{c} = DATE '2024-01-31'", "CAST({c} AS TIMESTAMP) < TIMESTAMP '2024-02-01 00:00:00'",
        ),
        "json": ("json_extract(CAST({c} AS JSON), '$.a') IS NULL", "CAST({c} AS JSON) IS NULL"),
    }
)  # fmt: skip
# Tame words are short: these fail on long or strange ones only.
_WORD_RISKS = (
    "CAST(CASE WHEN length({c}) <= 6 THEN '1' ELSE {c} END AS INTEGER) >= 0",
    "CAST(length({c}) AS TINYINT) > 3", "10 // (length({c}) - 8) >= 0",
    "CAST(CASE WHEN {c} < 'S' THEN '1' ELSE {c} END AS DATE) IS NULL",
    "strptime(CASE WHEN contains({c}, '2024') THEN {c} END, '%Y-%m-%d') IS NULL",
    "{c} LIKE 'S%'", "regexp_matches({c}, '^S')", "length({c}) > 200",
)  # fmt: skip
