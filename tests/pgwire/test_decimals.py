"""Many decimals at once, beside a plain loop: what eight bytes hold is written in another way."""

from __future__ import annotations

import random
import struct
from decimal import Decimal, localcontext

import pyarrow as pa
import pytest

from gateway.serve.pgwire.encoding.decimals import decimal_binary, decimal_text

TYPES = [(9, 2), (15, 2), (18, 4), (18, 6), (18, 16), (18, 18), (5, 5), (4, 0), (38, 2), (38, 20)]


def values(precision: int, scale: int, digits: int) -> list[Decimal | None]:
    """Numbers of up to so many digits of either sign, zeros at either end, and NULLs."""
    chosen = random.Random(f"{precision} {scale} {digits}")
    made: list[Decimal | None] = [None, Decimal(0), Decimal(10 ** (digits - 1))]
    for _ in range(300):
        number = chosen.randrange(10 ** chosen.randint(1, digits))
        number *= chosen.choice((1, -1))
        number -= number % 10 ** chosen.randrange(digits)
        made.append(chosen.choice((None, *[Decimal(number)] * 9)))
    with localcontext(prec=60):
        return [None if one is None else one.scaleb(-scale) for one in made]


def numeric(value: Decimal, scale: int) -> bytes:
    """As PostgreSQL's documents say."""
    whole, _, behind = f"{value.copy_abs():f}".partition(".")
    groups = -(-len(whole) // 4)
    digits = whole.zfill(4 * groups) + behind.ljust(4 * -(-scale // 4), "0")
    found = [int(digits[at : at + 4]) for at in range(0, len(digits), 4)]
    weight = groups - 1
    while found and not found[0]:
        del found[0]
        weight -= 1
    while found and not found[-1]:
        del found[-1]
    sign = 0x4000 if value < 0 else 0
    head = (len(found), weight if found else 0, sign, scale)
    return struct.pack(f">hhHh{len(found)}h", *head, *found)


@pytest.mark.parametrize(("precision", "scale"), TYPES)
def test_decimals(precision: int, scale: int) -> None:
    for digits in {min(precision, most) for most in (3, 18, 19, 38)}:
        given = values(precision, scale, digits)
        column = pa.array([None, None, *given], pa.decimal128(precision, scale))[2:]
        written = [None if one is None else f"{one:f}".encode() for one in given]
        assert decimal_text(column).to_pylist() == written
        written = [None if one is None else numeric(one, scale) for one in given]
        assert decimal_binary(column).to_pylist() == written
    assert not len(decimal_binary(column[:0])) and not len(decimal_text(column[:0]))
    assert decimal_binary(pa.nulls(2, column.type)).null_count == 2
