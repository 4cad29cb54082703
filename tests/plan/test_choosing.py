"""Which fragments wait for which keys, and in what order they start.

Takes: fragments with expected rows, prices. Gives: choices and orders.
"""

from __future__ import annotations

import pytest

from connectors.base import Fragment
from gateway.choosing import Ended, Prices, choose, next_ones
from gateway.draft import KeyedForm, KeySlot, PlannedFragment
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
