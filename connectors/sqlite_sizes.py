"""How large the tables of a SQLite file are, by their indices and what ANALYZE left.

Takes: a table's name, a way to ask. Gives: rows, and of each column that an index begins with how
many values it has and between which they lie. Never reads a table where no index answers, but to
count its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from connectors.arrow import number_of
from connectors.base import SourceSize

# Statements to the rows of their answers.
Ask = Callable[[str], Sequence[Mapping[str, object]]]

# The first column of each index, and the key that is the number of a row.
_INDEXED = """
SELECT i.name AS column, l.name AS index_name,
       l."unique" AND (SELECT count(*) FROM pragma_index_info(l.name)) = 1 AS is_unique
FROM pragma_index_list({table}) l, pragma_index_info(l.name) i
WHERE i.seqno = 0 AND NOT l.partial AND i.name IS NOT NULL
UNION ALL
SELECT min(name), NULL, 1 FROM pragma_table_info({table}) WHERE pk
HAVING count(*) = 1 AND upper(min(type)) = 'INTEGER'
"""
_ANALYSED = "SELECT 1 AS there FROM sqlite_schema WHERE name = 'sqlite_stat1'"
_STATISTICS = "SELECT idx, stat FROM sqlite_stat1 WHERE tbl = {table} AND idx IS NOT NULL"
_MOST_COLUMNS = 20


def size_of(ask: Ask, table: str) -> SourceSize:
    """The size of a table."""
    name, text = _quoted(table, '"'), _quoted(table, "'")
    (counted,) = ask(f"SELECT count(*) AS n FROM {name}")
    rows = float(str(counted["n"]))
    analysed = _analysed(ask, text) if ask(_ANALYSED) else {}
    columns: dict[str, tuple[float | None, float | None, float | None]] = {}
    for one in ask(_INDEXED.format(table=text))[:_MOST_COLUMNS]:
        column = str(one["column"])
        of_a_value = 1.0 if one["is_unique"] else analysed.get(str(one["index_name"]))
        distinct = rows / of_a_value if of_a_value else None
        if column in columns:
            known, low, high = columns[column]
            columns[column] = known or distinct, low, high
        else:
            columns[column] = (distinct, *_bounds(ask, name, _quoted(column, '"')))
    return SourceSize(rows, columns)


def _analysed(ask: Ask, table: str) -> Mapping[str, float]:
    """About how many rows have one value of an index's first column."""
    found = {}
    for one in ask(_STATISTICS.format(table=table)):
        numbers = str(one["stat"]).split()
        if len(numbers) > 1 and numbers[1].isdigit() and int(numbers[1]):
            found[str(one["idx"])] = float(numbers[1])
    return found


def _bounds(ask: Ask, table: str, column: str) -> tuple[float | None, float | None]:
    """Both ends, each a look into the index; None where one is neither number nor date."""
    ends = []
    for end in ("min", "max"):
        (row,) = ask(
            f"SELECT CASE WHEN typeof(v) IN ('integer', 'real') OR v GLOB '????-??-??' "
            f"THEN CAST(v AS TEXT) END AS v FROM (SELECT {end}({column}) AS v FROM {table})"
        )
        ends.append(number_of(row["v"]))
    return ends[0], ends[1]


def _quoted(name: str, mark: str) -> str:
    return mark + name.replace(mark, mark * 2) + mark
