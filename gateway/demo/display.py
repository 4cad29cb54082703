"""How the demo looks in a terminal, and as one JSON document.

Takes: sources, answers, a plan. Gives: text. Never asks anything.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from gateway.demo.fallback import NO_POSTGRES
from gateway.demo.questions import Answer, Reason, Step

_WIDEST = 110
_CLAUSE = re.compile(r"\s+(FROM|JOIN|WHERE|GROUP BY|ORDER BY)(?=\s)")
_SAME_NAME = re.compile(r'("[^"]+") AS \1(?!")')
_HELD = (
    ("operations", "departures", "336,776 flights from New York in 2013"),
    ("fleet", "aircraft", "3,322 aircraft"),
    ("weather", "observations", "26,115 hours of weather"),
    ("network", "reference", "1,458 airports, 16 airlines"),
    ("loyalty", "members, trips", "5,000 people and 20,000 trips, invented"),
)
_KINDS = {"postgres": "PostgreSQL", "sqlite": "SQLite", "duckdb": "DuckDB", "files": "Parquet"}


@dataclass(slots=True)
class Display:
    """What the demo tells; `as_json` keeps it for one document and says the rest on stderr."""

    as_json: bool = False
    document: dict[str, object] = field(default_factory=dict)
    console: Console = field(init=False)

    def __post_init__(self) -> None:
        """Fit the terminal, without growing too wide to read."""
        self.console = Console(highlight=False, stderr=self.as_json)
        wide = self.console.width if self.console.is_terminal else 100
        self.console.width = min(wide, _WIDEST)

    def progress(self, text: str, share: float) -> None:
        """One step of the building, or what stands in its way."""
        if text.startswith(NO_POSTGRES):
            self.console.print(Text(text + "\n", style="bold yellow"))
        else:
            self.console.print(Text(f"  {share:4.0%}  {text}", style="dim"))

    def sources(self, kinds: Mapping[str, str]) -> None:
        """Which domain keeps what, and where: source by domain."""
        self.document["sources"] = dict(kinds)
        if self.as_json:
            return
        table = Table(box=None, padding=(0, 2), show_header=False)
        for domain, product, held in _HELD:
            kind = _KINDS.get(kinds[domain], kinds[domain])
            table.add_row(Text(domain, style="bold"), product, Text(kind, style="cyan"), held)
        self.console.print("\nFive domains, each with its own database:\n", table, sep="\n")

    def title(self, text: str, below: str = "") -> None:
        """A heading, and what is to know before one reads on."""
        if not self.as_json:
            self.console.print("", Rule(f"[bold]{text}[/]", align="left"), below, sep="\n")

    def question(self, number: int, title: str, sql: str) -> None:
        """A heading and the statement."""
        self.document[f"question_{number}"] = sql
        self.title(f"{number}. {title}")
        if not self.as_json:
            self.console.print(Padding(_sql(sql), (0, 2), expand=False))

    def answers(self, number: int, answers: Iterable[Answer]) -> None:
        """What each person got, as it arrives."""
        kept = []
        for one in answers:
            kept.append(asdict(one))
            if not self.as_json:
                self.console.print(_answer(one))
        self.document[f"answers_{number}"] = kept

    def plan(self, steps: Iterable[Step], kinds: Mapping[str, str]) -> None:
        """Who did what."""
        held = tuple(steps)
        self.document["plan"] = [asdict(one) for one in held]
        if self.as_json:
            return
        for step, lines in groupby(held, key=lambda one: one.step):
            self.console.print(_step(step, tuple(lines), kinds))

    def seconds(self, **spent: float) -> None:
        """What it took."""
        self.document["seconds"] = {name: round(value, 1) for name, value in spent.items()}
        if self.as_json:
            text = json.dumps(self.document, indent=2, ensure_ascii=False, default=str)
            sys.stdout.write(text + "\n")
            return
        told = ", ".join(f"{name} {value:.1f} s" for name, value in spent.items())
        self.console.print("", Rule(), f"{told}. Everything is stopped again.", sep="\n")


def _answer(one: Answer) -> Group:
    asked = one.person
    head = Text.assemble(
        (f"\n  {asked.user}", "bold green"), f", {asked.role}, for ", (asked.purpose, "italic")
    )
    if one.error is not None:
        told = Text(f"{one.error['code']}: {one.error['message']}", style="red")
        return Group(head, Padding(told, (1, 4)), Padding(_why_not(one.requests), (0, 4)))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), header_style="bold")
    for index, name in enumerate(one.columns):
        numbers = all(isinstance(row[index], int | float) for row in one.rows)
        table.add_column(name, justify="right" if numbers else "left")
    for row in one.rows:
        table.add_row(*(_cell(value) for value in row))
    return Group(head, Padding(table, (0, 2), expand=False), Padding(_why(one.reasons), (0, 4)))


def _cell(value: object) -> Text:
    return Text("NULL", style="dim") if value is None else Text(str(value))


def _why(reasons: tuple[Reason, ...]) -> Group:
    if not reasons:
        return Group(Text("why: no policy restricts this answer", style="yellow"))
    table = Table.grid(padding=(0, 2))
    by = sorted(reasons, key=lambda one: (one.outcome != "rows filtered", one.policy))
    for (outcome, policy), group in groupby(by, key=lambda one: (one.outcome, one.policy)):
        parts = [one.object.rpartition(".") for one in group]
        if outcome == "rows filtered":
            what = "some rows of " + ", ".join(f"{table}.{name}" for table, _, name in parts)
        else:
            what = f"{parts[0][2]} of " + ", ".join(table for table, _, _ in parts)
        table.add_row(Text(outcome.removeprefix("masked: "), "yellow"), what, Text(policy, "dim"))
    return Group(Text("why, by policy:", style="yellow"), Padding(table, (0, 2), expand=False))


def _why_not(requests: tuple[str, ...]) -> Group:
    why = "why: no grant; to whom may not know of a table it looks like one that does not exist"
    # Never folded: what stands on the line below a comment would be no comment.
    below: list[Text | Padding] = [
        Padding(Text(one, style="dim", no_wrap=True, overflow="ignore"), (0, 2)) for one in requests
    ]
    if below:
        below.insert(0, Text("what would change it, as EXPLAIN POLICY writes it:"))
    return Group(Text(why, style="yellow"), *below)


def _step(step: str, lines: tuple[Step, ...], kinds: Mapping[str, str]) -> Group:
    where = lines[0].where
    kind = _KINDS.get(kinds.get(where.partition(".")[0], ""), "")
    what = f"{where}, {kind}" if kind and where != "gateway" else where
    head = Text.assemble((f"\n  {step}", "bold green"), " at ", (what, "bold cyan"))
    notes = Table.grid(padding=(0, 2))
    for one in lines:
        if one.what != "sql":
            place = " by the gateway" if one.where == "gateway" != where else ""
            detail = _sql(_readable(one.detail)) if one.what == "gate" else Text(one.detail)
            notes.add_row(Text(one.what + place, "yellow"), detail)
            if one.why:
                notes.add_row("", Text(one.why, "dim"))
    sql = [_sql(_readable(one.detail)) for one in lines if one.what == "sql"]
    return Group(head, Padding(Group(*sql, notes), (0, 4), expand=False))


def _readable(sql: str) -> str:
    """The statement on lines of its own clauses, without the names that say nothing new."""
    return _CLAUSE.sub(r"\n\1", _SAME_NAME.sub(r"\1", sql))


def _sql(text: str) -> Syntax:
    return Syntax(text, "sql", theme="ansi_dark", background_color="default", word_wrap=True)
