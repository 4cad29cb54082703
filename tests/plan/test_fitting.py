"""What statements took becomes prices.

Takes: samples as a source with known prices would make them, and odd ones among them. Gives: those
prices, about; and what nothing is known of as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from gateway.choosing import Prices
from gateway.fitting import Sample, fitted, rounded, smoothed, within

TRUE = Prices(statement=4.0, row=0.5, key=2.0, byte=0.05)
KNOWN = Prices(statement=1.0, row=1.5, key=0.4)


def _samples(callers: Sequence[str], count: int, seed: int = 1) -> list[Sample]:
    """Statements about one row, about many rows narrow and wide, about many keys."""
    chance, made = Random(seed), []
    for number in range(count):
        rows, width, keys = [(1, 8, 0), (20_000, 8, 0), (20_000, 200, 0), (500, 8, 5_000)][
            number % 4
        ]
        took = TRUE.of(rows, keys) + rows * width * TRUE.byte / 1000
        noise = chance.uniform(0.8, 1.25)
        made.append(Sample(callers[number % len(callers)], rows, rows * width, keys, took * noise))
    return made


def _about(found: Prices, wanted: Prices, times: float = 1.6) -> bool:
    pairs = zip(
        (found.statement, found.row, found.key, found.byte),
        (wanted.statement, wanted.row, wanted.key, wanted.byte), strict=True,
    )  # fmt: skip
    return all(want / times < got < want * times for got, want in pairs)


@pytest.mark.parametrize("seed", range(8))
def test_prices_are_found(seed: int) -> None:
    assert _about(fitted(_samples(["a", "b", "c"], 48, seed), KNOWN), TRUE)


def test_odd_statements_of_one_caller_change_little() -> None:
    """He asks as often as all others together, and each of his takes a minute."""
    usual = _samples(["a", "b", "c"], 24)
    odd = [Sample("odd", one.rows, one.bytes, one.keys, 60_000) for one in usual]
    assert _about(fitted(usual + odd, KNOWN), TRUE, 2)
    # The control: were they everybody's, they would count.
    assert not _about(fitted(odd, KNOWN), TRUE, 100)


def test_one_odd_statement_changes_nothing() -> None:
    usual = _samples(["a"], 24)
    assert _about(fitted([*usual, Sample("a", 20_000, 160_000, 0, 99_999)], KNOWN), TRUE, 2)


def test_what_is_not_told_stays() -> None:
    assert fitted([], KNOWN) == KNOWN
    few = [Sample("a", 1, 8, 0, 4.0), Sample("b", 1, 8, 0, 4.0)]
    assert fitted(few, KNOWN) == KNOWN
    found = fitted([*few, Sample("c", 1, 8, 0, 4.0)], KNOWN)
    assert (found.statement, found.row, found.key) == pytest.approx((4.0, 1.5, 0.4), rel=0.01)


def test_rows_of_one_width_leave_the_shares_as_they_were() -> None:
    """What a row costs in all is known, not how much of it is its bytes."""
    known = Prices(1.0, 1.0, 1.0, 0.1)
    found = fitted([Sample("a", 10_000, 100_000, 0, 41.0)] * 3, known)
    assert (found.row, found.byte) == pytest.approx((2.0, 0.2), rel=0.01)


@pytest.mark.parametrize("times", [0.0, 1e-9, 1e9])
def test_nothing_is_for_nothing_and_nothing_without_end(times: float) -> None:
    found = within(Prices(4.0 * times, 0.5 * times, 2.0 * times), KNOWN)
    assert 1 / 65 < found.statement / KNOWN.statement < 65
    assert 1 / 65 < found.row / KNOWN.row < 65
    assert 1 / 65 < found.key / KNOWN.key < 65


def test_what_is_in_force_stays_while_a_price_moves_about_it() -> None:
    held = rounded(Prices(1.1, 1.1, 1.1))
    assert held == Prices(1.0, 1.0, 1.0)
    assert rounded(Prices(1.6, 0.63, 1.4), held) == held
    assert rounded(Prices(1.8, 0.5, 1.4), held) == Prices(2.0, 0.5, 1.0)


def test_it_goes_half_way_each_time() -> None:
    assert smoothed(Prices(1, 1, 1), Prices(4, 16, 1)).row == pytest.approx(4)
