"""What was weighed for a fragment, and what became of it.

Takes: fragments with expected rows, notes and prices. Gives: questions with their options.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.alternatives import Option, Priced, Question, weigh
from gateway.choosing import Prices
from gateway.draft import InPlaceForm, Note, Plan, PlannedFragment
from gateway.links import LinkCosts
from gateway.resolve import Address
from tests.plan.test_choosing import _fragment

BIG = replace(_fragment("big", 1_000_000, ("small", 1 / 1_000_000)), source="far")
SMALL = replace(_fragment("small", 500), source="near")


def asked(
    *fragments: PlannedFragment, most: int = 100_000, link_cost: str = "cheap", places: bool = False
) -> dict[str, tuple[Question, ...]]:
    """The questions of each fragment."""
    priced = Priced(
        lambda source: Prices(statement=0.5, row=1.5, key=0.4),
        lambda source: most,
        lambda source: places,
        LinkCosts(link_cost),
    )
    plan = Plan(fragments, "SELECT 1", ("n",))
    return {name: one.questions for name, one in weigh(plan, priced).items()}


def test_keys_or_whole() -> None:
    found = asked(BIG, SMALL)
    (question,) = found["big"]
    keys, whole = question.options
    assert (question.about, keys.is_chosen, whole.is_chosen) == ("keys", True, False)
    assert (keys.what, keys.of) == ("k by keys of small.k", ("big", "small"))
    assert (keys.keys, keys.rows, whole.rows) == (500, 500, 1_000_000)
    assert keys.milliseconds is not None and whole.milliseconds is not None
    assert keys.milliseconds < whole.milliseconds
    assert found["small"] == ()


def test_too_many_keys_are_no_choice() -> None:
    (question,) = asked(BIG, SMALL, most=499)["big"]
    whole, keys = question.options
    assert (whole.what, whole.is_chosen, keys.reason) == ("whole", True, "too_many_keys")


def test_keys_that_stay() -> None:
    kept = replace(SMALL, notes=(Note("keys of a.b.c.d", "stayed", "keys_stay", "keys"),))
    (question,) = asked(kept)["small"]
    assert question.options[1] == Option("keys of a.b.c.d", False, reason="keys_stay")


@pytest.mark.parametrize("kind", ["block", "join", "aggregate", "limit"])
def test_down_or_up(kind: str) -> None:
    here = Address("d", "p", "t")
    apart = ((here, 900.0), (here, 1.0))
    went = replace(SMALL, notes=(Note("x", "pushed", "", kind),), apart=apart)
    (question,) = asked(went)["small"]
    down, up = question.options
    assert (down.what, down.is_chosen, down.rows) == ("at the source", True, 500)
    assert (up.what, up.is_chosen, up.rows) == ("in the merge", False, 901)
    stayed = replace(SMALL, notes=(Note("x", "stayed", "window", kind),))
    (question,) = asked(stayed)["small"]
    up, down = question.options
    assert (up.what, up.is_chosen, up.rows) == ("in the merge", True, 500)
    assert (down.what, down.is_chosen, down.rows, down.reason) == (
        "at the source", False, None, "window",
    )  # fmt: skip


def test_in_place_or_fetched() -> None:
    held = replace(SMALL, in_place=InPlaceForm(("SELECT 1",), True))
    (question,) = asked(held, places=True)["small"]
    near, fetched = question.options
    assert (near.what, near.is_chosen, fetched.what) == ("in place", True, "fetched")
    assert near.milliseconds is not None and fetched.milliseconds is not None
    assert near.milliseconds < fetched.milliseconds
    (question,) = asked(SMALL, places=True)["small"]
    assert [(one.what, one.reason) for one in question.options] == [
        ("fetched", ""), ("in place", "restricted"),
    ]  # fmt: skip


def test_dear_rows_cost_more() -> None:
    (cheap,), (dear,) = (asked(BIG, SMALL, link_cost=one)["big"] for one in ("cheap", "dear"))
    whole = [next(o for o in one.options if o.what == "whole") for one in (cheap, dear)]
    assert whole[0].milliseconds is not None and whole[1].milliseconds is not None
    assert whole[1].milliseconds > 15 * whole[0].milliseconds
