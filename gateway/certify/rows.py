"""The rows of `rows.sql` written into a statement, so that no table is needed.

Takes: a dialect's data, `[tables.certify...]` of a connector's ability file. Gives: a DuckDB that
holds the rows as that source can have them, and the text of a relation with the same rows in the
source's own literals. Never writes to a source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import duckdb
from sqlglot import exp

from connectors.base import load_tables
from gateway.certify.ask import Relation
from gateway.errors import InvalidConfig

ROWS = Path(__file__).with_name("rows.sql")
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Dialect:
    """What certifying a kind of source takes, all of it data.

    asks: statements and words of the source (`version`, `rows`, `collations`, `bytewise`,
    `series`, `wide`, `stage`, `doubtful`). lacks: column -> DuckDB's condition for the values that
    it has not. texts: type -> DuckDB's text of a value, over {c}. literals: type -> how the source
    writes such a text, {v}. values: texts that it writes in another way.
    """

    name: str
    asks: Mapping[str, str]
    lacks: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    texts: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    literals: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    values: Mapping[str, str] = field(default_factory=lambda: _NOTHING)

    def literal(self, text: str | None, kind: str, is_first: bool) -> str:
        """A value of a DuckDB type, from its text."""
        template = self.literals.get(kind.partition("(")[0])
        if text is None:
            is_typed = template is None and is_first
            return exp.cast(exp.null(), kind).sql(self.name) if is_typed else "NULL"
        if template is not None:
            return self.values.get(text) or template.format(v=self._quoted(text))
        constant = exp.Literal.string(text)
        return (exp.cast(constant, kind) if is_first else constant).sql(self.name)

    def _quoted(self, text: str) -> str:
        return exp.Literal.string(text).sql(self.name)[1:-1]


def can_certify(kind: str, dialect: str) -> bool:
    """Whether sources of a kind with this dialect can be certified."""
    like = _like(kind, dialect)
    return like is not None and "certify" in load_tables(like)


def _like(kind: str, dialect: str) -> str | None:
    """The kind whose data say how to ask: a driver's source is asked as its dialect has it."""
    tables = load_tables(kind)
    return tables["certify_as"].get(dialect) if "certify_as" in tables else kind


def dialect_of(kind: str, name: str) -> Dialect:
    """The data of a kind, or of the one that knows its dialect; InvalidConfig where none is."""
    tables = load_tables(_like(kind, name) or kind)
    if "certify" not in tables:
        raise InvalidConfig(
            f"Sources of kind {kind!r} with the dialect {name!r} cannot be certified.",
            hint="Name others, or say --all, which leaves it out.",
        )
    parts = (
        tables.get(f"certify_{key}", _NOTHING) for key in ("lacks", "texts", "literals", "values")
    )
    return Dialect(name, tables["certify"], *parts)


def reference(dialect: Dialect | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB that holds the rows, NULL for what the source cannot have."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(ROWS.read_text(encoding="utf-8"))
    for column, condition in dialect.lacks.items() if dialect is not None else ():
        connection.execute(f"UPDATE probe SET {column} = NULL WHERE {condition}")
    return connection


class Written:
    """The rows as text of a statement; only the columns that it reads."""

    def __init__(self, dialect: Dialect, held: duckdb.DuckDBPyConnection) -> None:
        """Read the rows once."""
        self._dialect = dialect
        described = held.execute("DESCRIBE probe").fetchall()
        self._types = {str(row[0]): str(row[1]) for row in described}
        shown = [
            dialect.texts.get(kind.partition("(")[0], "CAST({c} AS VARCHAR)").format(c=name)
            for name, kind in self._types.items()
        ]
        # All are needed typed where rows are put together by UNION ALL, else the first row is.
        is_union = dialect.asks.get("rows") != "values"
        rows = held.execute(f"SELECT {', '.join(shown)} FROM probe ORDER BY id").fetchall()
        self._cells = [
            [
                dialect.literal(value, kind, is_first=is_union or place == 0)
                for value, kind in zip(row, self._types.values(), strict=True)
            ]
            for place, row in enumerate(rows)
        ]
        self._texts: dict[tuple[str, ...], str] = {}

    def relation(self, node: exp.Table) -> exp.Expression:
        """The rows in the place of a reference to `probe`."""
        names = self._read_by(node.root())
        alias = exp.TableAlias(this=exp.to_identifier(node.alias or "probe"))
        return exp.Subquery(this=exp.Var(this=self.text(names)), alias=alias)

    def text(self, names: tuple[str, ...]) -> str:
        """A query that gives these columns."""
        if names not in self._texts:
            places = [list(self._types).index(name) for name in names]
            rows = [[row[place] for place in places] for row in self._cells]
            is_values = self._dialect.asks.get("rows") == "values"
            self._texts[names] = _values(rows, names) if is_values else _union(rows, names)
        return self._texts[names]

    def _read_by(self, tree: exp.Expr) -> tuple[str, ...]:
        stars = (one for one in tree.find_all(exp.Star) if not isinstance(one.parent, exp.Count))
        if next(stars, None) is not None:
            return tuple(self._types)
        read = {one.name for one in tree.find_all(exp.Column)}
        return tuple(name for name in self._types if name in read or name == "id")


def _values(rows: Sequence[Sequence[str]], names: Sequence[str]) -> str:
    # The first row has values in all columns, and with them the types.
    shown = ", ".join(f"({', '.join(row)})" for row in rows)
    return f"SELECT * FROM (VALUES {shown}) AS given({', '.join(names)})"


def _union(rows: Sequence[Sequence[str]], names: Sequence[str]) -> str:
    shown = (
        ", ".join(f"{value} AS {name}" for value, name in zip(row, names, strict=True))
        for row in rows
    )
    return " UNION ALL ".join(f"SELECT {one}" for one in shown)


def written(dialect: Dialect, held: duckdb.DuckDBPyConnection) -> Relation:
    """The relation of the rows for statements of a dialect."""
    return Written(dialect, held).relation
