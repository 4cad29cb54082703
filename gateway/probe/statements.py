"""Random statements of the supported grammar.

Takes: a source of chance, the tables that a principal sees, one of them as the target, a clause.
Gives: a statement that puts an expression that may fail over the target into that clause, with
random company. Its reference answer is deterministic: no LIMIT without a total order, no
aggregate that depends on order. Never reads a database.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.probe.expressions import Column, Speaker
from gateway.probe.shapes import Field

CLAUSES = (
    "select", "where", "join", "having", "order", "window", "filter", "lateral", "case",
    "correlated", "group", "qualify", "subquery", "set", "cte", "exists",
)  # fmt: skip
# Not the $ of a JSON path, which no digit follows.
_PARAMETER = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the principal sees it. `large` ones are joined by their key alone."""

    name: str
    fields: tuple[Field, ...]
    kind: str = ""
    large: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """A random statement: its text, its parameters, the tables it reads."""

    sql: str
    parameters: tuple[object, ...] = ()
    tables: tuple[str, ...] = ()


@dataclass(slots=True)
class _Select:
    """One SELECT under construction."""

    outputs: list[tuple[str, Field]]
    sources: str
    where: list[str]
    columns: list[Column]
    group: str = ""
    having: str = ""
    qualify: str = ""
    distinct: bool = False
    tail: str = ""

    def text(self) -> str:
        shown = ", ".join(f"{value} AS {one.name}" for value, one in self.outputs)
        where = f" WHERE {' AND '.join(self.where)}" if self.where else ""
        parts = (f"SELECT {'DISTINCT ' if self.distinct else ''}{shown} FROM {self.sources}",
                 where, self.group, self.having, self.qualify, self.tail)  # fmt: skip
        return "".join(parts)


def random_statement(
    speaker: Speaker, relations: Sequence[Relation], target: Relation, clause: str
) -> Statement:
    """A statement that puts what the speaker calls risky over the target into the clause."""
    maker = _Maker(speaker, relations)
    made = maker.wrapped(maker.core(target, clause), clause)
    return _numbered(made, maker.speaker.values, tuple(sorted(maker.used)))


def _numbered(sql: str, values: Sequence[object], tables: tuple[str, ...]) -> Statement:
    """The statement with its parameters numbered anew: some were said and not used."""
    kept = list(dict.fromkeys(int(one) for one in _PARAMETER.findall(sql)))
    text = _PARAMETER.sub(lambda found: f"${kept.index(int(found[1])) + 1}", sql)
    return Statement(text, tuple(values[one - 1] for one in kept), tables)


