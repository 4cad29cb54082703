"""The fenced blocks of a page, and the commands in them.

Takes: a page's text. Gives: blocks with their line; commands with words, text and target. Never
runs anything.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

_FENCE = re.compile(
    r"^```(?P<language>\w*)[^\n`]*\n(?P<text>.*?)^```$", flags=re.MULTILINE | re.DOTALL
)
_HEREDOC = re.compile(r"\s*<<'?(\w+)'?\s*$")
_SHELL = ("", "sh", "bash", "shell", "console")


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two fences."""

    language: str
    text: str
    line: int

    @property
    def is_shell(self) -> bool:
        """Whether a reader types it into a terminal."""
        return self.language in _SHELL


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its words, what it reads (a here-document), the file that takes its output."""

    words: tuple[str, ...]
    text: str = ""
    target: str = ""


def blocks(page: str) -> Iterator[Block]:
    """Every fenced block, in order."""
    for match in _FENCE.finditer(page):
        yield Block(match["language"], match["text"], page.count("\n", 0, match.start()) + 1)


def commands(text: str) -> Iterator[Command]:
    """The commands of a shell block: continued lines, comments, `&&`, `>` and here-documents."""
    lines = iter(text.replace("\\\n", " ").splitlines())
    for line in lines:
        end, held = _HEREDOC.search(line), ""
        if end is not None:
            held = "".join(f"{one}\n" for one in iter(lines.__next__, end[1]))
        words = shlex.split(line[: end and end.start()].removeprefix("$ "), comments=True)
        while words:
            cut = words.index("&&") if "&&" in words else len(words)
            one, words = words[:cut], words[cut + 1 :]
            target = one[one.index(">") + 1] if ">" in one else ""
            yield Command(tuple(one[: one.index(">")] if target else one), held, target)
