"""Random statements of which only the set of some rows counts.

Takes: a seed. Gives: a statement around a chain of joins: DISTINCT, aggregates that do not count,
IN, EXISTS, set operations; and some that do count, whose rows must all come. Equal seeds give equal
statements.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from random import Random

from tests.joins.chains import chain

_PLAIN = (
    "SELECT DISTINCT {y}.k, reverse({x}.s) AS s FROM {body}",
    "SELECT DISTINCT {x}.s FROM {body} ORDER BY {x}.s LIMIT 3",
    "SELECT DISTINCT reverse({x}.s) AS s, {y}.v FROM {body}",
    "SELECT {x}.s, count(DISTINCT {y}.k) AS n, max({y}.v) AS v FROM {body} GROUP BY {x}.s",
    "SELECT count(DISTINCT {y}.s) AS n, min({x}.k) AS k FROM {body}",
    "SELECT {x}.s FROM {body} GROUP BY {x}.s",
    "SELECT {x}.s, count(*) AS n, max({y}.v) AS v FROM {body} GROUP BY {x}.s",
    "SELECT DISTINCT count(*) AS n FROM {body} GROUP BY {x}.s",
    "SELECT DISTINCT z.s FROM (SELECT {x}.s, {y}.v FROM {body}) z WHERE z.v > 0",
    "SELECT DISTINCT z.n FROM (SELECT count(*) AS n FROM {body} GROUP BY {x}.k) z",
    "SELECT t.id FROM {t} t WHERE t.k IN (SELECT {y}.k FROM {body})",
    "SELECT t.id FROM {t} t WHERE t.v NOT IN (SELECT {y}.v FROM {body})",
    "SELECT t.id FROM {t} t WHERE EXISTS (SELECT 1 FROM {body} WHERE {y}.s = t.s)",
    "SELECT t.id FROM {t} t WHERE (SELECT count({y}.k) FROM {body}) > t.v",
    "SELECT {x}.s FROM {body} UNION SELECT s FROM {t}",
    "SELECT {x}.s FROM {body} UNION ALL SELECT s FROM {t}",
    "SELECT {x}.k, {x}.s FROM {body} EXCEPT SELECT k, s FROM {t}",
    "SELECT {x}.v FROM {body} INTERSECT SELECT v FROM {t}",
    "SELECT {x}.v FROM {body} EXCEPT ALL SELECT v FROM {t}",
    "SELECT DISTINCT z.v FROM (SELECT {x}.v FROM {body} UNION ALL SELECT v FROM {t}) z",
    "SELECT count(*) AS n FROM (SELECT {x}.v FROM {body} UNION ALL SELECT v FROM {t}) z",
    "SELECT DISTINCT {x}.s, row_number() OVER (ORDER BY {x}.id, {y}.id) AS n FROM {body}",
)
_WORDS = ("JOIN", "JOIN", "LEFT JOIN", "FULL JOIN")
_ON = ("{x}.k = {y}.k", "{x}.s = {y}.s", "{x}.v = {y}.v AND {x}.k = {y}.k", "{x}.v < {y}.v")


def as_a_set(seed: int, addresses: Sequence[str]) -> str:
    """The statement of a seed."""
    chance = Random(f"set {seed}")
    if chance.random() < 0.3:
        return _around_a_chain(seed, chance)
    body, names = f"{chance.choice(addresses)} t0", ["t0"]
    for number in range(1, chance.choice((1, 2, 2, 3))):
        name = f"t{number}"
        on = chance.choice(_ON).format(x=chance.choice(names), y=name)
        body += f" {chance.choice(_WORDS)} {chance.choice(addresses)} {name} ON {on}"
        names.append(name)
    form = chance.choice(_PLAIN)
    return form.format(
        x=chance.choice(names), y=chance.choice(names), body=body, t=chance.choice(addresses)
    )


def _around_a_chain(seed: int, chance: Random) -> str:
    inner = next(
        one
        for one in (chain(number) for number in count(seed))
        if " AS s" in one and " LIMIT " not in one
    )
    outer = chance.choice(
        (
            "SELECT DISTINCT x.s FROM ({inner}) x",
            "SELECT count(DISTINCT x.s) AS n, max(x.s) AS m FROM ({inner}) x",
            "SELECT x.s, count(*) AS n FROM ({inner}) x GROUP BY x.s",
        )
    )
    return outer.format(inner=inner)
