"""Pushed down or pulled up: one answer, and it is plain DuckDB's.

Takes: arenas in which nothing is hidden, and those of the attack. Gives: a failure with the
smallest statement whose answers differ. The control declares an ability that a source does not
have, and the run finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from connectors.base import Abilities, load_abilities
from gateway import dialects, opening
from gateway.demo import mysql
from gateway.demo.postgres import Server
from gateway.probe.arenas import Arena, build_arena
from gateway.probe.plant import Ground
from gateway.probe.shapes import MARIADB
from tests.mysql import no_mysql
from tests.property.halves import SHORT
from tests.property.pushed import Asked, ask_both_ways, first_wrong, open_arena
from tests.property.runs import ground_of

OPEN, RULED = range(100, 107), range(107, 110)
EACH, LONG_EACH = 100, 125
PARTS, PER_PART = 10, 8
CONTROL, CONTROL_EACH = 103, 12


@pytest.fixture
def ground(tmp_path: Path, server: Server, mariadb: mysql.Server | None) -> Ground:
    """Empty databases and a folder."""
    return ground_of(tmp_path / "rows", server, "pushed", mariadb)


def test_mariadb_is_among_them(ground: Ground) -> None:
    """Else no table lies there: said aloud, and a failure where there must be one."""
    if ground.mariadb is None:
        no_mysql()
    kinds = [one.shape.kind for one in open_arena(OPEN[0], mariadb=True).tables]
    assert kinds.count(MARIADB) == 2
    seeds = range(SHORT)
    arenas = [build_arena(seed, mariadb=True) for seed in seeds]
    assert all(MARIADB in [one.shape.kind for one in arena.tables] for arena in arenas)


def _check(asked: Asked) -> None:
    assert asked.wrong == [], "\n".join(asked.wrong)
    assert asked.answered >= 0.7 * asked.asked, asked


@pytest.mark.timeout(600)
def test_nothing_hidden(ground: Ground) -> None:
    arenas = [open_arena(seed, bool(ground.mariadb)) for seed in OPEN]
    asked = ask_both_ways(arenas, EACH, ground)
    _check(asked)
    # What goes down whole is answered by the source's own meaning.
    assert asked.whole >= 0.2 * asked.asked, asked


@pytest.mark.timeout(600)
def test_under_policies(ground: Ground) -> None:
    arenas = [build_arena(seed, bool(ground.mariadb)) for seed in RULED]
    _check(ask_both_ways(arenas, EACH, ground))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(PARTS))
def test_many_more(part: int, ground: Ground) -> None:
    first, mariadb = 2000 + part * PER_PART, bool(ground.mariadb)
    arenas: Sequence[Arena] = [
        build_arena(seed, mariadb) if seed % 4 == 0 else open_arena(seed, mariadb)
        for seed in range(first, first + PER_PART)
    ]
    _check(ask_both_ways(arenas, LONG_EACH, ground))


def test_an_ability_that_is_none_is_found(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's LIKE looks at no case; where a text begins in another is asked in its place."""

    def with_like(kind: str) -> Abilities:
        found = load_abilities(kind)
        more = MappingProxyType({**found.functions, "Like": ("VARCHAR",)})
        return replace(found, functions=more) if kind == "sqlite" else found

    arena = open_arena(CONTROL)
    assert first_wrong(arena, "sqlite", CONTROL_EACH, tmp_path / "honest", server) == ""
    monkeypatch.setattr(opening, "load_abilities", with_like)
    monkeypatch.setattr(dialects, "as_position", lambda _: None)
    assert first_wrong(arena, "sqlite", CONTROL_EACH, tmp_path / "declared", server) != ""
