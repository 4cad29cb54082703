"""What a defect must get past: policy cases, cells, golden pairs, property seeds.

Takes: nothing but an open lot. Gives: the name of the first suite that notices something, or
None. Never keeps what an earlier gateway decided: caches are emptied first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from types import ModuleType

import pytest

from gateway import guard
from gateway.errors import SqluiceError
from gateway.probe.lots import Lot
from gateway.probe.triples import PER_ARENA, Tally, Triple, try_triple
from tests.golden.forms import Mesh
from tests.golden.test_golden import PAIRS, test_forms
from tests.guard import test_buckets, test_cells
from tests.plan import test_limit, test_safe
from tests.policies import test_conditions, test_sample, test_subjects

_TRIPLES = 400


class Battery:
    """The suites, ready to run again and again."""

    def __init__(self, lot: Lot) -> None:
        """Load what every run needs."""
        self._lot = lot
        self._mesh = Mesh()

    def noticed(self) -> str | None:
        """The first suite that fails, with what it said."""
        suites: dict[str, Callable[[], None]] = {
            # From milliseconds to seconds: most defects are noticed by the first.
            "policy cases": self._policy_cases,
            "subjects": lambda: _run(test_subjects),
            "safe predicates": lambda: _run(test_safe),
            "limits": lambda: _run(test_limit),
            "conditions": lambda: _run(test_conditions),
            "buckets": lambda: _run(test_buckets),
            "cells": lambda: _run(test_cells),
            "golden": self._golden,
            "property": self._property,
        }
        self._forget()
        for name, suite in suites.items():
            try:
                suite()
            # Whatever a defect raises, a test would have failed on it.
            except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001
                return f"{name}: {type(error).__name__}: {str(error)[:100]}"
        return None

    def _forget(self) -> None:
        self._mesh.snapshot.index.decisions.clear()
        self._lot.forget()
        guard._mask.cache_clear()
        guard._clear_column.cache_clear()

    def _policy_cases(self) -> None:
        for case in test_sample.CASES:
            test_sample.test_case(case, self._mesh.snapshot)

    def _golden(self) -> None:
        for pair in PAIRS:
            test_forms(pair, self._mesh)

    def _property(self) -> None:
        for arena in self._lot.arenas:
            tally = Tally()
            for number in range(min(PER_ARENA, _TRIPLES)):
                try:
                    try_triple(self._lot, arena, Triple(arena.seed, number), tally, small=False)
                except SqluiceError as error:
                    raise AssertionError(error.message) from error
                assert not tally.findings, tally.findings[0]


def _run(module: ModuleType) -> None:
    """The tests of a module that need no fixture, with all their parameters."""
    for name, function in sorted(vars(module).items()):
        if name.startswith("test_"):
            for values in _parameters(function):
                function(**values)


def _parameters(function: Callable[..., None]) -> Iterator[dict[str, object]]:
    marks = [one for one in getattr(function, "pytestmark", ()) if one.name == "parametrize"]
    names = set(function.__code__.co_varnames[: function.__code__.co_argcount])
    if not marks:
        return iter([{}] if not names else [])
    keys = marks[0].args[0]
    listed = [one.strip() for one in keys.split(",")] if isinstance(keys, str) else list(keys)
    if names != set(listed):
        return iter([])
    rows = (row if len(listed) > 1 else (row,) for row in marks[0].args[1])
    return (dict(zip(listed, row, strict=True)) for row in islice(rows, 500))
