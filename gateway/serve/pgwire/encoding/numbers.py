"""Numbers as PostgreSQL writes them, in text and in binary.

Takes: Arrow columns. Gives: columns of bytes. Never walks over rows in Python, never rounds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.serve.pgwire.encoding.matrices import Field, integers

# From which power of ten on an exponent is written: by PostgreSQL, for either type, and by Arrow.
_DOUBLE_EXPONENT, _REAL_EXPONENT, _ARROW_EXPONENT = 15, 6, 10


Rules = tuple[tuple[str, str], ...]


def boolean_text(column: pa.Array) -> pa.Array:
    """`t` and `f`."""
    return pc.if_else(column, pa.scalar(b"t"), pa.scalar(b"f"))


def boolean_letters(column: pa.Array) -> Field:
    """The same of a column without NULLs."""
    return np.where(boolean_values(column), np.uint8(ord("t")), np.uint8(ord("f")))


def boolean_binary(column: pa.Array) -> pa.Array:
    """One byte."""
    return pc.if_else(column, pa.scalar(b"\x01"), pa.scalar(b"\x00"))


def boolean_values(column: pa.Array) -> Field:
    """The same of a column without NULLs."""
    return column.cast(pa.uint8()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]  # no types


def integer_text(column: pa.Array) -> pa.Array:
    """Digits."""
    return column.cast(pa.string()).cast(pa.binary())


def small_values(column: pa.Array) -> Field:
    """Two bytes."""
    return integers(column).astype(">i2")


def integer_values(column: pa.Array) -> Field:
    """Four bytes."""
    return integers(column).astype(">i4")


def big_values(column: pa.Array) -> Field:
    """Eight bytes."""
    return integers(column).astype(">i8")


def float_values(column: pa.Array) -> Field:
    """IEEE 754, as wide as the type."""
    filled = column.fill_null(0.0) if column.null_count else column
    values = filled.to_numpy(zero_copy_only=False)
    return values.astype(f">f{values.dtype.itemsize}")  # type: ignore[no-any-return]  # no types


def double_text(column: pa.Array) -> pa.Array:
    """The shortest text that reads back as the same value, in PostgreSQL's form."""
    return _float_text(column, _PLAIN)


def real_text(column: pa.Array) -> pa.Array:
    """The same for 32 bits."""
    return _float_text(column, _EXPONENTS)


def _float_text(column: pa.Array, larger: Mapping[int, Rules]) -> pa.Array:
    texts = column.cast(pa.string())
    sizes = np.abs(_floats(column))
    special = ~np.isfinite(sizes)
    if special.any():
        texts = _replaced(texts, special, (("nan", "NaN"), ("inf", "Infinity")))
        sizes[special] = 0
    # Arrow leaves a small number plain to the sixth place, PostgreSQL to the fourth.
    small = (sizes < 1e-4) & (sizes > 0)
    if small.any():
        texts = _replaced(
            texts,
            small,
            (
                (r"^(-?)0\.0{4}([1-9])(\d*)$", r"\1\2.\3e-05"),
                (r"^(-?)0\.0{5}([1-9])(\d*)$", r"\1\2.\3e-06"),
                (r"\.e", "e"),
                (r"e-(\d)$", r"e-0\1"),
            ),
        )
    largest = sizes.max(initial=0)
    for power, rules in larger.items():
        if largest < 10.0**power:
            break
        chosen = (sizes >= 10.0**power) & (sizes < 10.0 ** (power + 1))
        if chosen.any():
            texts = _replaced(texts, chosen, rules)
    return texts.cast(pa.binary())


def _plain_form(power: int) -> Rules:
    """From `d.ddde+NN` to plain digits."""
    return (
        (rf"^(-?\d)e\+{power}$", rf"\1.e+{power}"),
        (rf"^(-?\d)\.(\d*)e\+{power}$", rf"\1\2{'0' * power}#"),
        (rf"^(-?\d{{{power + 1}}})(\d*?)0*#$", r"\1.\2"),
        (r"\.$", ""),
    )


def _exponent_form(power: int) -> Rules:
    """From plain digits to `d.ddde+NN`."""
    return (
        (rf"^(-?\d)(\d{{{power}}})(?:\.(\d+))?$", rf"\1.\2\3e+0{power}"),
        (r"0+e", "e"),
        (r"\.e", "e"),
    )


_PLAIN = {power: _plain_form(power) for power in range(_ARROW_EXPONENT, _DOUBLE_EXPONENT)}
_EXPONENTS = {power: _exponent_form(power) for power in range(_REAL_EXPONENT, _ARROW_EXPONENT)}


def _floats(column: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    filled = column.fill_null(0.0) if column.null_count else column
    return filled.to_numpy(zero_copy_only=False).astype(np.float64)  # type: ignore[no-any-return]  # no types


def _replaced(
    texts: pa.Array,
    chosen: np.ndarray[tuple[int], np.dtype[np.bool_]],
    rules: Rules,
) -> pa.Array:
    """The texts, those chosen with each pattern replaced in turn."""
    mask = pa.array(chosen)
    part = texts.filter(mask)
    for pattern, replacement in rules:
        part = pc.replace_substring_regex(part, pattern, replacement)
    return pc.replace_with_mask(texts, mask, part)
