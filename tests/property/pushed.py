"""Random statements asked twice, with push-down and without.

Takes: seeds. Gives: arenas in which nothing is hidden, so that whole blocks may go down, beside
those of the attack; statements over both; a tally with each mismatch, shrunk. A statement is named
by the kind of its arena, its seed and its number, from which it can be made again.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from types import MappingProxyType

from gateway.demo.postgres import Server
from gateway.probe.arenas import WORLDS, Arena, Attacked, build_arena, snapshot_of
from gateway.probe.expressions import Column, Speaker
from gateway.probe.lots import Lot, Ways
from gateway.probe.oracle import Row, seen
from gateway.probe.plant import Ground, physical_name
from gateway.probe.rules import Given, Rules, principals
from gateway.probe.shapes import KINDS, MARIADB, Shape, random_shape, tame, wild
from gateway.probe.shrink import shrunk
from gateway.probe.statements import CLAUSES, Statement, random_statement
from gateway.request import Principal
from tests.property.runs import ground_of
from tests.settled import settled

OPEN = Rules("open", (Given(None, None),), (), MappingProxyType({}))
# Two tables at each source but the costly one, so that a source may be asked to join.
PLACES = (*KINDS, *(one for one in KINDS if one != "csv"))
_ONE_SOURCE, _WILD, _SWAPPED = 0.4, 0.04, 0.3
_LEAST, _MOST = 6, 24
_DIFFERING: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "text": (
            "{c} LIKE '%a%'", "{c} LIKE 'A%'", "{c} NOT LIKE '_e%'", "{c} ILIKE '%A'",
            "{c} LIKE {a}", "upper({c}) = {c}", "lower({c}) < 'b'", "{c} > {a}", "{c} <= 'a'",
            "{c} BETWEEN 'A' AND 'Z'", "length({c}) = 1", "{c} || 'x' > {a}", "{c} = ''",
            "concat({c}, 'x') <> {a}", "{c} IN ({a}, 'a', 'A ')", "trim({c}) = {c}",
            "substr({c}, 2, 2) = 'lp'", "greatest({c}, 'b') = 'b'", "coalesce({c}, '') = ''",
            "strpos({c}, 'a') > 1", "starts_with({c}, 'a')", "left({c}, 1) = 'A'",
        ),
        "whole": (
            "{c} / 2 > 1.2", "{c} // 2 = -2", "{c} % 3 = -1", "round({c} / 2) = 2", "{c} = {a}",
            "abs({c}) BETWEEN 2 AND 5", "{c} > 2.5", "{c} IN (1, 2, {a})", "-{c} < {a}",
            "greatest({c}, 3) = 3", "nullif({c}, 3) IS NULL", "CAST({c} AS VARCHAR) > '5'",
            "coalesce({c}, 0) <= 0", "{c} * 2 <> {a}", "sign({c}) = -1",
        ),
        "number": (
            "{c} / 3 > 0.5", "round({c}) = 2", "floor({c}) = -1", "{c} = 0.25", "{c} > {a}",
            "ceil({c}) < 2", "{c} IN (0.5, 1, {a})", "CAST({c} AS VARCHAR) > '1'", "{c} * 2 = 5",
            "isnan({c}::DOUBLE)", "abs({c}) < 1e300",
        ),
        "day": (
            "{c} > {a}", "{c} + 1 = {a}", "year({c}) = 2024", "extract(dow FROM {c}) = 0",
            "{c} + INTERVAL 1 MONTH < DATE '2024-03-01'", "date_trunc('month', {c}) = {a}",
            "CAST({c} AS VARCHAR) LIKE '2024-0%'", "{c} - DATE '2024-01-01' > 20",
        ),
        "truth": ("{c}", "NOT {c}", "{c} IS NOT TRUE", "{c} = FALSE"),
    }
)  # fmt: skip


@dataclass(slots=True)
class Asked:
    """What a run did: how its statements ended, how many went down whole, what was wrong."""

    asked: int = 0
    answered: int = 0
    whole: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Differing(Speaker):
    """Says, in place of most expressions that fail, those that engines answer differently."""

    def risky(self, columns: Sequence[Column]) -> str:
        """A condition over one column, in two of three cases one of `_DIFFERING`."""
        column = self.chance.choice([one for one in columns if one.family in _DIFFERING])
        if self.chance.random() < 1 / 3:
            return super().risky(columns)
        form = self.chance.choice(_DIFFERING[column.family])
        return form.format(c=column.ref, a=self.constant(column.field))


def open_arena(seed: int, mariadb: bool = False) -> Arena:
    """Two tables at each source, with wild values in some cells, all of it to be seen."""
    chance = Random(f"open {seed}")
    people = principals(chance)
    places = (*PLACES, MARIADB, MARIADB) if mariadb else PLACES
    tables = [
        _table(chance, f"open{seed}_t{place}", kind, people) for place, kind in enumerate(places)
    ]
    rights = build_arena(seed).support[0]
    return Arena(
        seed, tuple(tables), people, snapshot_of(seed, tables, rights), support=(rights,)
    )


def _table(chance: Random, label: str, kind: str, people: Sequence[Principal]) -> Attacked:
    name = label.rpartition("_")[2]
    shape = random_shape(chance, kind, kind, name, chance.randint(_LEAST, _MOST))
    shape = replace(shape, physical=physical_name(kind, label))
    rows = tuple(_row(chance, shape, number + 1) for number in range(shape.rows))
    view = seen(shape, [(OPEN, who) for who in people], rows)
    return Attacked(shape, OPEN, dict.fromkeys(WORLDS, rows), view, 0)


def _row(chance: Random, shape: Shape, number: int) -> Row:
    """A key, tame values in either case, now and then a wild one that CSV cannot write."""
    share = 0.0 if shape.kind == "csv" else _WILD
    values = []
    for one in shape.fields:
        made = (wild if chance.random() < share else tame)(chance, one)
        if one.type == "VARCHAR" and isinstance(made, str) and chance.random() < _SWAPPED:
            made = made.swapcase()
        if isinstance(made, float) and _is_beyond(shape.kind, made):
            made = None
        values.append(number if one.name == "id" else made)
    return tuple(values)


def _is_beyond(kind: str, value: float) -> bool:
    """Whether a kind of source cannot keep it: SQLite has no NaN, MariaDB no infinity either."""
    return (kind == "sqlite" and math.isnan(value)) or (
        kind == MARIADB and not math.isfinite(value)
    )


def statement_of(arena: Arena, number: int, kind: str | None = None) -> tuple[int, Statement]:
    """Who asks, and what; two in five statements keep to one source, or all to one `kind`."""
    chance = Random(f"{arena.seed} pushed {number}")
    who = number % len(arena.principals)
    relations = arena.relations(who)
    if kind is not None:
        relations = tuple(one for one in relations if one.kind == kind)
    target = relations[number % len(relations)]
    if chance.random() < _ONE_SOURCE:
        relations = tuple(one for one in relations if one.kind == target.kind)
    speaker = Differing(chance)
    return who, random_statement(speaker, relations, target, CLAUSES[number % len(CLAUSES)])


def ask_both_ways(arenas: Sequence[Arena], each: int, ground: Ground) -> Asked:
    """Ask `each` statements of every arena; says how to make again what is wrong."""
    lot = Lot(arenas, {WORLDS[0]: ground})
    asked = Asked()
    try:
        with settled():
            for arena in lot.arenas:
                for number in range(each):
                    _ask(lot, arena, number, asked)
    finally:
        lot.close()
        shutil.rmtree(ground.folder)
    sys.stdout.write(f"{asked.asked} asked, {asked.answered} answered, {asked.whole} whole, ")
    sys.stdout.write(f"{dict(asked.codes)}\n")
    return asked


def first_wrong(arena: Arena, kind: str, most: int, folder: Path, server: Server) -> str:
    """The first mismatch of statements over sources of one kind; empty where there is none."""
    lot = Lot([arena], {WORLDS[0]: ground_of(folder, server, "pushed")})
    try:
        for number in range(most):
            ways = lot.both_ways(arena, *statement_of(arena, number, kind))
            if _is_wrong(ways):
                return ways.wrong or ways.pushed.code
    finally:
        lot.close()
    return ""


def _ask(lot: Lot, arena: Arena, number: int, asked: Asked) -> None:
    who, statement = statement_of(arena, number)
    ways = lot.both_ways(arena, who, statement)
    asked.asked += 1
    asked.answered += ways.pushed.error is None and ways.pulled.error is None
    asked.whole += ways.whole
    asked.codes[f"{ways.pushed.code}/{ways.pulled.code}"] += 1
    if _is_wrong(ways):
        small = shrunk(statement, lambda one: _is_wrong(lot.both_ways(arena, who, one)))
        told = lot.both_ways(arena, who, small)
        asked.wrong.append(
            f"{arena.tables[0].rules.form} {arena.seed}.{number} as {who}: {small.sql} "
            f"{small.parameters!r}\n  {told.wrong or (told.pushed.error, told.pulled.error)}"
        )


def _is_wrong(ways: Ways) -> bool:
    """Another answer, or a defect instead of one."""
    return bool(ways.wrong) or "internal" in (ways.pushed.code, ways.pulled.code)
