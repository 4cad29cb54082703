"""A source says that its rows travel far: plans are made for that, answers stay the same.

Takes: the sample mesh, and revisions of it in which sources say so. The control is the mesh that
says nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.pipeline import Gateway
from gateway.publish import build_snapshot
from gateway.queries import OPERATOR
from gateway.snapshot import Snapshot
from tests.sample import CONF, SampleMesh

SQL = (
    "SELECT a.name, count(*) AS n FROM network.reference.airlines AS a JOIN operations.departures "
    "AS f ON f.carrier = a.carrier WHERE a.name IN ('AirTran Airways Corporation', "
    "'Alaska Airlines Inc.', "
    "'American Airlines Inc.', 'Delta Air Lines Inc.', 'Endeavor Air Inc.', 'Envoy Air', "
    "'JetBlue Airways', 'Mesa Airlines Inc.', 'Virgin America', 'US Airways Inc.', "
    "'SkyWest Airlines Inc.', 'Hawaiian Airlines Inc.') AND f.month = 1 "
    "GROUP BY a.name ORDER BY a.name"
)
FAR = "operations.warehouse"
Mesh = Callable[[str], Snapshot]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Mesh:
    """The sample mesh, whose warehouse says this of its link."""

    def made(cost: str) -> Snapshot:
        folder = tmp_path_factory.mktemp("links") / "conf"
        shutil.copytree(CONF, folder)
        file = folder / "domains/operations/domain.yaml"
        before = "    connector: postgres\n"
        assert file.read_text().count(before) == 1
        said = f"{before}    linkCost: {cost}\n" if cost else before
        file.write_text(file.read_text().replace(before, said))
        return build_snapshot(folder)

    return made


def asked(
    sample: SampleMesh, snapshot: Snapshot, sql: str, default: str = "cheap", **more: Any,  # noqa: ANN401
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of an answer over another revision of the mesh, for an operator."""
    services = replace(sample.opened.gateway.services, link_cost=default)
    request = sample.request("nora", sql, **more)
    request = replace(request, principal=replace(request.principal, roles=frozenset({OPERATOR})))
    result = Gateway(lambda: snapshot, services).answer(request)
    return [row for batch in result.batches() for row in batch.to_pylist()]


@pytest.mark.parametrize(
    ("said", "default", "more", "is_dear", "told"),
    [
        pytest.param("", "cheap", {}, False, None, id="control: nobody says anything"),
        pytest.param("dear", "cheap", {}, True, f"link_cost of {FAR} = dear", id="the source"),
        pytest.param("", "dear", {}, True, "link_cost = dear", id="the mesh"),
        pytest.param("cheap", "dear", {}, False, f"link_cost of {FAR} = cheap", id="not this"),
        pytest.param("dear", "cheap", {"link_cost": "cheap"}, False, None, id="the session"),
        pytest.param("cheap", "cheap", {"link_cost": "dear"}, True, "link_cost = dear",
                     id="the session, too"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_link_decides(  # noqa: PLR0913 - a case and fixtures
    *, said: str, default: str, more: dict[str, str], is_dear: bool, told: str | None,
    mesh: Mesh, sample: SampleMesh,
) -> None:  # fmt: skip
    snapshot, sql = mesh(said), SQL
    rows = asked(sample, snapshot, f"EXPLAIN {sql}", default, **more)
    chosen = {row["detail"].split(" (")[0] for row in rows if row["what"] == "chosen"}
    assert ("keys: carrier by keys of guarded_0.carrier" in chosen) == is_dear, chosen
    settings = {row["detail"] for row in rows if row["what"] == "setting"}
    assert (told in settings) if told else not any("link_cost" in one for one in settings)
    plain = asked(sample, mesh(""), sql)
    assert len(plain) > 1
    assert asked(sample, snapshot, sql, default, **more) == plain
