"""The long tests are shared out by names that exist, the heaviest first."""

from __future__ import annotations

from pathlib import Path

from tests.sharing import APART, FIRST, LAST, place, scope

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
