"""The docs speak of everything that there is, and of nothing else.

Takes: the lists in code (errors, commands, settings, abilities, dependencies, make targets) and the
pages. Gives: a failure for each word that a page lacks, and for each path that does not exist.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from connectors.base import Abilities
from gateway.sessions import SETTINGS
from sqluice.codes import CODES
from tests.reference import PAGE, commands, kinds, page

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "client" / "README.md"})
ROOMS = ("gateway", "connectors", "catalog", "client", "tests", "conf", "docs")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_PATH = re.compile(rf"`((?:{'|'.join(ROOMS)})/[\w./*-]*)`")
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]+)")


def requirements() -> set[str]:
    """Every package that one of the distributions asks for, by its plain name."""
    found: set[str] = set()
    for file in (ROOT / "pyproject.toml", ROOT / "client" / "pyproject.toml"):
        read = tomllib.loads(file.read_text(encoding="utf-8"))
        project = read["project"]
        extras = project.get("optional-dependencies", {}).values()
        asked = [*project["dependencies"], *read["build-system"]["requires"]]
        for one in [*asked, *(name for extra in extras for name in extra)]:
            match = _NAME.match(one)
            assert match is not None
            found.add(match.group().lower().replace("_", "-"))
    return found


def text(name: str) -> str:
    """A page below docs."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_the_reference_is_written_from_code() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.reference"


@pytest.mark.parametrize(
    "name",
    [*CODES, *SETTINGS, *(one.name for one in fields(Abilities) if one.name != "kind"), *kinds()],
)
def test_every_code_setting_and_ability_is_documented(name: str) -> None:
    assert name in text("reference.md")


def test_every_command_is_documented() -> None:
    held = text("reference.md")
    missing = [name for name, _ in commands() if f"### `{name}`" not in held]
    assert missing == []


def test_every_command_and_option_says_what_it_does() -> None:
    silent = [name for name, command in commands() if not command.help]
    assert silent == []


def test_dependencies() -> None:
    listed = {
        line.split("|")[1].strip().lower()
        for line in text("dependencies.md").splitlines()
        if line.startswith("| ") and not line.startswith("| package")
    }
    assert listed == requirements()


def test_the_words_of_the_design_are_in_the_glossary() -> None:
    held = text("glossary.md")
    words = "mesh revision domain source connector product contract principal purpose grant policy"
    for word in f"{words} decision guarded barrier fragment merge residual engine endpoint".split():
        assert f"| {word} |" in held


def test_every_make_target_is_documented() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):.*##", makefile, flags=re.MULTILINE)
    held = "".join(one.read_text(encoding="utf-8") for one in PAGES)
    assert [one for one in targets if f"make {one}" not in held and one != "help"] == []


@pytest.mark.parametrize("file", PAGES, ids=lambda one: str(one.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(file: Path) -> None:
    held = file.read_text(encoding="utf-8")
    broken = [one for one in _LINK.findall(held) if not (file.parent / one).exists()]
    broken += [one for one in _PATH.findall(held) if not list(ROOT.glob(one.rstrip("/")))]
    assert broken == []
