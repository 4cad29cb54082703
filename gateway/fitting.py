"""What statements took becomes what a source charges.

Takes: samples of statements that a source ran, the prices believed so far. Gives: prices. Pure. One
odd statement changes nothing, nor does one caller with many of them: values are medians, first of
each caller's own, then over the callers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log, log2
from statistics import median, median_low

from gateway.choosing import Prices

# What counts as a statement alone, as one about its rows, as one about its keys.
_FEW_ROWS, _MANY_ROWS, _MANY_KEYS = 100, 2_000, 200
# So many samples say something.
_LEAST = 3
# Rows whose widths differ by so much tell bytes from rows.
_WIDTHS = 3.0
# A price moves at most so far from the one that it is measured against.
_FURTHEST = 64.0
# How far a price, as a power of two, has to move before another is in force.
_STICKY = 0.75


@dataclass(frozen=True, slots=True)
class Sample:
    """One statement that a source ran for a caller; milliseconds are those waited for it."""

    caller: str
    rows: int
    bytes: int
    keys: int
    milliseconds: float


def fitted(samples: Sequence[Sample], known: Prices) -> Prices:
    """The prices that explain the samples; what they do not tell stays as it was known."""
    statement = _statement(samples, known)
    row, byte = _per_row(samples, statement, known)
    key = _key(samples, Prices(statement, row, known.key, byte))
    return Prices(statement, row, key, byte)


def within(price: Prices, base: Prices) -> Prices:
    """No further from what a source is known to be than one can have changed."""
    pairs = zip(_each(price), _each(base), strict=True)
    return Prices(*(_near(one, held) for one, held in pairs))


def smoothed(before: Prices, now: Prices, weight: float = 0.5) -> Prices:
    """Between two prices, on a scale of ratios."""
    return Prices(*(_between(a, b, weight) for a, b in zip(_each(before), _each(now), strict=True)))


def rounded(price: Prices, before: Prices | None = None) -> Prices:
    """Powers of two; those in force stay while a price moves about them."""
    held = _each(before) if before is not None else (0.0,) * 4
    return Prices(*(_power(a, b) for a, b in zip(_each(price), held, strict=True)))


def _each(price: Prices) -> tuple[float, float, float, float]:
    return price.statement, price.row, price.key, price.byte


def _between(before: float, now: float, weight: float) -> float:
    if before <= 0 or now <= 0:
        return now
    return exp((1 - weight) * log(before) + weight * log(now))


def _power(value: float, before: float) -> float:
    if value <= 0:
        return 0.0
    if before > 0 and abs(log2(value) - log2(before)) < _STICKY:
        return before
    return float(2.0 ** round(log2(value)))


def _statement(samples: Sequence[Sample], known: Prices) -> float:
    found = _voted(
        (one.caller, one.milliseconds - one.rows * known.row / 1000)
        for one in samples
        if one.rows <= _FEW_ROWS and not one.keys
    )
    return known.statement if found is None else max(found, 0.0)


def _per_row(samples: Sequence[Sample], statement: float, known: Prices) -> tuple[float, float]:
    """Microseconds a row and a byte, by statements that were about their rows."""
    found = [
        (one.caller, max(one.milliseconds - statement, 0.0) * 1000 / one.rows, one.bytes / one.rows)
        for one in samples
        if one.rows >= _MANY_ROWS and not one.keys
    ]
    cost = _voted((caller, each) for caller, each, _ in found)
    if cost is None:
        return known.row, known.byte
    byte = _slope(found)
    if byte is not None:
        rest = _voted((caller, each - byte * width) for caller, each, width in found)
        return max(rest or 0.0, 0.0), byte
    # All rows are about as wide: what the two cost together is known, their shares stay.
    width = median(one for *_, one in found)
    together = known.row + known.byte * width
    share = known.row / together if together > 0 else 1.0
    return cost * share, cost * (1 - share) / width if width else 0.0


def _slope(points: Sequence[tuple[str, float, float]]) -> float | None:
    """Microseconds a byte; None where the rows of each caller are too much alike."""
    by_caller: dict[str, list[tuple[float, float]]] = {}
    for caller, cost, width in points:
        by_caller.setdefault(caller, []).append((width, cost))
    found = _voted(
        (caller, (above - below) / (wide - narrow))
        for caller, held in by_caller.items()
        for (narrow, below), (wide, above) in combinations(sorted(held), 2)
        if wide >= narrow * _WIDTHS
    )
    return None if found is None else max(found, 0.0)


def _key(samples: Sequence[Sample], others: Prices) -> float:
    """Microseconds a key, over what statement and rows cost."""
    found = _voted(
        (
            one.caller,
            (one.milliseconds - others.of(one.rows) - one.bytes * others.byte / 1000)
            * 1000
            / one.keys,
        )
        for one in samples
        if one.keys >= _MANY_KEYS
    )
    return others.key if found is None else max(found, 0.0)


def _voted(values: Iterable[tuple[str, float]]) -> float | None:
    """Each caller's median, and of those the middle one."""
    by_caller: dict[str, list[float]] = {}
    count = 0
    for caller, value in values:
        by_caller.setdefault(caller, []).append(value)
        count += 1
    if count < _LEAST:
        return None
    return median_low([median(held) for held in by_caller.values()])


def _near(value: float, base: float) -> float:
    """No nearer to nothing, and no further away, than a source can have changed."""
    if base <= 0:
        return max(value, 0.0)
    return min(max(value, base / _FURTHEST), base * _FURTHEST)
