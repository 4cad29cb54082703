"""Every effect of docs/policies.md, before and after, on the sample mesh.

Takes: the page's blocks: a policy, a query with who asks, the two answers. Gives: a failure where
an answer is another one. Never changes the sample mesh: each policy is compiled into a copy.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from gateway.errors import SqluiceError
from gateway.pipeline import Gateway
from gateway.publish import build_snapshot
from gateway.snapshot import Snapshot
from tests.sample import CONF, SampleMesh

PAGE = Path(__file__).resolve().parents[2] / "docs" / "policies.md"
_BLOCK = re.compile(
    r"```yaml policy\n(?P<policy>.*?)```\n+```sql as (?P<user>\w+)(?: for (?P<purpose>[\w-]+))?\n"
    r"(?P<sql>.*?)```\n+```text before\n(?P<before>.*?)```\n+```text after\n(?P<after>.*?)```",
    re.S,
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One effect as the page shows it."""

    policy: str
    user: str
    purpose: str | None
    sql: str
    before: str
    after: str


def effects() -> list[Shown]:
    """All effects of the page."""
    text = PAGE.read_text(encoding="utf-8")
    return [Shown(**found.groupdict()) for found in _BLOCK.finditer(text)]


def answer(sample: SampleMesh, snapshot: Snapshot, one: Shown) -> str:
    """The rows as the page writes them, or the error."""
    gateway = Gateway(lambda: snapshot, sample.opened.gateway._services)
    try:
        result = gateway.answer(sample.request(one.user, one.sql, purpose=one.purpose))
        rows = [row for batch in result.batches() for row in batch.to_pylist()]
    except SqluiceError as error:
        return f"{error.code}: {error.message}\n"
    lines = [result.schema.names]
    lines += [["NULL" if v is None else str(v) for v in row.values()] for row in rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    padded = ("  ".join(v.ljust(w) for v, w in zip(line, widths, strict=True)) for line in lines)
    return "".join(f"{line.rstrip()}\n" for line in padded)


def changed(folder: Path, one: Shown) -> Snapshot:
    """The sample mesh with the policy."""
    shutil.copytree(CONF, folder, dirs_exist_ok=True)
    policy = {"kind": "Policy", "id": "shown", **yaml.safe_load(one.policy)}
    (folder / "governance" / "policies" / "shown.yaml").write_text(yaml.safe_dump(policy))
    return build_snapshot(folder)


def test_all_blocks_are_read() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(effects()) == text.count("```yaml policy") >= 15
    kinds = {next(iter(yaml.safe_load(one.policy)["effect"])) for one in effects()}
    assert kinds == {"deny", "filter", "mask", "hide", "limit", "require"}


@pytest.mark.parametrize("one", effects(), ids=lambda one: one.policy.splitlines()[-1])
def test_before_and_after(sample: SampleMesh, tmp_path: Path, one: Shown) -> None:
    before = answer(sample, sample.opened.publisher.current(), one)
    assert before == one.before
    after = answer(sample, changed(tmp_path, one), one)
    assert after == one.after
    assert before != after
