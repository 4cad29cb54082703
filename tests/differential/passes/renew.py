"""Write the plans of all pairs anew: `python -m tests.differential.passes.renew`.

Takes: the YAML files beside it. Gives: the same files with plans as they are made now. Never
decides that a plan is right: whoever runs it does, by reading what changed.
"""

from __future__ import annotations

import yaml

from tests.differential.passes.pairs import FOLDER, NAMES, load
from tests.golden.forms import Mesh, forms_of


class Dumper(yaml.SafeDumper):
    """Texts of several lines as they are read."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


Dumper.add_representer(str, _text)


def main() -> None:
    """Every pair of every pass."""
    mesh = Mesh()
    for name in NAMES:
        made = []
        for one in load(name):
            planned = forms_of(mesh, one.user, one.sql, one.values)["planned"]
            given = {"with": one.given} if one.given else {}
            made.append({"who": one.user, "sql": one.sql, **given, "planned": planned})
        text = yaml.dump(made, Dumper=Dumper, sort_keys=False, width=10_000, allow_unicode=True)
        (FOLDER / f"{name}.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
