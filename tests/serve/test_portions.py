"""Portions hold what they may by their bytes, however unlike the rows are."""

from __future__ import annotations

import pyarrow as pa
import pytest

from gateway.serve.portions import portions, size_of

MOST = 1_000


@pytest.mark.parametrize(
    "lengths",
    [[10] * 500, [900, 900, 900] + [1] * 200, [1] * 200 + [990] * 3, [5_000] + [1] * 9, [], [7]],
)
def test_no_portion_has_more_bytes(lengths: list[int]) -> None:
    batch = pa.record_batch({"x": ["y" * one for one in lengths]}, pa.schema([("x", pa.string())]))
    parts = list(portions(batch, MOST))
    assert [one for part in parts for one in part.column(0).to_pylist()] == batch[
        "x"
    ].to_pylist()
    assert all(size_of(one) <= MOST or one.num_rows == 1 for one in parts)
    # Not one message a row either.
    assert len(parts) <= 2 + 2 * sum(map(len, batch["x"].to_pylist())) // (MOST // 2) + len(
        [one for one in lengths if one > MOST // 2]
    ) * 12


def test_a_dictionary_counts_once() -> None:
    """Else each row of a column with a large one would be a message with all of it."""
    column = pa.DictionaryArray.from_arrays(
        pa.array([0, 1] * 100, pa.int32()), ["a" * 4_000, "b" * 4_000]
    )
    (part,) = portions(pa.record_batch({"x": column}), MOST)
    assert part.num_rows == 200
