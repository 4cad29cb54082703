"""Each pass: what it makes of a statement, and that the answer is DuckDB's.

Takes: the pairs, the sample mesh over real databases. Gives: a failure where a plan is not the one
that was reviewed, or where an answer differs from plain DuckDB's, pushed or pulled.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pytest

from tests.differential.compare import assert_same, is_ordered
from tests.differential.corpus import PURPOSES
from tests.differential.passes.pairs import PAIRS, Pair
from tests.golden.forms import Mesh, forms_of
from tests.sample import SampleMesh


@pytest.fixture(scope="session")
def mesh() -> Mesh:
    return Mesh()


def _name(pair: Pair) -> str:
    return f"{pair.name}-{pair.number}"


@pytest.mark.parametrize("pair", PAIRS, ids=_name)
def test_planned(pair: Pair, mesh: Mesh) -> None:
    assert forms_of(mesh, pair.user, pair.sql, pair.values)["planned"] == pair.planned


@pytest.mark.parametrize("pair", PAIRS, ids=_name)
def test_same_answer(
    pair: Pair, sample: SampleMesh, reference: Mapping[str, duckdb.DuckDBPyConnection]
) -> None:
    values = list(pair.values) or None
    want = reference[pair.user].sql(pair.sql, params=values).to_arrow_table()
    for push_down in (True, False):
        got = sample.ask(
            pair.user, pair.sql, purpose=PURPOSES.get(pair.user), push_down=push_down,
            parameters=pair.values,
        )  # fmt: skip
        assert_same(got, want, ordered=is_ordered(pair.sql))
