"""Effects of a change against the rows that the changed policies really show."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.audit import AuditedQuery
from gateway.errors import SqluiceError
from gateway.policies.effects import effects
from gateway.policies.replay import audited_request, replay
from gateway.publish import build_snapshot
from gateway.request import Principal, Request
from gateway.snapshot import Snapshot
from tests.past.history import write_revision
from tests.policies.mesh import NOW, decide, rows_of, write_mesh

CASES = yaml.safe_load(Path(__file__).with_name("effects.yaml").read_text())
MESHES, PAIRS, SEED = 30, 400, 11
STATEMENTS = (
    "SELECT * FROM shop.orders ORDER BY id",
    "SELECT id, phone FROM shop.orders ORDER BY id",
    "SELECT region, amount FROM shop.orders ORDER BY id",
    "SELECT count(*) AS n FROM shop.orders",
)


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks what; the same of every mesh."""

    principal: Principal
    sql: str
    purpose: str | None

    def request(self) -> Request:
        """As a request."""
        return Request(
            sql=self.sql, principal=self.principal, now=NOW, query_id="q", purpose=self.purpose
        )

    def rows(self, snapshot: Snapshot) -> object:
        """The rows that are really shown, or the code."""
        one = self.principal
        who = {
            "user": one.user, "groups": one.groups, "attributes": one.attributes,
            "entitlements": one.entitlements,
        }  # fmt: skip
        try:
            _, guarded = decide(snapshot.index, {
                "as": who, "sql": self.sql, "purpose": self.purpose, "now": NOW.isoformat(),
            })  # fmt: skip
        except SqluiceError as error:
            return error.code
        return (guarded.outputs, rows_of(guarded))


def _effects(asking: Asking, before: Snapshot, after: Snapshot) -> set[tuple[str, str]]:
    values = asking.principal.entitlements
    found = [replay(asking.request(), each, values) for each in (before, after)]
    order = after.mesh.taxonomy.mask_order
    return {(one.kind, one.what) for one in effects(found[0], found[1], order)}


@pytest.mark.parametrize("case", CASES, ids=lambda one: one["name"])
def test_what_is_told(case: dict[str, Any], tmp_path: Path) -> None:
    meshes = [
        build_snapshot(write_mesh(tmp_path / key, case.get(key, {})))
        for key in ("before", "after")
    ]
    asking = Asking(
        Principal(case.get("user", "ada"), groups=frozenset(case.get("groups", ()))),
        case.get("sql", "SELECT * FROM shop.orders ORDER BY id"), case.get("purpose"),
    )  # fmt: skip
    found = _effects(asking, *meshes)
    assert found == {tuple(one.split(" ", maxsplit=1)) for one in case["expect"]}
    if not found:
        assert asking.rows(meshes[0]) == asking.rows(meshes[1])


def test_where_nothing_is_told_nothing_changes(tmp_path: Path) -> None:
    """By chance: no effect, no other row; only gains, no fewer rows; only losses, no more."""
    chance, meshes = random.Random(SEED), []
    for number in range(MESHES):
        write_revision(tmp_path / str(number), chance)
        meshes.append(build_snapshot(tmp_path / str(number)))
    told = Counter[str]()
    for _ in range(PAIRS):
        before, after = chance.sample(meshes, 2)
        asking = _asking(chance)
        kinds = {kind for kind, _ in _effects(asking, before, after)}
        was, now = asking.rows(before), asking.rows(after)
        if not kinds:
            assert was == now, (asking, was, now)
            told["nothing"] += 1
            told["rows"] += not isinstance(was, str)
        elif isinstance(was, tuple) and isinstance(now, tuple) and "count" not in asking.sql:
            if kinds == {"gains"}:
                assert len(was[1]) <= len(now[1]), (asking, was, now)
            if kinds <= {"loses", "masked"}:
                assert len(was[1]) >= len(now[1]), (asking, was, now)
            told["both"] += 1
        told["differs"] += was != now
        told["told"] += bool(kinds)
    assert told["nothing"] >= 40 and told["rows"] >= 10 and told["both"] >= 60, told
    # Control: most of what is told does show.
    assert told["differs"] >= 0.5 * told["told"], told


def _asking(chance: random.Random) -> Asking:
    principal = Principal(
        chance.choice(["ada", "bob", "olga"]),
        groups=frozenset(chance.choice([["staff"], ["others"], ["staff", "others"]])),
        attributes={"region": (chance.choice(["EU", "US"]),)},
        entitlements={"areas.region": (chance.choice(["EU", "US"]),)},
    )
    return Asking(principal, chance.choice(STATEMENTS), chance.choice([None, "billing"]))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM shop.orders WHERE region = ? LIMIT ?",
        "SELECT id FROM shop.orders WHERE placed > DATE ? OFFSET ?",
        "SELECT date_trunc(?, placed) FROM shop.orders WHERE email LIKE ?",
        "SELECT id + ? FROM shop.orders WHERE amount IN (?, ?)",
        "SELECT placed + INTERVAL ? FROM shop.orders",
    ],
)
def test_something_stands_in_for_what_was_redacted(sql: str) -> None:
    places = tuple(place for place, one in enumerate(sql) if one == "?")
    query = AuditedQuery(
        query_id="q", at=NOW.isoformat(), user="ada", endpoint="", purpose=None, statement=sql,
        products=(), policies=(), outcome="ok", code="", rows=None, bytes=None, seconds=None,
        redacted=places,
    )  # fmt: skip
    found = audited_request(query, Principal("ada"), NOW)
    assert found is not None and "?" not in found.sql
    whole = replace(query, statement="?", redacted=(0,))
    assert audited_request(whole, Principal("ada"), NOW) is None
