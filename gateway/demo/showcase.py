"""The demo: one question over five sources, asked by three people.

Takes: a folder for the data. Gives: the sample mesh, built and served; questions, answers, who
saw what and why. Never leaves anything running.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from catalog.mesh import load_mesh
from gateway.config import embedded_folder
from gateway.demo.child import running
from gateway.demo.display import Display
from gateway.demo.fallback import prepare
from gateway.demo.questions import FIVE_SOURCES, PERSONAL, over_flight, over_http, plan

_FREE_PORTS = ("--http-port", "0", "--flight-port", "0", "--pgwire-port", "0")
_PLAN = """
  Each database gets its own part and nothing else; the gateway merges. Where a policy's literal
  would stand, the caller reads the policy's name."""
_NEXT = """
Next:
  [bold]{command} demo --serve[/]  keeps the gateway up; then, in another terminal,
  [bold]{command} query --user nora "SHOW TABLES"[/]  asks it, with the password nora-demo.
The README goes on from there, to a product of your own."""
_UP = """
The gateway of the sample mesh is up:
  Flight SQL  {flight}
  HTTP        {http}
  PostgreSQL  {pgwire}
In another terminal, with the password nora-demo:
  [bold]{command} query --user nora "SHOW TABLES"[/]
Ctrl-C stops it, and its databases.
"""


def run(data: Path, as_json: bool = False) -> int:
    """Build, serve, ask, stop; gives the exit code."""
    signal.signal(signal.SIGTERM, _end)
    display = Display(as_json)
    began = time.monotonic()
    display.console.print("[bold]sqluice[/]: one SQL address for all data products\n")
    with prepare(data, embedded_folder(), display.progress) as folder:
        built = time.monotonic()
        kinds = _kinds(folder)
        display.sources(kinds)
        with (
            (data / "gateway.log").open("w", encoding="utf-8") as log,
            running(folder, data, *_FREE_PORTS, log=log) as gateway,
        ):
            started = time.monotonic()
            title = "One question, five sources, three people; over ADBC Flight SQL"
            display.question(1, title, FIVE_SOURCES)
            display.answers(1, over_flight(gateway.flight))
            display.question(2, "Personal data, three people; over HTTP", PERSONAL)
            display.answers(2, over_http(gateway.http))
            display.title("3. Who did what: EXPLAIN of question 1, as mara sees it", _PLAN)
            display.plan(plan(gateway.flight), kinds)
            asked = time.monotonic()
    display.seconds(
        build=built - began, start=started - built, ask=asked - started,
        all=time.monotonic() - began,
    )
    if not as_json:
        display.console.print(_NEXT.format(command=_command()))
    return 0


def serve(data: Path) -> int:
    """Build, and serve on the usual ports until Ctrl-C."""
    signal.signal(signal.SIGTERM, _end)
    display = Display()
    with (
        prepare(data, embedded_folder(), display.progress) as folder,
        running(folder, data, "--watch") as gateway,
    ):
        told = {
            "http": gateway.http, "flight": gateway.flight, "pgwire": gateway.pgwire,
            "command": _command(),
        }  # fmt: skip
        display.console.print(_UP.format(**told))
        try:
            return until_ended(gateway.process)
        except KeyboardInterrupt:
            display.console.print("\nStopping.")
            return 0


def until_ended(process: subprocess.Popen[str]) -> int:
    """Wait for a process and give its exit code; Ctrl-C interrupts the wait.

    Once ADBC has run in the main thread, SIGINT no longer ends a system call that waits: hence
    the steps.
    """
    while True:
        try:
            return process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            continue


def _kinds(folder: Path) -> Mapping[str, str]:
    """The kind of each domain's source."""
    domains = load_mesh(folder).domains
    return {domain.name: source.kind for domain in domains for source in domain.sources}


def _command() -> str:
    """How our command was called, for who copies the next one."""
    called = Path(sys.argv[0]).absolute()
    if called.name != "sqluice" or not called.is_file():
        return "sqluice"
    return os.path.relpath(called) if called.is_relative_to(Path.cwd()) else "sqluice"


def _end(number: int, _: object) -> NoReturn:
    """A signal that ends us is an exit, so that everything is stopped on the way."""
    sys.exit(128 + number)
