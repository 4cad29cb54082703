"""A reader's terminal, without its waiting.

Takes: commands as the pages have them. Gives: what they print; fails where one fails. Never starts
what does not end by itself: such a command is checked for its options alone.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from click import Context
from click.testing import CliRunner

from gateway.demo.child import Gateway
from sqluice.command import main
from tests.docs.blocks import Block, Command, commands

ROOT = Path(__file__).resolve().parents[2]
TARGETS = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
ENDLESS = ("serve", "demo")
# What ends with 1 where it finds something, which is no failure.
FINDS = (("policy", "simulate"),)
# What a reader does once, before there is anything to run.
BEFORE = ("git", "cd", "pip", "pre-commit", "python", "python3")


@dataclass(frozen=True, slots=True)
class Terminal:
    """A folder to type in, and the gateway that listens where the pages say 7051 and 7080."""

    folder: Path
    gateway: Gateway

    def run(self, block: Block) -> list[str]:
        """What the commands of a block print."""
        return [self._typed(one) for one in commands(block.text)]

    def here(self, text: str) -> str:
        """Text of a page with the addresses of our gateway."""
        found = text.replace("http://127.0.0.1:7080", self.gateway.http)
        found = found.replace("grpc://127.0.0.1:7051", self.gateway.flight)
        return found.replace("127.0.0.1:7051", self.gateway.flight.removeprefix("grpc://"))

    def _typed(self, command: Command) -> str:
        first, *rest = (self.here(one) for one in command.words)
        name = Path(first).name
        if name in BEFORE:
            return ""
        known: dict[str, Callable[[], str]] = {
            "sqluice": lambda: self._sqluice(rest, command.text),
            "make": lambda: _is_target(rest),
            "mkdir": lambda: _mkdir(rest),
            "cat": lambda: self._write(command),
            "curl": lambda: _curl(rest),
        }
        assert name in known, f"a page says {name}, which nothing here knows to run"
        return known[name]()

    def _sqluice(self, words: list[str], text: str) -> str:
        if words[0] in ENDLESS:
            command = main.get_command(Context(main), words[0])
            assert command is not None
            command.make_context(words[0], words[1:])
            return ""
        user = words[words.index("--user") + 1] if "--user" in words else ""
        # Who has signed in needs no address: a profile knows it.
        named = (self.gateway.flight, self.gateway.http) if user else (None, None)
        environment = {
            "SQLUICE_URL": named[0], "SQLUICE_HTTP_URL": named[1],
            "SQLUICE_PASSWORD": f"{user}-demo", "SQLUICE_CONF": None, "SQLUICE_DATA": None,
        }  # fmt: skip
        done = CliRunner().invoke(main, words, input=text or None, env=environment)
        fine = (0, 1) if tuple(words[:2]) in FINDS and "statements" in done.output else (0,)
        assert done.exit_code in fine, f"sqluice {' '.join(words)}\n{done.output}"
        return done.output

    def _write(self, command: Command) -> str:
        place = (self.folder / command.target).resolve()
        assert command.words == ("cat",) and place.is_relative_to(self.folder)
        place.write_text(command.text, encoding="utf-8")
        return ""


def _is_target(words: list[str]) -> str:
    assert {one for one in words if "=" not in one} <= TARGETS
    return ""


def _mkdir(words: list[str]) -> str:
    for one in words:
        if one != "-p":
            os.makedirs(one, exist_ok=True)
    return ""


def _curl(words: list[str]) -> str:
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--fail-with-body", *words], capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
