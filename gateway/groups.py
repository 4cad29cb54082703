"""The statements that make the groups of an aggregated block.

Takes: a block, its predicate with constants folded, the names of its tables. Gives: SQL of DuckDB
for three statements over the guarded rows: which groups are large enough, whom they are about, and
what they answer. Never holds an expression of the user's: keys, plain aggregates and safe
predicates only (DESIGN 5, rule 6).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from gateway.aggregated import AggregatedBlock, quoted
from gateway.decision import AggregateRule
from gateway.trees import as_type

ENTITY = " entity"


@dataclass(frozen=True, slots=True)
class GroupStatements:
    """What the gateway runs over the rows of a block, one after the other.

    rows, audience: names of the tables that hold the guarded rows and the groups large enough.
    audience_sql makes the latter. atoms_sql gives (group, entity, dimensions as text) of its
    groups, answer_sql the groups with keys and measures. values: what `$1` ... stand for in each.
    shape: tells apart answers whose dimensions differ. keys: the names of the groups' keys.
    """

    rule: AggregateRule
    rows: str
    audience: str
    audience_sql: str
    atoms_sql: str
    answer_sql: str
    values: tuple[object, ...]
    shape: str
    keys: frozenset[str]


def group_statements(
    block: AggregatedBlock,
    predicate: exp.Expression | None,
    name: str,
    dimensions: tuple[tuple[str, str], ...],
) -> GroupStatements:
    """The statements of a block whose groups the merge knows as `name`.

    `dimensions`: name and type of all that the caller may see, read or not. `predicate`: over
    unqualified columns, its parameters carrying their value as meta.
    """
    rows, audience = f"rows of {name}", f"audience of {name}"
    where, values = _where(predicate)
    keys = [quoted(key) for key, _ in block.keys]
    chosen = f"FROM {quoted(rows)} AS r{_join(audience, keys)} WHERE {where}"
    texts = ", ".join(_text(one, kind) for one, kind in dimensions)
    return GroupStatements(
        rule=block.rule,
        rows=rows,
        audience=audience,
        audience_sql=_audience(block, rows, where, keys),
        atoms_sql="SELECT DISTINCT a.number, "
        f"{_text(ENTITY, block.rule.entity_type)} AS entity, "
        f"CAST(TO_JSON([{texts}]) AS VARCHAR) AS dimensions {chosen}",
        answer_sql=_answer(block, keys, chosen),
        values=values,
        shape=", ".join(one for one, _ in dimensions),
        keys=frozenset(key for key, _ in block.keys),
    )


def _text(name: str, kind: str) -> str:
    """A value as text; a moment by its microseconds, which no session's time zone changes."""
    value = f"r.{quoted(name)}"
    return f"CAST({f'EPOCH_US({value})' if 'TIME ZONE' in kind else value} AS VARCHAR)"


def _where(predicate: exp.Expression | None) -> tuple[str, tuple[object, ...]]:
    known = f"r.{quoted(ENTITY)} IS NOT NULL"
    if predicate is None:
        return known, ()
    made = exp.Paren(this=predicate.copy())
    values: list[object] = []
    for node in list(made.find_all(exp.Parameter)):
        values.append(node.meta["value"])
        kind = node.meta["type"]
        node.replace(as_type(exp.Var(this=f"${len(values)}"), kind))
    for column in made.find_all(exp.Column):
        column.set("table", exp.to_identifier("r"))
    return f"{known} AND {made.sql('duckdb')}", tuple(values)


def _join(audience: str, keys: list[str]) -> str:
    same = " AND ".join(f"r.{key} IS NOT DISTINCT FROM a.{key}" for key in keys) or "TRUE"
    return f" JOIN {quoted(audience)} AS a ON {same}"


def _audience(block: AggregatedBlock, rows: str, where: str, keys: list[str]) -> str:
    """Groups with enough entities, none of which has too large a share of what is summed."""
    summed = dict.fromkeys(
        one.column for one in block.measures if one.function in ("SUM", "AVG") and one.column
    )
    totals = "".join(
        f", SUM(ABS(CAST(r.{quoted(name)} AS DOUBLE))) AS m{number}"
        for number, name in enumerate(summed)
    )
    listed = ", ".join(f"r.{key}" for key in keys)
    grouped = f"{listed}, " if keys else ""
    entities = (
        f"SELECT {grouped}r.{quoted(ENTITY)}{totals} FROM {quoted(rows)} AS r WHERE {where} "
        f"GROUP BY {grouped}r.{quoted(ENTITY)}"
    )
    tests = [f"COUNT(*) >= {block.rule.minimum}"]
    if block.rule.dominance < 1:
        tests += [_balanced(f"m{number}", block.rule.dominance) for number in range(len(summed))]
    outer = ", ".join(f"e.{key}" for key in keys)
    number = f"SELECT {outer + ', ' if keys else ''}ROW_NUMBER() OVER () AS number"
    group = f" GROUP BY {outer}" if keys else ""
    return f"{number} FROM ({entities}) AS e{group} HAVING {' AND '.join(tests)}"


def _balanced(name: str, share: float) -> str:
    """The largest share is within bounds; what is not finite has no share and fails."""
    total = f"SUM(e.{name})"
    return (
        f"(COALESCE({total}, 0) = 0 OR (ISFINITE({total}) AND MAX(e.{name}) <= {share} * {total}))"
    )


def _answer(block: AggregatedBlock, keys: list[str], chosen: str) -> str:
    outputs = [f"r.{key} AS {key}" for key in keys]
    outputs += [f"{one.sql} AS {quoted(one.name)}" for one in block.measures]
    group = ", ".join(f"r.{key}" for key in keys)
    # Without keys the one group is shown only if it is large enough.
    end = f" GROUP BY {group}" if keys else " HAVING COUNT(*) > 0"
    return f"SELECT {', '.join(outputs)} {chosen}{end}"
