"""The differencing guard against what it has to be: 10,000 pairs of sets, none missed."""

from __future__ import annotations

import random

from gateway.differencing import AnsweredSet, bitmap, positions, reveals_few

PAIRS = 10_000


def few(one: set[int], other: set[int], entity_of: list[int], minimum: int) -> bool:
    """The definition, word for word."""
    differing = {entity_of[atom] for atom in one.symmetric_difference(other)}
    return 0 < len(differing) < minimum


def test_no_pair_is_missed_and_none_is_refused_in_vain() -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    refused = 0
    for number in range(PAIRS):
        atoms = chance.choice([1, 8, 40, 300])
        entities = max(1, atoms // chance.choice([1, 2, 5]))
        entity_of = [chance.randrange(entities) for _ in range(atoms)]
        minimum = chance.choice([2, 3, 5, 10])
        one = {atom for atom in range(atoms) if chance.random() < 0.6}
        other = set(one)
        for _ in range(chance.choice([0, 1, 2, 4, 12, 60])):
            other ^= {chance.randrange(atoms)}
        wanted = few(one, other, entity_of, minimum)
        found = reveals_few(
            AnsweredSet(bitmap(one), "d"), [AnsweredSet(bitmap(other), "d")], entity_of, minimum
        )
        assert found == wanted, f"seed {seed}, pair {number}"
        refused += found
    # The pairs are no list of easy ones.
    assert PAIRS // 10 < refused < PAIRS * 9 // 10


def test_any_answered_set_counts() -> None:
    entity_of = list(range(40))
    far = AnsweredSet(bitmap(range(20)), "d")
    near = AnsweredSet(bitmap(range(19)), "d")
    new = AnsweredSet(bitmap(range(17)), "d")
    assert not reveals_few(new, [far], entity_of, 3)
    assert reveals_few(new, [far, near], entity_of, 3)


def test_other_dimensions_are_compared_by_entities() -> None:
    """Atoms 0 to 9 and 10 to 19 are the same entities in two ways of telling them apart."""
    entity_of = [*range(10), *range(10)]
    one = AnsweredSet(bitmap(range(10)), "region")
    other = AnsweredSet(bitmap(range(10, 18)), "tier")
    assert reveals_few(other, [one], entity_of, 3)
    assert not reveals_few(AnsweredSet(bitmap(range(10, 20)), "tier"), [one], entity_of, 3)


def test_bitmaps_keep_positions() -> None:
    chosen = {0, 1, 7, 8, 63, 64, 1000}
    assert set(positions(bitmap(chosen))) == chosen
    assert list(positions(0)) == []
