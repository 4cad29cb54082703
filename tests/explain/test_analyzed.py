"""EXPLAIN ANALYZE: what a run took, for whom it is.

Takes: the sample mesh. Gives: lines about fetched rows for the owner of a source, and none for
others, whose hidden rows would be counted in them.
"""

from __future__ import annotations

from dataclasses import replace

from tests.sample import SampleMesh

SQL = "EXPLAIN ANALYZE SELECT count(*) AS n, max(f.distance) AS m FROM operations.departures f"
OWN = {"fetched rows", "fetched bytes", "keys sent", "milliseconds", "expected rows"}


def _lines(sample: SampleMesh, roles: frozenset[str]) -> dict[str, str]:
    request = sample.request("nora", SQL)
    request = replace(request, principal=replace(request.principal, roles=roles))
    result = sample.opened.gateway.answer(request)
    rows = [row for batch in result.batches() for row in batch.to_pylist()]
    return {row["what"]: row["detail"] for row in rows}


def test_who_owns_the_sources_sees_what_was_fetched(sample: SampleMesh) -> None:
    told = _lines(sample, frozenset({"operator"}))
    assert set(told) >= OWN | {"rows", "bytes"}
    assert int(told["fetched rows"]) > 0
    assert int(told["fetched bytes"]) > 0


def test_others_see_their_answer_only(sample: SampleMesh) -> None:
    told = _lines(sample, frozenset())
    assert told["rows"] == "1"
    assert not OWN & set(told)
