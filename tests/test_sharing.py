"""The long tests are shared out by names that exist, the heaviest first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.sharing import (
    APART,
    FIRST,
    LAST,
    LONG,
    place,
    pytest_collection_modifyitems,
    pytest_ignore_collect,
    scope,
)

ROOT = Path(__file__).resolve().parents[1]


def test_every_name_is_there() -> None:
    """A file that was moved would lose its place without a word."""
    for name in (*APART, *FIRST, *LAST):
        assert (ROOT / name).is_dir() == name.endswith("/") and (ROOT / name).exists(), name
    assert not set(FIRST) & set(LAST)


def test_the_heaviest_come_first_and_what_fills_up_last() -> None:
    files = [LAST[0], "tests/http/test_any.py", FIRST[-1], FIRST[0], LAST[-1]]
    assert sorted(files, key=place) == [
        FIRST[0], FIRST[-1], "tests/http/test_any.py", LAST[0], LAST[-1],
    ]  # fmt: skip


def test_a_file_stays_together_and_the_tests_of_the_largest_do_not() -> None:
    one, other = (f"tests/objects/test_objects.py::test_it[{name}]" for name in ("a::b", "c"))
    assert scope(one) == scope(other) == "tests/objects/test_objects.py"
    for file in (*LAST, FIRST[0]):
        assert scope(f"{file}::test_it[a]") == f"{file}::test_it[a]"


class _Config:
    """A run, long or short."""

    def __init__(self, is_long: bool) -> None:
        self._is_long = is_long

    def getoption(self, name: str) -> bool:
        assert name == "heaviest_first"
        return self._is_long


def test_a_file_without_long_tests_is_not_read_and_none_hides(tmp_path: Path) -> None:
    """What the long run does not look into has no long test: the short run says so aloud."""
    quick, slow = tmp_path / "test_quick.py", tmp_path / "test_slow.py"
    quick.write_text("", encoding="utf-8")
    slow.write_text(f"pytestmark = pytest.{LONG}", encoding="utf-8")
    long, short = (cast(pytest.Config, _Config(one)) for one in (True, False))
    assert pytest_ignore_collect(quick, long) is True
    for path, config in ((slow, long), (tmp_path / "conftest.py", long), (quick, short)):
        assert pytest_ignore_collect(path, config) is None
    items = [
        cast(Any, SimpleNamespace(path=one, get_closest_marker=lambda name: name))
        for one in (slow, quick)
    ]
    pytest_collection_modifyitems(short, items[:1])
    with pytest.raises(pytest.UsageError, match=r"test_quick\.py"):
        pytest_collection_modifyitems(short, items)
