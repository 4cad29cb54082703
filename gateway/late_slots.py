"""Where the keys of the first rows may stand in the SQL of a fragment.

Takes: an input that is wanted for the first rows only. Gives: the slot for their keys in the
source's own words, and the statements that find them and tell whether they were enough. Never
decides whether that is worth it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import sqlglot
from sqlglot import exp

from gateway.constants import INTEGERS, family
from gateway.draft import Draft, Input, LateEdge, LateSlot
from gateway.errors import InternalError
from gateway.estimates import whole_rows
from gateway.merge_text import merge_sql, renamed
from gateway.trees import DUCKDB, text_in

# Stands for the bound keys while a text is cut; no name or number holds it.
_MARK = "\x02"


def late_slot(
    draft: Draft, one: Input, edge: LateEdge, column: exp.Expression, table: exp.Table
) -> LateSlot:
    """The slot of an edge; `column` and `table` are as their source knows them.

    Beside the keys it takes all rows whose key stands more than once in the table: so no key that
    is left out can stand for more than one row, whatever its contract says.
    """
    relation = one.relations[0]
    abilities = draft.abilities_of(relation)
    kind = next(each.type for each in relation.columns if each.name == edge.column)
    assert kind in INTEGERS
    written = text_in(column, abilities.dialect)
    keys = abilities.keys.format(
        column=written, keys=_MARK, type=abilities.key_types[family(kind)]
    )
    counted = exp.GT(this=exp.Count(this=exp.Star()), expression=exp.Literal.number(1))
    repeated = (
        exp.Select(expressions=[column.copy()])
        .from_(table)
        .group_by(column.copy())
        .having(counted)
        .sql(abilities.dialect)
    )
    # In one list with the keys: beside an OR, PostgreSQL would count anew for each row.
    within = f"{written} IN ("
    if not (keys.startswith(within) and keys.endswith(")")):
        raise InternalError("keys that are looked for have another form than IN")
    listed = keys.removeprefix(within).removesuffix(")")
    before, _, after = f"{within}{listed} UNION ALL {repeated})".partition(_MARK)
    name = relation.name
    ranked, fetched = f"first of {name}", f"{name} at first"
    return LateSlot(
        edge.providers, merge_sql(edge.first), merge_sql(_enough(edge, ranked, fetched)), ranked,
        fetched, edge.column, before, after, "BIGINT[]", edge.taken, whole_rows(draft, relation),
    )  # fmt: skip


def _enough(edge: LateEdge, ranked: str, fetched: str) -> exp.Expression:
    """True where all keys were asked for, or so many rows are there that no other comes before."""
    once, *alone = (each.copy() for each in edge.enough)
    for table in once.find_all(exp.Table):
        if table.name == edge.relation:
            table.set("this", exp.to_identifier(fetched, quoted=True))
    places = f'SELECT * FROM "{ranked}" WHERE "place" <= {edge.taken}'
    total = f'SELECT COALESCE(MAX("total"), 0) <= {edge.taken} FROM "{ranked}"'
    there = (
        f"SELECT COUNT(*) >= {edge.wanted} FROM ({places}) AS a "
        f'JOIN ({once.sql(DUCKDB)}) AS b ON a."key" = b."key"'
    )
    others = "".join(f" AND ({each.sql(DUCKDB)})" for each in alone)
    made = sqlglot.parse_one(f"SELECT ({total}) OR (({there}){others})", dialect=DUCKDB)
    assert isinstance(made, exp.Expression)
    return made


def late_over_fetched(slot: LateSlot, stands_for: Mapping[str, str]) -> LateSlot:
    """The slot over the fragments that are fetched, where one stands for several inputs."""
    providers = tuple(dict.fromkeys(stands_for[name] for name in slot.providers))
    if providers == slot.providers:
        return slot
    texts = []
    for sql, used in (slot.first, slot.enough):
        tree = sqlglot.parse_one(sql, dialect=DUCKDB)
        assert isinstance(tree, exp.Expression)
        texts.append((renamed(tree, stands_for).sql(DUCKDB), used))
    return replace(slot, providers=providers, first=texts[0], enough=texts[1])
