"""YAML as the mesh reads it: no odd words, no objects, every value with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.documents import read_documents
from catalog.problems import Problems, nearest

CASES = yaml.safe_load((Path(__file__).parent / "documents.yaml").read_text(encoding="utf-8"))
TEXT = """\
# a comment
kind: Policy

match:
  tags: [pii.email,
         pii.name]
list:
  - name: first
    inner: {x: 1}
  - inner:
      y: >-
        long
  - - nested
"""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"])
def test_values(case: dict[str, Any]) -> None:
    problems = Problems()
    found = read_documents("a.yaml", case["text"], problems)
    told = [(str(one.place.line or ""), one.message) for one in problems.found]
    if "problem" in case:
        line, words = case["problem"]
        assert any(at == line and words in message for at, message in told), told
    else:
        assert not told
    if "value" in case:
        assert repr(found[0].content["a"]) == case["value"]
    else:
        assert not found


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        (("kind",), "a.yaml:2 kind"),
        ((), "a.yaml:2"),
        (("match", "tags"), "a.yaml:5 match.tags"),
        (("match", "tags", 1), "a.yaml:6 match.tags.1"),
        (("match", "tags", 7), "a.yaml:5 match.tags.7"),
        (("match", "columns"), "a.yaml:4 match.columns"),
        (("match", "columns", 3, "deeper"), "a.yaml:4 match.columns.3.deeper"),
        (("list", 0, "inner", "x"), "a.yaml:9 list.first.inner.x"),
        (("list", 1, "inner", "y"), "a.yaml:11 list.1.inner.y"),
        (("list", 2, 0), "a.yaml:13 list.2.0"),
        (("gone", "kind"), "a.yaml:2 gone.kind"),
    ],
)
def test_places(path: tuple[str | int, ...], shown: str) -> None:
    """A value's line is that of its key; a missing one has that of what it should stand in."""
    problems = Problems()
    (document,) = read_documents("a.yaml", TEXT, problems)
    assert str(document.place(*path)) == shown


def test_several_documents() -> None:
    problems = Problems()
    found = read_documents("a.yaml", "a: 1\n---\n# nothing\n---\nb: 2\n...\n", problems)
    assert [dict(one.content) for one in found] == [{"a": 1}, {"b": 2}]
    assert found[1].place("b").line == 5
    assert not len(problems)


@pytest.mark.parametrize("depth", [70, 990, 100_000])
def test_depth_is_bounded(depth: int) -> None:
    problems = Problems()
    read_documents("a.yaml", "a: " + "[" * depth + "]" * depth, problems)
    assert [one.code for one in problems.found] == ["invalid_yaml"]


def test_repeated_anchors_do_not_multiply() -> None:
    """Ten levels of ten references would be ten thousand million values."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    problems = Problems()
    read_documents("a.yaml", "\n".join(lines), problems)
    assert {one.message for one in problems.found} == {"repeats an anchor"}


def test_a_long_number_is_text() -> None:
    (document,) = read_documents("a.yaml", f"a: {'9' * 5_000}", Problems())
    assert isinstance(document.content["a"], str)


def test_near_words() -> None:
    assert nearest("clasification", ["classification", "tags"]) == "did you mean classification?"
    assert nearest("zzz", ["b", "a"]) == "known: a, b"
    assert nearest("zzz", []) == ""
    assert nearest("zzz", map(str, range(50))) == ""
