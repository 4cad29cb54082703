"""What the merge reads where it lies: whose keys are worth a reading, what becomes a table.

Takes: fragments with expected rows, prices. Gives: slots that are left, and verdicts.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from connectors.base import Fragment
from gateway.choosing import Prices
from gateway.draft import InPlaceForm, KeyedForm, KeySlot, PlannedFragment
from gateway.loading import leaves_little, sparing
from gateway.resolve import Address

NEAR = Prices(0.5, 1.5, 0.4)


def _fragment(name: str, rows: float, *providers: str) -> PlannedFragment:
    slots = tuple(
        KeySlot(one, "k", "k", "k", "", "", "BIGINT[]", 1 / 100_000) for one in providers
    )
    return PlannedFragment(
        name, "s", Fragment("SELECT 1", (), ()), "", (Address("d", "p", "t"),), (),
        keyed=KeyedForm(("SELECT 1 WHERE ", *slots), "$") if slots else None, rows=rows,
    )  # fmt: skip


@pytest.mark.parametrize(("rows", "kept"), [(800_000, ["small"]), (10_000_000, ["view", "small"])])
def test_a_large_view_is_read_for_its_keys_where_much_is_spared(
    rows: float, kept: list[str]
) -> None:
    """Nobody knows how many keys it has before it is read."""
    big = _fragment("big", rows, "view", "small")
    view = replace(_fragment("view", 6_000_000), in_place=InPlaceForm((), is_view=True))
    spared = sparing(view, big, NEAR)
    assert spared.keyed is not None
    assert [slot.provider for slot in spared.keyed.slots] == kept
    assert spared.keyed.pieces.count("TRUE") == 2 - len(kept)


@pytest.mark.parametrize(
    ("rows", "read", "wanted"),
    [(10_000, (230_000,), True), (10_000, (60_000, 60_000), True), (100_000, (230_000,), False),
     (600_000, (9e9,), False), (10, (), False)],
)  # fmt: skip
def test_a_block_over_files_that_leaves_little_is_kept(
    rows: float, read: tuple[float, ...], wanted: bool
) -> None:
    """So it runs while others are fetched; a table as it lies is never copied for that."""
    apart = tuple((Address("d", "p", "t"), each) for each in read)
    assert leaves_little(replace(_fragment("block", rows), apart=apart)) == wanted
