"""Chains of joins over several sources: one answer, pushed, pulled and by plain DuckDB.

Takes: written statements and generated ones. Gives: a failure with the statement where an answer
differs in a name, a type or a row; as the planner chooses, and with keys sent wherever they may be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway import loading
from gateway.demo.postgres import find_server
from gateway.draft import PlannedFragment
from gateway.engines.duckdb import DuckdbSession
from gateway.fetching import Narrowed
from gateway.loading import Narrowing
from tests.differential.compare import assert_same, is_ordered
from tests.differential.test_keys import always, always_ranges
from tests.joins.chains import chain
from tests.joins.places import Joined, open_joined
from tests.mysql import mysql_or_none, no_mysql

WRITTEN = tuple(
    line.removesuffix(";")
    for line in Path(__file__).with_name("written.sql").read_text(encoding="utf-8").splitlines()
    if line.endswith(";")
)
QUICK, PARTS, PER_PART = 60, 5, 200


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Joined]:
    folder = tmp_path_factory.mktemp("joins")
    with find_server(folder / "postgres") as server, mysql_or_none() as mariadb:
        with closing(open_joined(folder, server, mariadb)) as made:
            yield made
        server.discard()


def test_mariadb_is_among_them(joined: Joined) -> None:
    """Else SQLite stands there in its place: said aloud, and a failure where it must be there."""
    sources = joined.mesh.opened.publisher.current().mesh.sources
    if sources["shore.rows"].kind != "mysql":
        no_mysql()


def _check(sql: str, joined: Joined) -> int:
    """How many rows all of them gave."""
    pushed, pulled, want = joined.answers(sql)
    for got, way in ((pushed, "pushed"), (pulled, "pulled")):
        try:
            assert_same(got, want, is_ordered(sql))
        except AssertionError as error:
            error.add_note(f"{way}: {sql}")
            raise
    return int(want.num_rows)


def test_written_ones(joined: Joined) -> None:
    filled = sum(_check(sql, joined) > 0 for sql in WRITTEN)
    assert filled >= 0.8 * len(WRITTEN), filled


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Keys are sent wherever they may be; how often, by what they narrow."""
    told: Counter[str] = Counter()
    real = loading.with_keys_of

    def counting(
        one: PlannedFragment, narrowing: Narrowing, session: DuckdbSession, most: int
    ) -> object:
        made = real(one, narrowing, session, most)
        told[one.source] += made is not None
        return made

    monkeypatch.setattr(loading, "choose", always)
    monkeypatch.setattr(loading, "with_keys_of", counting)
    yield told


def test_written_ones_with_ranges(
    joined: Joined, keyed: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a range of keys may be sent it is, however little it leaves out."""
    monkeypatch.setattr(loading, "choose", always_ranges)
    monkeypatch.setattr(loading, "_NARROW", 1.0)
    ranges: list[int] = []
    real = loading.with_keys_of

    def counting(
        one: PlannedFragment, narrowing: Narrowing, session: DuckdbSession, most: int
    ) -> Narrowed | None:
        made = real(one, narrowing, session, most)
        ranges.append(made.ranges if made is not None else 0)
        return made

    monkeypatch.setattr(loading, "with_keys_of", counting)
    asked = WRITTEN[::2]
    for sql in asked:
        _check(sql, joined)
    assert sum(ranges) > len(asked) / 4, ranges


def test_written_ones_with_keys(joined: Joined, keyed: Counter[str]) -> None:
    for sql in WRITTEN:
        _check(sql, joined)
    told = [keyed[f"{domain}.rows"] for domain in ("north", "south", "east", "shore")]
    assert min(told) > 0, keyed


def test_generated_ones(joined: Joined) -> None:
    filled = sum(_check(chain(seed), joined) > 0 for seed in range(QUICK))
    assert filled >= QUICK // 2, filled


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_many_more(part: int, joined: Joined) -> None:
    for number in range(PER_PART):
        _check(chain(part * 10_000 + number), joined)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_many_more_with_keys(joined: Joined, keyed: Counter[str]) -> None:
    for number in range(PER_PART):
        _check(chain(90_000 + number), joined)
    assert keyed.total() > PER_PART // 4, keyed


@pytest.mark.parametrize("sql", [
    "select a.id x, b.id y from north.a a full join north.b b on a.k = b.k",
    "select k.id x, l.id y from shore.k k left join shore.l l on k.k = l.k and k.s = l.s",
])  # fmt: skip
def test_joins_go_down(sql: str, joined: Joined) -> None:
    """Two tables of one source that meet are one fragment: its own joins are compared too."""
    result = joined.mesh.start(sql)
    assert sum(batch.num_rows for batch in result.batches()) > 0
    assert len(result.fetched) == 1
