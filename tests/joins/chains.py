"""Random chains of joins.

Takes: a seed. Gives: a statement over three to six tables of `places`, with joins of every kind in
any order, predicates on either side of ON, filters on sides that outer joins fill with NULL, USING
and NATURAL, and conditions over correlated sub-queries. Equal seeds give equal statements.
"""

from __future__ import annotations

from random import Random

from tests.joins.places import ADDRESSES

_WORDS = (
    "JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "RIGHT JOIN", "FULL JOIN",
    "FULL JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN", "CROSS JOIN",
)  # fmt: skip
_ALONE = (
    "{x}.v > 0", "{x}.v IS NULL", "{x}.k IN (1, 2, 3)", "{x}.s = 'a'", "{x}.k IS NOT NULL",
    "coalesce({x}.v, 0) = 0", "{x}.v <> 1", "NOT ({x}.k = 2)", "{x}.s IS DISTINCT FROM 'b'",
    "{x}.id % 2 = 0", "({x}.v > 1 OR {x}.s IS NULL)", "{x}.s LIKE 'a%'", "{x}.k > 1.5",
)  # fmt: skip
_PAIRS = (
    "{x}.k = {y}.k", "{x}.k = {y}.k", "{x}.k = {y}.k", "{x}.s = {y}.s", "{x}.v = {y}.k",
    "{x}.k = {y}.k AND {x}.s = {y}.s", "{x}.k IS NOT DISTINCT FROM {y}.k", "{x}.v < {y}.v",
    "{x}.k = {y}.k OR {x}.s = {y}.s", "{x}.k + 1 = {y}.k", "{y}.k = {x}.k AND {x}.v <> {y}.v",
    "{x}.k BETWEEN {y}.k AND {y}.v", "lower({x}.s) = {y}.s",
)  # fmt: skip
_INSIDE = (
    "EXISTS (SELECT 1 FROM {t} q WHERE q.k = {x}.k{more})",
    "NOT EXISTS (SELECT 1 FROM {t} q WHERE q.k = {x}.k{more})",
    "{x}.k IN (SELECT q.k FROM {t} q{only})",
    "{x}.k NOT IN (SELECT q.k FROM {t} q{only})",
    "{x}.k NOT IN (SELECT q.k FROM {t} q WHERE q.s = {x}.s)",
    "{x}.v >= (SELECT max(q.v) FROM {t} q WHERE q.k = {x}.k)",
    "{x}.v IN (SELECT q.v FROM {t} q WHERE q.k = {x}.k OR q.s = {x}.s)",
    "(SELECT count(*) FROM {t} q WHERE q.k = {x}.k{more}) < 2",
    "{x}.k = ANY (SELECT q.k FROM {t} q{only})",
    "{x}.k > ALL (SELECT q.k FROM {t} q WHERE q.k IS NOT NULL)",
)


def chain(seed: int) -> str:
    """The statement of a seed."""
    chance = Random(f"chain {seed}")
    made = _Chain(chance)
    for _ in range(chance.randint(2, 5)):
        made.join()
    return made.text()


class _Chain:
    """A statement under construction. `shown` are the aliases that can be read after all joins."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        # Few tables, so that the same comes twice and neighbours share a source.
        self.tables = chance.sample(ADDRESSES, 5)
        self.count = 1
        self.shown = ["t0"]
        self.merged = False
        self.body = f"{self.table()} t0"

    def table(self) -> str:
        return self.chance.choice(self.tables)

    def join(self) -> None:
        chance = self.chance
        alias, table = f"t{self.count}", self.table()
        self.count += 1
        word = chance.choice(_WORDS)
        if word == "CROSS JOIN":
            self.body += f" CROSS JOIN (SELECT * FROM {table} WHERE id < 4) {alias}"
        elif not self.merged and len(self.shown) == 1 and chance.random() < 0.3:
            self.merged = word not in ("SEMI JOIN", "ANTI JOIN")
            natural = chance.random() < 0.3
            self.body += (
                f" NATURAL {word} (SELECT k, s, v AS w, id AS i FROM {table}) {alias}"
                if natural and self.merged
                else f" {word} {table} {alias} USING (k)"
            )
            if natural and self.merged:
                return
        else:
            self.body += f" {word} {self.other(table)} {alias} ON {self.on(alias)}"
        if word not in ("SEMI JOIN", "ANTI JOIN"):
            self.shown.append(alias)

    def other(self, table: str) -> str:
        """The table, or what stands for it: filtered, grouped, distinct, two of them in one."""
        form = self.chance.choice(
            ("{t}",) * 6
            + (
                "(SELECT * FROM {t} WHERE v IS NOT NULL)",
                "(SELECT min(id) AS id, k, max(s) AS s, sum(v) AS v FROM {t} GROUP BY k)",
                "(SELECT DISTINCT 1 AS id, k, s, v FROM {t})",
                "(SELECT id, k, s, v FROM {t} UNION ALL SELECT id, k, s, v FROM {u})",
            )
        )
        return form.format(t=table, u=self.table())

    def on(self, alias: str) -> str:
        chance = self.chance
        left = chance.choice(self.shown)
        parts = [chance.choice(_PAIRS).format(x=left, y=alias)]
        for one in (left, alias, chance.choice(self.shown)):
            if chance.random() < 0.15:
                parts.append(chance.choice(_ALONE).format(x=one))
        if chance.random() < 0.03:
            parts.append(chance.choice(("TRUE", "FALSE", "NULL::BOOLEAN")))
        chance.shuffle(parts)
        return " AND ".join(f"({one})" for one in parts)

    def text(self) -> str:
        chance = self.chance
        where = []
        for _ in range(chance.choice((0, 0, 1, 1, 2))):
            form = chance.choice(_ALONE if chance.random() < 0.6 else _INSIDE)
            some, more = chance.choice(self.shown), chance.choice(("", " AND q.v > 0"))
            only = chance.choice(("", " WHERE q.k IS NOT NULL", " WHERE q.v > 0"))
            where.append(form.format(x=some, t=self.table(), more=more, only=only))
        tail = f" WHERE {' AND '.join(where)}" if where else ""
        ids = [f"{one}.id AS {one}_id" for one in self.shown]
        if chance.random() < 0.2:
            one = chance.choice(self.shown)
            return (
                f"SELECT {one}.s AS s, count(*) AS n, sum({self.shown[-1]}.v) AS v "
                f"FROM {self.body}{tail} GROUP BY {one}.s"
            )
        if chance.random() < 0.15:
            return (
                f"SELECT {', '.join(ids)} FROM {self.body}{tail} ORDER BY "
                f"{', '.join(str(one + 1) for one in range(len(ids)))} LIMIT {chance.randint(1, 9)}"
            )
        shown = [*ids, f"{self.shown[-1]}.k AS k", f"{self.shown[0]}.s AS s"]
        return f"SELECT {', '.join(shown)} FROM {self.body}{tail}"
