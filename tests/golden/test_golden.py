"""What bind, guard and plan make of a query, against what was reviewed.

Takes: golden.yaml, pairs of a question (who, statement) and the three forms. Gives: a failure with
the difference where a form has changed. `python -m tests.golden.renew` writes the file anew; the
differential suite shows that the forms mean the same as the statements.
"""

from __future__ import annotations

import pytest
import yaml

from tests.differential.corpus import values_of
from tests.golden.forms import FILE, Mesh, forms_of

PAIRS = yaml.safe_load(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def mesh() -> Mesh:
    return Mesh()


def test_there_are_enough() -> None:
    for stage in ("bound", "guarded", "planned"):
        assert len({one[stage] for one in PAIRS}) >= 60


@pytest.mark.parametrize("pair", PAIRS, ids=lambda one: f"{one['user']}-{one['sql'][:50]}")
def test_forms(pair: dict[str, str], mesh: Mesh) -> None:
    made = forms_of(mesh, pair["user"], pair["sql"], values_of(pair.get("with", "")))
    for stage in ("bound", "guarded", "planned"):
        assert made[stage] == pair[stage]
