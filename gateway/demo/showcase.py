"""The demo: one question over five sources, asked by three people.

Takes: a folder for the data. Gives: the sample mesh, built and served; questions, answers, who
saw what and why. Never leaves anything running.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import adbc_driver_flightsql.dbapi as flight_sql
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from gateway.config import embedded_folder
from gateway.demo.fallback import prepare
from gateway.demo.recipe import Progress
from gateway.errors import SourceUnavailable

FIVE_SOURCES = """\
SELECT al.name AS airline, count(*) AS trips, round(avg(f.dep_delay), 1) AS delay_min,
       round(avg(p.seats)) AS seats, round(avg(w.wind_speed), 1) AS wind_mph
FROM loyalty.trips t
JOIN operations.departures f ON f.flight_id = t.flight_id
JOIN fleet.aircraft p ON p.tailnum = f.tailnum
JOIN weather.observations w ON w.origin = f.origin AND w.time_hour = f.time_hour
JOIN network.reference.airlines al ON al.carrier = f.carrier
WHERE f.dep_delay > 30
GROUP BY al.name ORDER BY trips DESC, airline LIMIT 4"""
PERSONAL = """\
SELECT name, email, phone, birth_date, region, spend
FROM loyalty.members ORDER BY member_id LIMIT 4"""
PEOPLE = (
    ("mara", "marketing analyst, northeast and south", "loyalty-marketing"),
    ("petra", "privacy officer", "privacy-review"),
    ("carl", "analyst of United Air Lines", "service-quality"),
)
_READY = re.compile(r"ready http=(\S+) flight=(\S+)")
_START_SECONDS = 60.0


def run(data: Path, serve: bool = False) -> int:
    """Build, serve, ask, stop; gives the exit code. `serve` keeps the gateway up instead."""
    console = Console(highlight=False, width=min(Console().width, 120))
    began = time.monotonic()
    console.print("[bold]sqluice[/]: one SQL address for five data products of five domains\n")
    with prepare(data, embedded_folder(), _progress(console)) as folder:
        built = time.monotonic() - began
        if serve:
            return _serve(folder, data)
        with _gateway(folder, data) as (http, flight):
            asked = time.monotonic()
            _ask_all(console, http, flight)
            asking = time.monotonic() - asked
    total = time.monotonic() - began
    console.print(f"\nbuild {built:.1f} s, ask {asking:.1f} s, all {total:.1f} s; all is stopped.")
    console.print(
        'Next: [bold]make serve[/], then sqluice query --user nora "SHOW TABLES" '
        "(password nora-demo); README.md goes on from there."
    )
    return 0


def _progress(console: Console) -> Progress:
    def tell(text: str, share: float) -> None:
        console.print(f"  {share:4.0%} {text}", style="dim")

    return tell


def _environment(data: Path) -> dict[str, str]:
    return {**os.environ, "SQLUICE_DATA": str(data)}


def _command(folder: Path, *more: str) -> list[str]:
    start = "from sqluice.command import main; main()"
    return [sys.executable, "-c", start, "serve", "--conf", str(folder), *more]


def _serve(folder: Path, data: Path) -> int:
    process = subprocess.Popen(_command(folder, "--watch"), env=_environment(data))
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=20)


@contextmanager
def _gateway(folder: Path, data: Path) -> Iterator[tuple[str, str]]:
    """A gateway on free ports; gives the addresses of HTTP and Flight SQL."""
    log = (data / "gateway.log").open("w", encoding="utf-8")
    process = subprocess.Popen(
        _command(folder, "--http-port", "0", "--flight-port", "0"),
        env=_environment(data),
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        yield _addresses(process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=5)
        log.close()


def _addresses(process: subprocess.Popen[str]) -> tuple[str, str]:
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + _START_SECONDS
    seen = []
    while time.monotonic() < deadline:
        try:
            line = lines.get(timeout=1.0)
        except queue.Empty:
            continue
        found = _READY.search(line)
        if found:
            return found.group(1), found.group(2)
        if not line:
            break
        seen.append(line)
    raise SourceUnavailable("The gateway did not start.", hint="".join(seen[-5:]) or None)


def _ask_all(console: Console, http: str, flight: str) -> None:
    console.rule("1. One question, five sources, three people (ADBC Flight SQL)")
    console.print(FIVE_SOURCES, style="cyan")
    for user, role, purpose in PEOPLE:
        with _connect(flight, user, purpose) as connection, connection.cursor() as cursor:
            cursor.execute(FIVE_SOURCES)
            _show(console, f"{user}, {role}, for {purpose}", cursor.fetch_arrow_table())
            cursor.execute(f"EXPLAIN POLICY {FIVE_SOURCES}")
            _why(console, cursor.fetch_arrow_table())
    console.rule("2. Personal data, the same question over HTTP")
    console.print(PERSONAL, style="cyan")
    for user, role, purpose in PEOPLE:
        answer = _post(http, user, {"sql": PERSONAL, "purpose": purpose})
        if "error" in answer:
            error = answer["error"]
            console.print(f"[bold]{user}[/], {role}: [red]{error['code']}[/] {error['message']}\n")
            continue
        names = [str(one["name"]) for one in answer["columns"]]
        table = pa.table({name: [row[i] for row in answer["rows"]] for i, name in enumerate(names)})
        _show(console, f"{user}, {role}, for {purpose}", table)
        console.print(f"  masked: {', '.join(answer['masked']) or 'nothing'}\n", style="dim")
    console.rule("3. Who did what: the plan of question 1, as mara sees it")
    with _connect(flight, "mara", "loyalty-marketing") as asked, asked.cursor() as cursor:
        cursor.execute(f"EXPLAIN {FIVE_SOURCES}")
        _plan(console, cursor.fetch_arrow_table())


def _connect(flight: str, user: str, purpose: str) -> flight_sql.Connection:
    return flight_sql.connect(
        flight,
        autocommit=True,
        db_kwargs={
            "username": user,
            "password": f"{user}-demo",
            "adbc.flight.sql.rpc.call_header.x-sqluice-purpose": purpose,
        },
    )


def _post(http: str, user: str, body: dict[str, str]) -> dict[str, Any]:
    token = base64.b64encode(f"{user}:{user}-demo".encode()).decode()
    request = urllib.request.Request(
        f"{http}/v1/query",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))


def _show(console: Console, title: str, rows: pa.Table) -> None:
    table = Table(title=title, title_justify="left", title_style="bold")
    for field in rows.schema:
        right = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        table.add_column(field.name, justify="right" if right else "left")
    for row in rows.to_pylist():
        table.add_row(*("NULL" if value is None else str(value) for value in row.values()))
    console.print(table)


def _why(console: Console, rows: pa.Table) -> None:
    lines = [
        f"  {row['object']}: {row['outcome']} ({row['policy']})"
        for row in rows.to_pylist()
        if "masked" in row["outcome"] or "filtered" in row["outcome"] or row["object"] == "purpose"
    ]
    console.print("\n".join(dict.fromkeys(lines)) + "\n", style="dim", markup=False)


def _plan(console: Console, rows: pa.Table) -> None:
    for row in rows.to_pylist():
        why = f"  -- {row['why']}" if row["why"] else ""
        head = f"{row['step']} @ {row['where']} {row['what']}: "
        console.print(head, style="bold", end="", markup=False)
        console.print(f"{row['detail']}{why}", markup=False)
