"""What docs/sql.md shows of EXPLAIN is what it says.

Takes: the page's blocks: a statement with who asks, and what is told. Gives: a failure where that
is otherwise.
"""

from __future__ import annotations

import re
from pathlib import Path

from sqluice.display import plan
from tests.sample import SampleMesh

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sql.md"
_EXPECTED = re.compile(r"[0-9.]+ ms|(?<=expected ms)( +)[0-9.]+")
# Whether a text is cast to be compared by its bytes depends on the server that was found.
_BY_BYTES = re.compile(r'\(CAST\(("\w+") AS TEXT\) COLLATE "C"\)')
_BLOCK = re.compile(
    r"```sql explain as (?P<user>\w+)\n(?P<sql>.*?)```\n+```text explained\n(?P<told>.*?)```", re.S
)


def test_the_page_shows_what_is_told(sample: SampleMesh) -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(page))
    assert len(found) == page.count("```sql explain") >= 1
    for one in found:
        rows = sample.ask(one["user"], f"EXPLAIN {one['sql']}").to_pylist()
        told = "\n".join(plan(tuple(row.values()) for row in rows)) + "\n"
        # Prices are learned: what runs took before moves the milliseconds.
        assert _comparable(told) == _comparable(one["told"])


def _comparable(told: str) -> str:
    return _BY_BYTES.sub(r"\1", _EXPECTED.sub("? ms", told))
