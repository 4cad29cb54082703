"""Statements made of joins, projections and what stands around them, each with each.

Takes: nothing. Gives: the same statements each time. Never says which of them are valid: some
name a column twice or none, and are to be refused.
"""

from __future__ import annotations

from collections.abc import Iterator

_SIDES = ("", "left ", "right ", "full ")
_FROMS = (
    *(f"t {side}join u using (id)" for side in _SIDES),
    *(f"t natural {side}join u" for side in _SIDES),
    *(f"t {side}join u on t.id = u.id" for side in _SIDES),
    *(f"t {side}join u using (id, a)" for side in _SIDES[1:]),
    *(f"t {one}join u using (id) {other}join w using (id)" for one in _SIDES for other in _SIDES),
    *(f"u natural {one}join w {other}join t using (id)" for one in _SIDES for other in _SIDES[2:]),
    *(f"t left join (u {side}join w using (id)) using (id)" for side in _SIDES),
    *(f"(t {side}join u using (id)), w" for side in _SIDES[2:]),
    "t, u join w using (id)",
    "t join u using (id), w",
    "t semi join u using (id)",
    "t anti join u using (id)",
    "t asof join u using (id)",
    "t positional join u",
    "t cross join u",
    "t join u using (a) join w using (c)",
    "t as q join u as v using (id)",
    "u as t(id, a) join t as u using (id)",
    "(select id, a from t) t join (select id, c from w) u using (id)",
    "s1.x join s2.x using (p)",
    "t, lateral (select u.id, u.c from u where u.id >= t.id) u",
    "t left join (select id, id + a as a from u) u on u.a > t.a",
    "ss, unnest(l) as u(id)",
)
_PROJECTIONS = (
    "*",
    "t.*",
    "t.*, u.*",
    "u.* exclude (id)",
    "* exclude (id)",
    "* exclude (t.id)",
    "* replace (-1 as id)",
    "* rename (id as key)",
    "columns('a|c')",
    "columns(* exclude (a))",
    "id",
    "t.id, u.id",
    "id + 1, -a",
    "t",
    "count(*), max(id)",
    "count(columns(*))",
    "id as a, a as b",
)
_AROUND = (
    "select {what} from {source}",
    "select * from (select {what} from {source}) q",
    "with k as (select {what} from {source}) select k.*, 1 as one from k",
    "select {what} from {source} where id > 1 order by all",
    "select {what} from {source} group by all",
    "select distinct {what} from {source} order by 1 desc nulls last",
    "select {what} from {source} union all by name select 7 as z, 8 as id",
    "select {what} from {source} except select {what} from {source} where a > 10",
    "select exists (select {what} from {source} where id = t2.id) as found from t t2",
    "select count(*) from (select {what} from {source}) q join w on q.id = w.id",
    "select id, (select max(id) from (select {what} from {source}) q where q.id <= w.id) from w",
)


def combinations() -> dict[str, list[str]]:
    """Per join its statements: every fourth projection; what stands around them goes round."""
    return {source: list(_over(number, source)) for number, source in enumerate(_FROMS)}


def _over(number: int, source: str) -> Iterator[str]:
    for position in range(number % 4, len(_PROJECTIONS), 4):
        around = _AROUND[(number * 3 + position) % len(_AROUND)]
        yield around.format(what=_PROJECTIONS[position], source=source)
