"""`require_pushdown` refuses a query whose filter would move a whole table, and says which and why.

Takes: statements over the sample mesh's files. Gives: the refusal, or a plan. The control is the
same statement without the setting.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.errors import UnsupportedSql
from gateway.reasons import REASONS, told
from tests.golden.forms import Mesh, forms_of

FLIGHTS = "operations.departures.flights"


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    made = Mesh()
    yield made
    made.engine.close()


@pytest.mark.parametrize(
    ("where", "part", "reason"),
    [
        ("f.tailnum LIKE 'N%'", "\"f\".\"tailnum\" LIKE 'N%'", "masked"),
        ("reverse(f.dest) = 'A'", "REVERSE(\"f\".\"dest\") = 'A'", "type_unknown"),
        ("f.dest ~ 'A.*'", "REGEXP_MATCHES(\"f\".\"dest\", 'A.*')", "function_not_identical"),
    ],
)
def test_a_filter_that_stays_is_named(
    where: str, part: str, reason: str, mesh: Mesh
) -> None:
    sql = f"SELECT rank() OVER (ORDER BY f.distance) FROM {FLIGHTS} AS f WHERE {where}"
    assert "stayed" in forms_of(mesh, "nora", sql)["planned"]
    with pytest.raises(UnsupportedSql) as caught:
        forms_of(mesh, "nora", sql, require_pushdown=True)
    assert f"{FLIGHTS} would move whole" in caught.value.message
    assert f"{part} ({told(reason)})" in caught.value.message
    assert "SET require_pushdown = false" in str(caught.value.hint)


@pytest.mark.parametrize(
    "sql",
    [
        # No filter at all, or nothing but what is no filter.
        f"SELECT rank() OVER (ORDER BY f.distance) FROM {FLIGHTS} AS f",
        f"SELECT f.distance FROM {FLIGHTS} AS f WHERE f.distance > 100",
        # One that went down is enough.
        f"SELECT f.distance FROM {FLIGHTS} AS f WHERE f.distance > 100 AND f.tailnum LIKE 'N%'",
        f"SELECT a.name, sum(f.air_time) FROM {FLIGHTS} AS f JOIN network.reference.airlines AS a "
        "ON a.carrier = f.carrier GROUP BY a.name",
    ],
)
def test_what_is_refused_for_no_other_reason(sql: str, mesh: Mesh) -> None:
    forms = forms_of(mesh, "nora", sql, require_pushdown=True)
    assert forms["planned"] == forms_of(mesh, "nora", sql)["planned"]


def test_every_reason_has_words() -> None:
    assert {told(one).partition(": ")[0] for one in REASONS} == REASONS
    assert all(len(told(one)) > len(one) + 10 for one in REASONS)
    assert told("") == ""
    assert told("new_code") == "new_code: new code is not served there"
