"""The JDBC program Ask.java, and the drivers that it asks through.

Takes: steps as lists of texts. Gives: what each printed, rows of texts or an error. Never takes
another driver than the one whose hash stands here, and never waits longer than its deadline.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

_PROGRAM = Path(__file__).with_name("Ask.java")
_JARS = Path(__file__).parents[3] / ".state" / "jars"
_ROW, _VALUE = "\x1e", "\x1f"
_SECONDS = 240.0
# A program of a second is over before the second compiler has paid.
_QUICKLY = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver of Maven Central: its coordinates there and the SHA-256 of the file."""

    group: str
    name: str
    version: str
    sha256: str

    def jar(self) -> Path:
        """The file, fetched once by Maven."""
        kept = _JARS / f"{self.name}-{self.version}.jar"
        if not kept.exists():
            artifact = f"{self.group}:{self.name}:{self.version}"
            subprocess.run(
                ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}",
                 f"-DoutputDirectory={_JARS}"],
                check=True, timeout=_SECONDS, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        assert hashlib.sha256(kept.read_bytes()).hexdigest() == self.sha256, kept
        return kept


FLIGHT_SQL = Driver(
    "org.apache.arrow",
    "flight-sql-jdbc-driver",
    "18.3.0",
    "3f418b46c880e263558c5de669bdbede2c5d4375527ced116fb29f795b03704c",
)

POSTGRESQL = Driver(
    "org.postgresql",
    "postgresql",
    "42.7.4",
    "188976721ead8e8627eb6d8389d500dccc0c9bebd885268a3047180274a6031e",
)


def needs_java() -> None:
    """Skip where somebody said that he has no Java; fail where nobody said so and there is none."""
    if os.environ.get("SQLUICE_WITHOUT_JAVA") == "1":
        pytest.skip("SQLUICE_WITHOUT_JAVA=1: no JDBC driver was tried")
    for command in ("javac", "mvn"):
        assert shutil.which(command), f"{command} is missing; SQLUICE_WITHOUT_JAVA=1 goes without."


def _compiled() -> Path:
    """The folder of the program's classes, which are made once for each text of it."""
    text = hashlib.sha256(_PROGRAM.read_bytes()).hexdigest()[:16]
    kept = _JARS / f"{_PROGRAM.stem}-{text}"
    if not kept.exists():
        _JARS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_JARS) as made:
            subprocess.run(
                ["javac", "-d", f"{made}/classes", str(_PROGRAM)], check=True, timeout=_SECONDS
            )
            # Whoever else has made it meanwhile has made the same.
            with contextlib.suppress(OSError):
                Path(made, "classes").rename(kept)
    return kept


def ask(driver: Driver, url: str, user: str, steps: Sequence[Sequence[str]]) -> list[str]:
    """What each step printed."""
    command = [
        "java", *_QUICKLY, "--add-opens=java.base/java.nio=ALL-UNNAMED",
        "-cp", f"{driver.jar()}{os.pathsep}{_compiled()}", _PROGRAM.stem, url, user, f"{user}-demo",
    ]  # fmt: skip
    lines = "".join("\t".join(step) + "\n" for step in steps)
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    answers = [
        line.removeprefix("answer\t")
        for line in done.stdout.split("\n")
        if line.startswith("answer\t")
    ]
    assert len(answers) == len(steps), done.stderr[-2_000:]
    return answers


def rows(answer: str) -> list[tuple[str, ...]]:
    """The rows of an answer that is no error."""
    assert not answer.startswith("!"), answer
    return [tuple(row.split(_VALUE)) for row in answer.split(_ROW)] if answer else []
