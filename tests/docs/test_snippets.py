"""Every snippet for a client is run by some test, or it stands here why none runs it.

tests/docs/test_typed.py runs shell and `python`; tests/clients/test_snippets.py, in environments of
its own, `ipython` and `py` of its pages; tests/clients/test_harlequin.py what Harlequin is told.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import pytest

from tests.clients import test_harlequin, test_snippets
from tests.docs.blocks import Block, blocks
from tests.docs.shell import ROOT

PAGES = {one.stem: one for one in sorted((ROOT / "docs" / "clients").glob("*.md"))}
# What a page says to whom it names: a client, and the page with its snippet.
CLIENTS: Mapping[str, tuple[str, str]] = {
    "JupySQL": ("notebooks", "ipython"), "marimo": ("notebooks", "py"),
    "pandas": ("dataframes", "python"), "polars": ("dataframes", "python"),
    "great expectations": ("tools", "py"), "harlequin": ("tools", "text"),
}  # fmt: skip
# By page and a word of the snippet: what runs the same, or why nothing does.
NOT_RUN: Mapping[tuple[str, str], str] = {
    ("postgres", "psql"): "tests/pgwire/test_psql.py runs its commands",
    ("tools", "profiles.yml"): "dbt brings a tree of packages; tried by hand, docs/verification.md",
    ("tools", "models/sources.yml"): "as above",
    ("tools", "configuration.yml"): "Soda pins old packages; tried by hand, docs/verification.md",
    ("tools", "pgcli"): "a terminal; tried by hand, docs/verification.md",
    ("tools", "harlequin"): "tests/clients/test_harlequin.py, by its adapters",
    ("tools", "require("): "node is not installed; tried by hand, docs/verification.md",
}


def of(page: str) -> list[Block]:
    return list(blocks(PAGES[page].read_text(encoding="utf-8")))


def is_run(page: str, block: Block) -> bool:
    """Whether one of the tests named above runs it."""
    if block.is_shell or block.language == "python":
        return True
    return block.language in ("ipython", "py") and page in test_snippets.PAGES


@pytest.mark.parametrize("page", PAGES)
def test_a_snippet_that_nothing_runs_has_its_reason(page: str) -> None:
    found = set()
    for block in of(page):
        if is_run(page, block):
            continue
        named = [key for key in NOT_RUN if key[0] == page and key[1] in block.text]
        assert named, f"{PAGES[page]}:{block.line} is run by no test"
        found.update(named)
    assert found == {key for key in NOT_RUN if key[0] == page}, "a reason without its snippet"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_has_its_snippet(client: str) -> None:
    page, language = CLIENTS[client]
    text = PAGES[page].read_text(encoding="utf-8")
    assert client in text
    assert any(one.language == language for one in of(page))


def test_harlequin_is_told_what_the_page_says() -> None:
    lines = [one.text for one in of("tools") if one.text.startswith("harlequin")]
    over_postgres, over_adbc = (shlex.split(one) for one in lines)
    assert over_postgres[:3] == ["harlequin", "-a", "postgres"]
    given = dict(zip(over_adbc[4::2], over_adbc[5::2], strict=True))
    assert given == {
        f"--{name.replace('_', '-')}": value for name, value in test_harlequin.OPTIONS.items()
    }
