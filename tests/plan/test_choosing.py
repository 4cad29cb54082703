"""Which fragments wait for which keys, and in what order they start.

Takes: fragments with expected rows, prices. Gives: choices and orders.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from connectors.base import Fragment
from gateway.choosing import IN_PLACE, Ended, Prices, choose, next_ones
from gateway.draft import InPlaceForm, KeyedForm, KeySlot, PlannedFragment
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
    began = time.perf_counter()
    choices = {
        name: choose(one, fragments, Ended(), dict.fromkeys(names, FAR), 100_000)
        for name, one in fragments.items()
    }
    assert next_ones(choices, frozenset())
    assert time.perf_counter() - began < 2


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
