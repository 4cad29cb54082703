"""Write golden.yaml anew: `python -m tests.golden.renew`, then read the difference.

Takes: the differential corpus, one user a statement. Gives: the file. Never decides that a form
is right: whoever runs it does, by reading what changed.
"""

from __future__ import annotations

import sys

import yaml

from tests.differential.corpus import CASES
from tests.golden.forms import FILE, Mesh, forms_of


def main() -> None:
    """Every second statement of the corpus, with its users in turn."""
    mesh = Mesh()
    pairs = []
    for case in CASES[::2]:
        user = case.users[case.number % len(case.users)]
        given = {"with": case.given} if case.given else {}
        forms = forms_of(mesh, user, case.sql, case.values)
        pairs.append({"user": user, "sql": case.sql, **given, **forms})
    FILE.write_text(yaml.safe_dump(pairs, sort_keys=False, width=96, allow_unicode=True))
    sys.stdout.write(f"{len(pairs)} pairs\n")


if __name__ == "__main__":
    main()
