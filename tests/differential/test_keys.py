"""Keys sent wherever they could be: the same answer.

Takes: the corpus over the sample mesh, with a choice that takes every key that may be sent. Gives:
equality with plain DuckDB. A control shows that keys of another column would be noticed, and one
that keys were sent at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from gateway import loading
from gateway.choosing import Choice, Ended, Prices
from gateway.draft import KeySlot, PlannedFragment
from gateway.engines.duckdb import DuckdbSession
from gateway.loading import Narrowing
from tests.differential.compare import assert_same, is_ordered
from tests.differential.corpus import CASES, PURPOSES, Case
from tests.differential.passes.pairs import PAIRS, Pair
from tests.differential.test_differential import Reference
from tests.sample import SampleMesh

JOINS = [one for one in CASES if "join" in one.sql.lower() or " in (" in one.sql.lower()
         or "exists" in one.sql.lower()]  # fmt: skip
JOINED = (
    "select count(*) as n, max(f.distance) as s from network.reference.airlines a "
    "join operations.departures.flights f on f.carrier = a.carrier where a.name like 'United%'"
)


def always(
    one: PlannedFragment,
    fragments: Mapping[str, PlannedFragment],
    ended: Ended,
    prices: Mapping[str, Prices],
    most_keys: int | None,
) -> Choice:
    """All keys, values and first rows of those with a lesser name: nobody waits for himself."""
    slots = tuple(s for s in (one.keyed.slots if one.keyed else ()) if s.provider < one.name)
    given = one.keyed.values if one.keyed else ()
    values = tuple(s for s in given if max(s.providers) < one.name)
    late = one.keyed.late if one.keyed else None
    first = late if late is not None and max(late.providers) < one.name else None
    waits = {s.provider for s in slots} | {name for s in values for name in s.providers}
    waits |= set(first.providers) if first is not None else set()
    waits -= set(ended.rows)
    return Choice(
        frozenset(waits), slots, one.rows, 0.0, 0.0, values=values, first=first
    )


def always_ranges(
    one: PlannedFragment,
    fragments: Mapping[str, PlannedFragment],
    ended: Ended,
    prices: Mapping[str, Prices],
    most_keys: int | None,
) -> Choice:
    """The same, and of all keys that have an order only the lowest and the highest."""
    made = always(one, fragments, ended, prices, most_keys)
    return replace(made, ranges=frozenset(s for s in made.slots if s.range is not None))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often keys were fetched, by the fragment that they narrow."""
    told: Counter[str] = Counter()
    real = loading.with_keys_of
    place = loading.in_place_sql

    def counting(
        one: PlannedFragment, narrowing: Narrowing, session: DuckdbSession, most: int
    ) -> object:
        made = real(one, narrowing, session, most)
        told[one.source] += made is not None
        return made

    def counting_in_place(
        one: PlannedFragment, slots: tuple[KeySlot, ...] = ()
    ) -> str | None:
        told["in place"] += bool(slots)
        return place(one, slots)

    monkeypatch.setattr(loading, "choose", always)
    monkeypatch.setattr(loading, "with_keys_of", counting)
    monkeypatch.setattr(loading, "in_place_sql", counting_in_place)
    yield told


@pytest.mark.parametrize("case", JOINS[::3], ids=lambda one: f"{one.number}-{one.kind}")
def test_keys_change_no_answer(
    case: Case, sample: SampleMesh, reference: Reference, sent: Counter[str]
) -> None:
    _compare(case, sample, reference)


@pytest.mark.parametrize("case", JOINS[1::6], ids=lambda one: f"{one.number}-{one.kind}")
def test_ranges_of_keys_change_no_answer(
    case: Case, sample: SampleMesh, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "choose", always_ranges)
    monkeypatch.setattr(loading, "_NARROW", 1.0)
    _compare(case, sample, reference)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda one: f"{one.name}-{one.number}")
def test_keys_change_no_answer_of_what_passes_made(
    pair: Pair, sample: SampleMesh, reference: Reference, sent: Counter[str]
) -> None:
    """Also where blocks that are grouped or limited give keys, or could take them."""
    values = pair.values
    want = reference[pair.user].sql(pair.sql, params=list(values) or None).to_arrow_table()
    got = sample.ask(pair.user, pair.sql, purpose=PURPOSES.get(pair.user), parameters=values)
    assert_same(got, want, ordered=is_ordered(pair.sql))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_keys_change_no_answer_of_the_whole_corpus(
    sample: SampleMesh, reference: Reference, sent: Counter[str]
) -> None:
    for case in JOINS:
        _compare(case, sample, reference)
    # Several kinds of sources were narrowed, and files that the merge reads itself.
    assert len([name for name, times in sent.items() if times > 4]) >= 4, sent


def _compare(case: Case, sample: SampleMesh, reference: Reference) -> None:
    for user in case.users:
        want = reference[user].sql(case.sql, params=list(case.values) or None).to_arrow_table()
        got = sample.ask(user, case.sql, purpose=PURPOSES.get(user), parameters=case.values)
        assert_same(got, want, ordered=is_ordered(case.sql))


def test_fewer_rows_leave_a_source(sample: SampleMesh, sent: Counter[str]) -> None:
    result = sample.opened.gateway.answer(sample.request("nora", JOINED))
    with_keys = [batch.to_pylist() for batch in result.batches()], dict(result.fetched)
    assert sum(sent.values()) > 0
    whole = sample.opened.gateway.answer(sample.request("nora", JOINED, push_down=False))
    without = [batch.to_pylist() for batch in whole.batches()], dict(whole.fetched)
    assert with_keys[0] == without[0]
    assert sum(with_keys[1].values()) < sum(without[1].values())


def test_wrong_keys_would_be_noticed(
    sample: SampleMesh, sent: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: keys that miss some change the answer."""
    want = sample.ask("nora", JOINED, push_down=False)
    real = DuckdbSession.keys

    def halved(self: DuckdbSession, name: str, column: str, kind: str, most: int) -> object:
        made = real(self, name, column, kind, most)
        return made[: len(made) // 2] if made is not None else None

    monkeypatch.setattr(DuckdbSession, "keys", halved)
    assert sample.ask("nora", JOINED).to_pylist() != want.to_pylist()
