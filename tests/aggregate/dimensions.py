"""What goes down of a table that shows groups only, statement by statement.

Takes: `dimensions.yaml`. Gives: what EXPLAIN tells of each fragment, and the file written anew:
`python -m tests.aggregate.dimensions`. Never decides that it is right: whoever runs it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from gateway.errors import SqluiceError
from tests.aggregate.mesh import Money, open_money
from tests.differential.passes.renew import Dumper

FILE = Path(__file__).with_name("dimensions.yaml")
_TOLD = ("sql", "pushed", "stayed", "groups")


def load() -> list[dict[str, Any]]:
    """The statements: who, kind, sql, planned."""
    held: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return held


def planned(money: Money, one: Mapping[str, Any]) -> str:
    """A line for each part of the fragment, or the code of what is refused."""
    try:
        rows = money.ask(one["who"], "EXPLAIN " + one["sql"].replace("{t}", f"money.{one['kind']}"))
    except SqluiceError as error:
        return error.code
    lines = [
        f"{what}: {detail} {str(why).partition(':')[0] if what == 'stayed' else ''}".strip()
        for step, _, what, detail, why in rows
        if what in _TOLD and step != "merge"
    ]
    return "\n".join(lines)


def main() -> None:
    """Every statement."""
    with TemporaryDirectory() as folder:
        money = open_money(Path(folder))
        made = [{**one, "planned": planned(money, one)} for one in load()]
        money.opened.close()
    text = yaml.dump(made, Dumper=Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
