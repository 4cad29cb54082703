"""Every command and every snippet of the pages, in order, against the sample mesh."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.child import running
from gateway.demo.display import Display
from gateway.demo.questions import FIVE_SOURCES, PERSONAL, over_flight, over_http, plan
from tests.docs.blocks import blocks, commands
from tests.docs.shell import ROOT, Terminal
from tests.sample import CONF, SampleMesh

PAGES: tuple[str, ...] = ("README.md", "CONTRIBUTING.md", "client/README.md")
PAGES += tuple(
    str(one.relative_to(ROOT))
    for folder in (ROOT / "docs", ROOT / "docs" / "clients")
    for one in sorted(folder.glob("*.md"))
)
# Its commands probe every source of the mesh: half a minute.
LONG = frozenset({"docs/certify.md"})


@pytest.fixture(scope="module")
def terminal(
    sample: SampleMesh, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Terminal]:
    """A folder like a checkout in which `make serve` runs."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(CONF, folder / "conf")
    (folder / ".state").mkdir()
    (folder / ".state" / "demo").symlink_to(sample.data)
    free = ("--http-port", "0", "--flight-port", "0", "--pgwire-port", "0")
    log = (folder / "gateway.log").open("w", encoding="utf-8")
    with log, running(folder / "conf", sample.data, *free, log=log) as gateway:
        yield Terminal(folder.resolve(), gateway)


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=pytest.mark.long) if one in LONG else one for one in PAGES],
)
def test_a_page_is_typed(
    name: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(terminal.folder)
    printed = ""
    for block in blocks((ROOT / name).read_text(encoding="utf-8")):
        if block.is_shell:
            printed += "".join(terminal.run(block))
        elif block.language == "python":
            text = terminal.here(block.text).replace('"..."', '"nora-demo"')
            exec(compile(text, f"{name}:{block.line}", "exec"), {})  # it is our own page
    if name == "README.md":
        assert_the_product_is_served(printed)


def assert_the_product_is_served(printed: str) -> None:
    """The product of the reader's own: with its rows, masked, and the reasons named."""
    assert "files and sources are fine: 2 domains, 2 products" in printed
    (row,) = re.findall(r".*2026-03-02.*", printed)
    assert row.split()[-2:] == ["**********0101", "12.5"]
    assert "amina" not in printed
    for policy in ("shop.staff-orders", "governance.pii-email", "shop.phones"):
        assert policy in printed


def test_what_the_demo_asks(
    terminal: Terminal, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    gateway, display = terminal.gateway, Display()
    kinds = {"loyalty": "postgres", "weather": "files", "fleet": "sqlite"}
    kinds |= {"operations": "postgres", "network": "duckdb"}
    display.sources(kinds)
    display.question(1, "Flight", FIVE_SOURCES)
    answers = list(over_flight(gateway.flight))
    display.answers(1, answers)
    display.question(2, "HTTP", PERSONAL)
    display.answers(2, over_http(gateway.http))
    display.plan(plan(gateway.flight), kinds)
    display.seconds(build=1.0, ask=2.0)
    shown = capsys.readouterr().out
    for word in (
        "mara", "petra", "carl", "some rows of loyalty.trips.trips", "operations.own-carrier",
        "no policy restricts this answer", "unknown_table", "loyalty.crm, PostgreSQL",
        "fleet.registry, SQLite", "merge at gateway", "build 1.0 s, ask 2.0 s",
    ):  # fmt: skip
        assert word in shown, shown
    quiet = Display(as_json=True)
    quiet.answers(1, answers)
    assert [len(one.rows) for one in answers] == [4, 4, 1]
    assert answers[0].rows != answers[1].rows
    assert capsys.readouterr().out == ""


def test_blocks_and_commands_are_read() -> None:
    page = "a\n```\nx 'b c' && y \\\n  z # no\ncat > f <<'END'\n1 && 2\nEND\n```\n```sql\n1\n```\n"
    shell, sql = blocks(page)
    assert (shell.is_shell, shell.line, sql.is_shell, sql.text) == (True, 2, False, "1\n")
    read = list(commands(shell.text))
    assert [one.words for one in read] == [("x", "b c"), ("y", "z"), ("cat",)]
    assert (read[2].target, read[2].text) == ("f", "1 && 2\n")


def test_the_readme_has_what_a_newcomer_types() -> None:
    held = "".join(one.text for one in blocks(Path(ROOT / "README.md").read_text(encoding="utf-8")))
    for word in ("make demo", "make serve", "curl ", "flight_sql.connect", "sqluice.connect",
                 "init mesh", "check --conf mesh --live", "flowchart"):  # fmt: skip
        assert word in held