class _Maker:
    """Puts statements together; aliases are numbered through the whole statement."""

    def __init__(self, speaker: Speaker, relations: Sequence[Relation]) -> None:
        self.speaker = speaker
        self.chance = speaker.chance
        # Reading a CSV file costs the most; as the target each kind comes equally often.
        self._company = [
            one for one in relations for _ in range(1 if one.kind == "csv" else 4)
        ]
        self.used: set[str] = set()
        self._number = 0

    def alias(self, letter: str) -> str:
        self._number += 1
        return f"{letter}{self._number}"

    def columns_of(self, alias: str, fields: Sequence[Field]) -> list[Column]:
        return [Column(f"{alias}.{one.name}", one) for one in fields]

    # -- sources ------------------------------------------------------------------------------

    def base(self, relation: Relation) -> tuple[str, list[Column]]:
        alias = self.alias("t")
        self.used.add(relation.name)
        return f"{relation.name} {alias}", self.columns_of(alias, relation.fields)

    def sources(self, target: Relation, clause: str) -> _Select:
        """FROM: the target, and now and then one or two more."""
        text, columns = self.base(target)
        made = _Select([], text, [], columns)
        count = self.chance.choice((0, 0, 0, 1, 1, 2)) if clause != "join" else 1
        for _ in range(count):
            self._join(made, target, self.speaker.risky(columns) if clause == "join" else "")
        if clause == "lateral":
            self._lateral(made, columns)
        return made

    def _join(self, made: _Select, target: Relation, risky: str) -> None:
        chance = self.chance
        other = chance.choice(self._company)
        text, columns = self.base(other)
        safe = target.large or other.large
        on = self._on(made.columns, columns, safe)
        if risky:
            on = f"{on} AND {risky}"
        word, condition = chance.choice(_JOINS), f" ON {on}"
        if not safe and not risky and chance.random() < 0.1:
            word, condition = "CROSS JOIN", ""
        elif not risky and chance.random() < 0.25:
            word, condition = self._special(made.columns, columns) or (word, condition)
        made.sources += f" {word} {text}{condition}"
        if word not in ("SEMI JOIN", "ANTI JOIN"):
            made.columns = [*made.columns, *columns]

    def _special(self, left: list[Column], right: list[Column]) -> tuple[str, str] | None:
        """Joins whose condition is not written out, and those that take the nearest row."""
        names = {one.field.name for one in right}
        shared = [one.field for one in left if one.field.name in names]
        if len(shared) != len({one.name for one in shared}) or "id" not in names:
            return None
        word = self.chance.choice(("", "LEFT "))
        key = next((one.ref for one in left if one.field.name == "id"), None)
        other = next(one.ref for one in right if one.field.name == "id")
        if key is not None and self.chance.random() < 0.4:
            return f"ASOF {word}JOIN", f" ON {key} {self.chance.choice(('>=', '<='))} {other}"
        kinds = {one.field.name: one.field.type for one in right}
        if self.chance.random() < 0.8 and all(one.type == kinds[one.name] for one in shared):
            return f"NATURAL {word}JOIN", ""
        return (f"{word}JOIN", " USING (id)") if key is not None else None

    def _on(self, left: list[Column], right: list[Column], keyed: bool) -> str:
        chance = self.chance
        pairs = [
            (a, b) for a in left for b in right
            if a.field.type == b.field.type and a.family in ("whole", "text", "day", "number")
        ]
        ids = [pair for pair in pairs if pair[0].field.name == pair[1].field.name == "id"]
        first, second = chance.choice(ids if keyed and ids else pairs or [(left[0], right[0])])
        made = f"{first.ref} = {second.ref}"
        if not keyed and chance.random() < 0.15:
            made = f"{first.ref} {chance.choice(('<', '>=', 'IS NOT DISTINCT FROM'))} {second.ref}"
        if chance.random() < 0.3:
            made += f" AND {self.speaker.predicate([*left, *right])}"
        return made

    def _lateral(self, made: _Select, columns: list[Column]) -> None:
        alias = self.alias("l")
        risky, whole = self.speaker.risky(columns), self.speaker.value(columns, "whole")
        inner = f"SELECT {risky} AS v, {whole} AS w"
        made.sources = f"{made.sources} CROSS JOIN LATERAL ({inner}) {alias}"
        fields = (Field("v", "BOOLEAN"), Field("w", "BIGINT"))
        made.columns = [*made.columns, *self.columns_of(alias, fields)]

    # -- one select ---------------------------------------------------------------------------

    def core(self, target: Relation, clause: str) -> _Select:
        """The select in which the risky expression stands."""
        chance, speaker = self.chance, self.speaker
        made = self.sources(target, clause)
        alias = made.columns[0].ref.split(".")[0]
        mine = [one for one in made.columns if one.ref.startswith(f"{alias}.")]
        if chance.random() < 0.5:
            made.where.append(speaker.predicate(made.columns))
        risky = speaker.risky(mine)
        grouped = clause in ("having", "filter", "group") or (
            clause not in ("window", "qualify", "order") and chance.random() < 0.2
        )
        if clause in ("where", "subquery", "set", "cte", "exists"):
            made.where.append(risky)
        if clause == "correlated":
            made.where.append(self._correlated(target, mine))
        if grouped:
            self._grouped(made, clause, risky)
        else:
            self._plain(made, clause, risky)
        return made

    def _plain(self, made: _Select, clause: str, risky: str) -> None:
        chance = self.chance
        for _ in range(chance.randint(1, 3)):
            self._output(made, chance.choice(("whole", "text", "number", "truth", "day", "other")))
        truth = Field(self.alias("k"), "BOOLEAN")
        if clause == "select":
            made.outputs.append((risky, truth))
        elif clause == "case":
            whole = self.speaker.value(made.columns, "whole")
            when = self.speaker.predicate(made.columns)
            value = f"CASE WHEN {when} THEN {risky} ELSE {whole} > 2 END"
            made.outputs.append((value, truth))
        elif clause == "window":
            made.outputs.append((self._window(made.columns, risky), Field(truth.name, "BIGINT")))
        elif clause == "qualify":
            made.qualify = f" QUALIFY {self._window(made.columns, risky)} < 4"
        elif clause == "order":
            self._ordered(made, risky)
            return
        made.distinct = not made.qualify and chance.random() < 0.15
        self._limited(made)

    def _output(self, made: _Select, family: str) -> None:
        column = self.speaker.pick(made.columns, family)
        if family == "other" and column is None:
            family = "whole"
        kind = {"whole": "BIGINT", "number": "DOUBLE", "text": "VARCHAR", "truth": "BOOLEAN",
                "day": "DATE"}.get(family, "")  # fmt: skip
        value = self.speaker.value(made.columns, family)
        field = Field(self.alias("k"), kind or (column.field.type if column else "VARCHAR"))
        made.outputs.append((value, field))

    def _window(self, columns: list[Column], risky: str) -> str:
        chance = self.chance
        over = f"PARTITION BY {risky}" if chance.random() < 0.5 else f"ORDER BY ({risky})"
        whole = self.speaker.value(columns, "whole")
        calls = ("count(*)", "rank()", f"max({whole})", f"sum({whole})", f"count({whole})")
        return f"{chance.choice(calls)} OVER ({over})"

    def _grouped(self, made: _Select, clause: str, risky: str) -> None:
        chance = self.chance
        keys = []
        for family in chance.sample(("text", "whole", "day", "truth"), chance.randint(0, 2)):
            column = self.speaker.pick(made.columns, family)
            if column is not None:
                keys.append(column.ref)
                made.outputs.append((column.ref, replace(column.field, name=self.alias("k"))))
        if clause in ("group", "select"):
            keys.append(f"({risky})")
            made.outputs.append((f"({risky})", Field(self.alias("k"), "BOOLEAN")))
        condition = f" FILTER (WHERE {risky})" if clause == "filter" else ""
        for _ in range(chance.randint(1, 2)):
            value, kind = self._aggregate(made.columns)
            made.outputs.append((f"{value}{condition}", Field(self.alias("k"), kind)))
        if keys:
            made.group = f" GROUP BY {self._sets(keys)}"
        if clause == "having":
            made.having = f" HAVING {self._having(made.columns, risky)}"
        self._limited(made)

    def _sets(self, keys: list[str]) -> str:
        """The keys, now and then in several sets."""
        listed = ", ".join(keys)
        if self.chance.random() < 0.85:
            return listed
        each = ", ".join(f"({one})" for one in keys)
        forms = (f"ROLLUP ({listed})", f"CUBE ({listed})", f"GROUPING SETS ({each}, ())")
        return self.chance.choice(forms)

    def _having(self, columns: list[Column], risky: str) -> str:
        column = self.speaker.pick(columns, "text")
        if column is not None and self.chance.random() < 0.4:
            return f"CAST(max({column.ref}) AS INTEGER) IS NOT NULL"
        if self.chance.random() < 0.5:
            return f"count(*) FILTER (WHERE {risky}) >= 0"
        return f"bool_or({risky}) IS NOT FALSE"

    def _aggregate(self, columns: list[Column]) -> tuple[str, str]:
        chance, speaker = self.chance, self.speaker
        whole, text = speaker.value(columns, "whole"), speaker.value(columns, "text")
        day = speaker.value(columns, "day")
        # A constant is no key to order by.
        by_text, by_whole = (f" ORDER BY {one}" if "." in one else "" for one in (text, whole))
        return chance.choice(
            (
                ("count(*)", "BIGINT"), (f"count({whole})", "BIGINT"),
                (f"count(DISTINCT {text})", "BIGINT"), (f"sum({whole})", "HUGEINT"),
                (f"min({text})", "VARCHAR"), (f"max({whole})", "BIGINT"), (f"max({day})", "DATE"),
                (f"avg({whole})", "DOUBLE"), (f"bool_or({speaker.predicate(columns)})", "BOOLEAN"),
                (f"string_agg({text}, ','{by_text})", "VARCHAR"),
                (f"median({whole})", "DOUBLE"), (f"sum(DISTINCT {whole})", "HUGEINT"),
                (f"list({whole}{by_whole})", "INTEGER[]"),
            )
        )  # fmt: skip

    def _correlated(self, target: Relation, mine: list[Column]) -> str:
        text, inner = self.base(target)
        outer = self.speaker.pick(mine, "whole") or mine[0]
        other = self.speaker.pick(inner, outer.family) or inner[0]
        risky = self.speaker.risky(inner)
        if self.chance.random() < 0.5 or target.large:
            return f"EXISTS (SELECT 1 FROM {text} WHERE {other.ref} = {outer.ref} AND {risky})"
        picked = self.speaker.value(inner, "whole")
        return (
            f"{self.speaker.value(mine, 'whole')} <= (SELECT max({picked}) FROM {text} "
            f"WHERE {other.ref} = {outer.ref} AND {risky})"
        )

    def _ordered(self, made: _Select, risky: str) -> None:
        """By the risky expression, then by every output: what ties cannot be told apart."""
        made.outputs = [one for one in made.outputs if one[1].type not in ("JSON",)] or [
            ("1", Field(self.alias("k"), "BIGINT"))
        ]
        made.outputs.append((risky, Field(self.alias("k"), "BOOLEAN")))
        keys = [str(len(made.outputs)), *map(str, range(1, len(made.outputs)))]
        ways = [f"{key}{self.chance.choice(('', ' DESC', ' NULLS FIRST'))}" for key in keys]
        made.tail = f" ORDER BY {', '.join(ways)}"
        if self.chance.random() < 0.7:
            made.tail += f" LIMIT {self.chance.randint(1, 5)}"

    def _limited(self, made: _Select) -> None:
        orderly = not any(one.type in _UNORDERED for _, one in made.outputs)
        if orderly and self.chance.random() < 0.25:
            keys = ", ".join(
                f"{place}{self.chance.choice(('', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST'))}"
                for place in range(1, len(made.outputs) + 1)
            )
            offset = self.chance.choice(("", "", f" OFFSET {self.chance.randint(0, 3)}"))
            made.tail = f" ORDER BY {keys} LIMIT {self.chance.randint(1, 6)}{offset}"

    # -- around it ----------------------------------------------------------------------------

    def wrapped(self, core: _Select, clause: str) -> str:
        """The statement around the core."""
        chance = self.chance
        way = {"subquery": "in", "set": "set", "cte": "cte", "exists": "exists"}.get(clause)
        if way is None:
            way = chance.choice(("none",) * 8 + ("derived", "derived", "cte", "cte", "set", "deep"))
        text = core.text()
        fields = [one for _, one in core.outputs]
        match way:
            case "derived":
                return self._outer(f"({text})", fields)
            case "cte":
                name = self.alias("c")
                word = chance.choice(("", "", "MATERIALIZED ", "NOT MATERIALIZED "))
                return f"WITH {name} AS {word}({text}) {self._outer(name, fields)}"
            case "deep":
                return self._recursive(text, fields)
            case "set":
                word = chance.choice(("UNION ALL", "UNION", "EXCEPT", "INTERSECT", "EXCEPT ALL"))
                return f"({text}) {word} ({self._matching(fields)})"
            case "in" | "exists":
                return self._tested(text, fields[0], way)
            case _:
                return text

    def _recursive(self, text: str, fields: list[Field]) -> str:
        """A query over itself, three steps deep."""
        name, inner, step = self.alias("c"), self.alias("o"), self.alias("o")
        depth = Field("depth", "INTEGER")
        first = ", ".join(f"{inner}.{one.name} AS {one.name}" for one in fields)
        more = ", ".join(f"{step}.{one.name}" for one in fields)
        word = self.chance.choice(("UNION ALL", "UNION"))
        body = (
            f"SELECT {first}, 1 AS depth FROM ({text}) {inner} {word} "
            f"SELECT {more}, {step}.depth + 1 FROM {name} {step} WHERE {step}.depth < 3"
        )
        return f"WITH RECURSIVE {name} AS ({body}) {self._outer(name, [*fields, depth])}"

    def _outer(self, source: str, fields: list[Field]) -> str:
        alias = self.alias("o")
        made = _Select([], f"{source} {alias}", [], self.columns_of(alias, fields))
        if self.chance.random() < 0.4:
            made.where.append(self.speaker.predicate(made.columns))
        if self.chance.random() < 0.3:
            self._grouped(made, "", "")
        else:
            made.outputs = [(f"{alias}.{one.name}", one) for one in fields]
            self._limited(made)
        return made.text()

    def _matching(self, fields: list[Field]) -> str:
        """Another select whose outputs have the same types."""
        text, columns = self.base(self.chance.choice(self._company))
        outputs = []
        for one in fields:
            column = next((c for c in columns if c.field.type == one.type), None)
            value = column.ref if column else f"CAST(NULL AS {one.type})"
            outputs.append((value, one))
        made = _Select(outputs, text, [], columns)
        if self.chance.random() < 0.5:
            made.where.append(self.speaker.predicate(columns))
        return made.text()

    def _tested(self, text: str, first: Field, way: str) -> str:
        """The core as a sub-query of a condition over another table."""
        outer, columns = self.base(self.chance.choice(self._company))
        shown = f"{columns[0].ref} AS k0"
        if way == "exists":
            word = self.chance.choice(("EXISTS", "NOT EXISTS"))
            return f"SELECT {shown} FROM {outer} WHERE {word} ({text})"
        column = next((c for c in columns if c.field.type == first.type), columns[0])
        word = self.chance.choice(("IN", "IN", "NOT IN"))
        name = self.alias("s")
        cast = "" if column.field.type == first.type else f"::{column.field.type}"
        if cast and first.type not in ("BIGINT", "INTEGER", "SMALLINT", "BOOLEAN"):
            return f"SELECT {shown}, (SELECT count(*) FROM ({text}) {name}) AS k00 FROM {outer}"
        return (
            f"SELECT {shown} FROM {outer} WHERE {column.ref} {word} "
            f"(SELECT {name}.{first.name}{cast} FROM ({text}) {name})"
        )


_JOINS = ("JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN")
_UNORDERED = ("JSON", "INTERVAL", "DOUBLE", "FLOAT")
