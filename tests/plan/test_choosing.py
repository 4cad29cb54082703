"""Which fragments wait for which keys, and in what order they start.

Takes: fragments with expected rows, prices. Gives: choices and orders.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from connectors.base import Fragment
from gateway.choosing import IN_PLACE, Ended, Prices, choose, next_ones, offers
from gateway.draft import InPlaceForm, KeyedForm, KeySlot, LateSlot, PlannedFragment, ValueSlot
from gateway.resolve import Address

NEAR = Prices(0.5, 1.5, 0.4)
FAR = NEAR.for_rows_of(0, "dear")


def _fragment(name: str, rows: float, *by: tuple[str, float]) -> PlannedFragment:
    slots = tuple(KeySlot(one, "k", "k", "k", "", "", "BIGINT[]", share) for one, share in by)
    return PlannedFragment(
        name, "s", Fragment("SELECT 1", (), ()), "", (Address("d", "p", "t"),), (),
        keyed=KeyedForm(("SELECT 1 WHERE ", *slots), "$") if slots else None, rows=rows,
    )  # fmt: skip


def _choice(
    rows: float, small: float, share: float, prices: Prices, counted: int | None = None
) -> tuple[set[str], int]:
    fragments = {
        "big": _fragment("big", rows, ("small", share)), "small": _fragment("small", small)
    }  # fmt: skip
    made = choose(
        fragments["big"],
        fragments,
        Ended({} if counted is None else {"small": counted}),
        {"big": prices, "small": prices},
        100_000,
    )
    return set(made.waits), len(made.slots)


@pytest.mark.parametrize(
    ("rows", "small", "share", "waits", "slots"),
    [
        (1_500_000, 30_000, 1 / 1_500_000, {"small"}, 1),  # a few percent
        (1_500_000, 1_400_000, 1 / 1_500_000, set(), 0),  # nearly all: and too many keys
        (1_500_000, 90_000, 1 / 100_000, set(), 0),  # nine tenths
        (100, 3, 1 / 100, set(), 0),  # not worth a wait
    ],
)
def test_keys_where_they_pay(
    rows: float, small: float, share: float, waits: set[str], slots: int
) -> None:
    assert _choice(rows, small, share, NEAR) == (waits, slots)


def test_what_was_counted_counts() -> None:
    assert _choice(1_000_000, 500, 1 / 1_000_000, NEAR, 99_999_999) == (set(), 0)
    assert _choice(1_000_000, 99_999_999, 1 / 1_000_000, NEAR, 500) == (set(), 1)


def test_dear_rows_are_narrowed_for_less() -> None:
    near = _choice(300_000, 100_000, 1 / 160_000, NEAR)
    far = _choice(300_000, 100_000, 1 / 160_000, FAR)
    assert (near, far) == ((set(), 0), ({"small"}, 1))


def test_a_chain_is_narrowed_from_its_small_end() -> None:
    fragments = {
        "a": _fragment("a", 10),
        "b": _fragment("b", 150_000, ("a", 1 / 25)),
        "c": _fragment("c", 1_500_000, ("b", 1 / 150_000)),
    }
    prices = dict.fromkeys(fragments, NEAR)
    choices = {
        name: choose(one, fragments, Ended(), prices, 100_000) for name, one in fragments.items()
    }
    assert {name: set(one.waits) for name, one in choices.items()} == {
        "a": set(), "b": {"a"}, "c": {"b"}
    }  # fmt: skip
    assert next_ones(choices, frozenset()) == ("a",)


@pytest.mark.parametrize(("few", "waits"), [(1_000, {"orders"}), (90_000, set())])
def test_a_wait_is_priced_by_what_the_provider_will_bring(few: float, waits: set[str]) -> None:
    """Orders are many, but a few keys of `few` leave a few of them."""
    fragments = {
        "few": _fragment("few", few),
        "orders": _fragment("orders", 150_000, ("few", 1 / 150_000), ("customers", 1 / 15_000)),
        "customers": _fragment("customers", 15_000, ("orders", 1 / 15_000)),
    }
    made = choose(
        fragments["customers"], fragments, Ended(), dict.fromkeys(fragments, FAR), 100_000
    )
    assert made.waits == waits


@pytest.mark.parametrize(("share", "slots"), [(1 / 1_000, 1), (1 / 30, 0)])
def test_what_is_read_in_place_waits_for_keys_that_leave_little(share: float, slots: int) -> None:
    """For nothing is lost: the merge begins when all have ended."""
    fragments = {
        "near": replace(
            _fragment("near", 600_000, ("few", share)), in_place=InPlaceForm((), is_view=True)
        ),
        "few": _fragment("few", 20),
    }
    prices = {"near": IN_PLACE, "few": Prices(60.0, 1.5, 0.4)}
    made = choose(fragments["near"], fragments, Ended(), prices, None)
    assert len(made.slots) == slots
    away = dict(fragments, near=replace(fragments["near"], in_place=None))
    assert not choose(away["near"], away, Ended(), prices, None).slots


def test_a_ring_of_waits_ends() -> None:
    """Each of eight could take keys of all others."""
    names = [f"f{number}" for number in range(8)]
    fragments = {
        one: _fragment(one, 100_000, *((other, 1 / 200_000) for other in names if other != one))
        for one in names
    }
    began = time.thread_time()
    choices = {
        name: choose(one, fragments, Ended(), dict.fromkeys(names, FAR), 100_000)
        for name, one in fragments.items()
    }
    assert next_ones(choices, frozenset())
    assert time.thread_time() - began < 10


def test_who_wait_for_each_other_do_not_wait_for_ever() -> None:
    fragments = {
        "a": _fragment("a", 900_000, ("b", 1 / 9_000_000)),
        "b": _fragment("b", 800_000, ("a", 1 / 9_000_000)),
    }
    prices = dict.fromkeys(fragments, NEAR)
    choices = {
        name: choose(one, fragments, Ended(), prices, 1_000_000) for name, one in fragments.items()
    }
    assert all(one.waits for one in choices.values())
    assert next_ones(choices, frozenset()) == ("b",)
    assert next_ones(choices, frozenset({"c"})) == ()


@pytest.mark.parametrize(("regions", "waits"), [(1, {"nations"}), (4, set())])
def test_a_small_provider_is_narrowed_for_those_who_take_its_keys(
    regions: float, waits: set[str]
) -> None:
    """It spares nothing at the nations themselves, and four fifths of the customers."""
    fragments = {
        "regions": _fragment("regions", regions),
        "nations": _fragment("nations", 25, ("regions", 1 / 5)),
        "customers": _fragment("customers", 150_000, ("nations", 1 / 25)),
    }
    prices = dict.fromkeys(fragments, NEAR)
    nations, customers = (
        choose(fragments[one], fragments, Ended(), prices, 100_000)
        for one in ("nations", "customers")
    )
    assert bool(nations.slots) is bool(waits)
    assert set(customers.waits) == waits
    alone = {name: one for name, one in fragments.items() if name != "customers"}
    assert not choose(fragments["nations"], alone, Ended(), prices, 100_000).slots


@pytest.mark.parametrize(("rows", "keys"), [(10, 10), (57_000, 43_447), (10**9, 100_000)])
def test_so_many_rows_have_fewer_keys(rows: float, keys: int) -> None:
    """Of 100,000 values those that are hit by chance, not as many as there are rows."""
    few = _fragment("few", rows)
    many = _fragment("many", 150_000, ("few", 1 / 150_000))
    assert many.keyed is not None
    slot = replace(many.keyed.slots[0], values=100_000.0)
    many = replace(many, keyed=KeyedForm(("SELECT 1 WHERE ", slot), "$"))
    (offer,) = offers(many, {"many": many, "few": few}, {"many": NEAR, "few": NEAR})
    assert round(offer.keys) == keys


def _bounded(rows: float, share: float, *providers: str) -> PlannedFragment:
    ends = (("(k >= ", ")"), ("(k <= ", ")"))
    slot = ValueSlot(providers, "SELECT 1", (), "k", "GT", "BIGINT", "BIGINT", *ends, share)
    form = KeyedForm(("SELECT 1 WHERE ", slot), "$")
    return replace(_fragment("big", rows), keyed=form)


@pytest.mark.parametrize(
    ("rows", "share", "read", "is_sent"),
    [
        (50_000, 0.5, 100_000.0, True),
        (50_000, 0.9, 100_000.0, False),  # nearly all
        (1_000, 0.5, 1_000_000.0, False),  # the source reads too long for it
        (100, 0.5, 0.0, False),  # too few to wait
    ],
)
def test_a_value_is_waited_for_where_that_pays(
    rows: float, share: float, read: float, is_sent: bool
) -> None:
    value = replace(_fragment("value", 1), apart=((Address("d", "p", "t"), read),))
    fragments = {"big": _bounded(rows, share, "value"), "value": value}
    prices = dict.fromkeys(fragments, NEAR)
    made = choose(fragments["big"], fragments, Ended(), prices, 100_000)
    assert (len(made.values), set(made.waits)) == (int(is_sent), {"value"} if is_sent else set())
    assert made.rows == (rows * share if is_sent else rows)
    if is_sent:
        after = choose(fragments["big"], fragments, Ended({"value": 1}), prices, 100_000)
        assert (after.values, after.waits) == (made.values, frozenset())


def test_who_waits_for_a_fragment_gives_it_no_value() -> None:
    """Also in a circle, which the least of them breaks."""
    big = _bounded(50_000, 0.5, "small")
    small = _fragment("small", 10_000, ("big", 1e-5))
    fragments = {"big": big, "small": small}
    prices = dict.fromkeys(fragments, NEAR)
    choices = {
        name: choose(one, fragments, Ended(), prices, 100_000) for name, one in fragments.items()
    }
    assert choices["big"].waits == {"small"}
    assert len(next_ones(choices, frozenset())) == 1


def test_what_the_merge_reads_itself_waits_for_no_value() -> None:
    big = replace(_bounded(500_000, 0.5, "value"), in_place=InPlaceForm((), is_view=True))
    fragments = {"big": big, "value": _fragment("value", 1)}
    assert not choose(big, fragments, Ended(), dict.fromkeys(fragments, NEAR), None).values


def test_keys_narrow_what_a_value_has_bounded() -> None:
    big = _bounded(500_000, 0.5, "value")
    assert big.keyed is not None
    slot = KeySlot("few", "k", "k", "k", "", "", "BIGINT[]", 1e-5)
    big = replace(big, keyed=KeyedForm((*big.keyed.pieces, " AND ", slot), "$"))
    fragments = {
        "big": big, "value": _fragment("value", 1), "few": _fragment("few", 1_000)
    }  # fmt: skip
    made = choose(big, fragments, Ended(), dict.fromkeys(fragments, NEAR), 100_000)
    assert made.waits == {"value", "few"}
    assert (len(made.values), len(made.slots)) == (1, 1)
    assert made.rows == 500_000 * 0.5 * 1_000 * 1e-5


@pytest.mark.parametrize(
    ("rows", "core", "read", "is_late"),
    [
        (150_000, 60_000, 150_000.0, True),
        (60, 60_000, 150_000.0, False),  # hardly more than the first rows
        (2_000, 10_000_000, 2_000.0, False),  # to find them takes too long
    ],
)
def test_the_first_rows_are_waited_for_where_that_pays(
    rows: float, core: float, read: float, is_late: bool
) -> None:
    slot = LateSlot(("core",), ("", ()), ("", ()), "r", "f", "k", "", "", "BIGINT[]", 50, read)
    wide = replace(_fragment("wide", rows), keyed=KeyedForm(("SELECT 1 WHERE ", slot), "$"))
    near = replace(_fragment("core", core), in_place=InPlaceForm((), is_view=True))
    fragments = {"wide": wide, "core": near}
    prices = {"wide": NEAR, "core": IN_PLACE}
    made = choose(wide, fragments, Ended(), prices, 100_000)
    assert (made.first is slot, set(made.waits)) == (is_late, {"core"} if is_late else set())
    assert made.rows == (50 if is_late else rows)
    # Who would wait for it gives it nothing.
    asking = replace(fragments["core"], keyed=KeyedForm(
        (KeySlot("wide", "k", "k", "k", "", "", "BIGINT[]", 1e-9),), "$"
    ), in_place=None, rows=1e7)  # fmt: skip
    late = choose(asking, {**fragments, "core": asking}, Ended(), {**prices, "core": NEAR}, 10**6)
    assert late.waits <= {"wide"}
