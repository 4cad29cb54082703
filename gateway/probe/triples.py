"""Triples of mesh, insider and statement: what a run tries, and what it found.

Takes: a planted lot. Gives: a `Tally` of what ran, what it covered and every finding with its
seed, shrunk. A triple is named by three numbers, such as `17.1.33`, from which everything can be
made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from gateway.probe.arenas import LARGE, Arena, Attacked
from gateway.probe.expressions import Speaker
from gateway.probe.lots import Attempt, Lot
from gateway.probe.shrink import shrunk
from gateway.probe.statements import CLAUSES, Statement, random_statement

TABLES = 5
PER_ARENA = TABLES * len(CLAUSES)
_PIPELINE_EVERY = 20
_TOLD = ("EXPLAIN", "EXPLAIN ANALYZE", "EXPLAIN POLICY", "DESCRIBE")


@dataclass(frozen=True, slots=True)
class Triple:
    """One attempt, by its numbers."""

    arena: int
    number: int
    insiders: int = 2

    @property
    def who(self) -> int:
        """Which of the insiders asks."""
        return (self.number + self.number // TABLES) % self.insiders

    @property
    def clause(self) -> str:
        """Where the expression stands that may fail."""
        return CLAUSES[self.number // TABLES % len(CLAUSES)]

    def __str__(self) -> str:
        """What replays it."""
        return f"{self.arena}.{self.number}"

    def target(self, arena: Arena) -> Attacked:
        """The table that is attacked: one that the insider knows."""
        known = [one for one in arena.tables if one.seen[self.who].fields]
        return known[self.number % len(known)]

    def statement(self, arena: Arena) -> tuple[Statement, bool]:
        """The statement, and whether filters may be pushed."""
        chance = Random(f"{self.arena}/{self.number}")
        relations = arena.relations(self.who)
        target = relations[self.number % len(relations)]
        made = random_statement(Speaker(chance), relations, target, self.clause)
        return made, chance.random() < 0.85


def triple_of(text: str) -> Triple:
    """The triple of a name."""
    arena, number = text.split(".")
    return Triple(int(arena), int(number))


@dataclass(frozen=True, slots=True)
class Finding:
    """Something learned that was hidden (`leak`), or an answer that is wrong (`disagreement`)."""

    kind: str
    triple: str
    principal: str
    sql: str
    parameters: tuple[object, ...]
    learned: str

    def __str__(self) -> str:
        """One finding for a person."""
        values = f"\n  parameters {self.parameters!r}" if self.parameters else ""
        asked = f"{self.kind} {self.triple} as {self.principal}: {self.sql}"
        return f"{asked}{values}\n  {self.learned}"


@dataclass(slots=True)
class Tally:
    """What a run did. `cells` counts what ran by (clause, form of policy, connector or merge).

    `sizes` counts it by (connector, small or large).
    """

    tried: int = 0
    ran: int = 0
    answered: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    connectors: Counter[str] = field(default_factory=Counter)
    cells: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    sizes: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take another tally in."""
        self.tried += other.tried
        self.ran += other.ran
        self.answered += other.answered
        self.codes += other.codes
        self.connectors += other.connectors
        self.cells += other.cells
        self.sizes += other.sizes
        self.findings += other.findings

    def by(self, *parts: int) -> Counter[tuple[str, ...]]:
        """The cells summed up: 0 stands for clauses, 1 for forms of policy, 2 for connectors."""
        made: Counter[tuple[str, ...]] = Counter()
        for cell, count in self.cells.items():
            made[tuple(cell[part] for part in parts)] += count
        return made

    def __str__(self) -> str:
        """The figures in one line."""
        codes = ", ".join(f"{name} {count}" for name, count in self.codes.most_common())
        places = ", ".join(f"{name} {count}" for name, count in sorted(self.connectors.items()))
        return (
            f"{self.tried} tried, {self.ran} ran, {self.answered} answered ({codes}; {places}), "
            f"{len(self.findings)} findings"
        )


def triples(arena: Arena) -> Iterator[Triple]:
    """Every triple of an arena."""
    return (Triple(arena.seed, number) for number in range(PER_ARENA))


def run_arena(lot: Lot, arena: Arena, most: int = PER_ARENA) -> Tally:
    """Try an arena's triples; findings are shrunk."""
    tally = Tally()
    for triple in triples(arena):
        if triple.number < most:
            try_triple(lot, arena, triple, tally)
    return tally


def try_triple(
    lot: Lot, arena: Arena, triple: Triple, tally: Tally, small: bool = True
) -> Attempt:
    """Try one, count it, keep what it found, with `small` shrunk."""
    statement, push_down = triple.statement(arena)
    attempt = lot.attempt(arena, triple.who, statement, push_down)
    _count(tally, arena, triple, statement, attempt)
    for kind, learned in (("leak", attempt.differs), ("disagreement", attempt.disagrees)):
        if learned and small:
            tally.findings.append(_shrunk(lot, arena, triple, kind))
        elif learned:
            tally.findings.append(_finding(kind, arena, triple, statement, learned))
    if triple.number % _PIPELINE_EVERY == 0 and not statement.parameters:
        _through_pipeline(tally, lot, arena, triple, statement)
    return attempt


def _count(
    tally: Tally, arena: Arena, triple: Triple, statement: Statement, attempt: Attempt
) -> None:
    tally.tried += 1
    tally.codes[f"{attempt.stage}: {attempt.code}"] += 1
    if attempt.stage != "ran":
        return
    tally.ran += 1
    tally.answered += attempt.code == "ok"
    target = triple.target(arena)
    size = "large" if target.shape.rows > LARGE else "small"
    tally.sizes[target.shape.kind, size] += 1
    kinds = {one.shape.kind for one in arena.tables if one.shape.address in statement.tables}
    tally.connectors.update(kinds)
    tally.cells[triple.clause, target.rules.form, target.shape.kind] += 1
    if len(kinds) > 1:
        tally.connectors["merge"] += 1
        tally.cells[triple.clause, target.rules.form, "merge"] += 1


def _through_pipeline(
    tally: Tally, lot: Lot, arena: Arena, triple: Triple, statement: Statement
) -> None:
    """The whole gateway, asked for the answer or, in turn, for what it tells of it."""
    word = _TOLD[triple.number // _PIPELINE_EVERY % len(_TOLD)]
    for sql in (statement.sql, f"{word} {statement.sql}"):
        learned = lot.through_pipeline(arena, triple.who, sql)
        if learned:
            tally.findings.append(_finding("leak", arena, triple, Statement(sql), learned))


def _shrunk(lot: Lot, arena: Arena, triple: Triple, kind: str) -> Finding:
    statement, push_down = triple.statement(arena)

    def learned(candidate: Statement) -> str:
        made = lot.attempt(arena, triple.who, candidate, push_down)
        return made.differs if kind == "leak" else made.disagrees

    small = shrunk(statement, lambda one: bool(learned(one)))
    return _finding(kind, arena, triple, small, learned(small))


def _finding(
    kind: str, arena: Arena, triple: Triple, statement: Statement, learned: str
) -> Finding:
    who = arena.principals[triple.who].user
    return Finding(kind, str(triple), who, statement.sql, statement.parameters, learned)
