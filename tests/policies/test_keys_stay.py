"""A policy keeps keys at home: what PostgreSQL is sent, as its own log has it.

Takes: the sample mesh, with a policy on airlines, whose keys would narrow flights at PostgreSQL.
Gives: the keys that came there, and what is told. The control is the mesh without the policy.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from gateway.authorize import authorize_tables
from gateway.pipeline import Gateway
from gateway.policies.effects import effects
from gateway.policies.replay import ALLOWED, Replayed
from gateway.publish import build_snapshot
from gateway.queries import OPERATOR
from gateway.resolve import Address
from gateway.snapshot import Snapshot
from tests.sample import CONF, SampleMesh
from tests.served import within

SQL = (
    "SELECT a.name, count(*) AS n FROM network.reference.airlines AS a JOIN operations.departures "
    "AS f ON f.carrier = a.carrier WHERE a.name LIKE '{start}%' AND f.tailnum IS NOT NULL "
    "GROUP BY a.name ORDER BY a.name"
)
WHOLE = {"match": {"domain": "network", "table": "airlines"}}
AIRLINES = Address("network", "reference", "airlines", 1)
Mesh = Callable[..., Snapshot]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Mesh:
    """The sample mesh with one more policy of the governance group, or a changed contract."""

    def made(policy: dict[str, Any] | None, edit: tuple[str, str] | None = None) -> Snapshot:
        folder = tmp_path_factory.mktemp("keys") / "conf"
        shutil.copytree(CONF, folder)
        if policy is not None:
            document = {"kind": "Policy", "id": "stays", "effect": {"keysStay": True}, **policy}
            (folder / "governance/policies/stays.yaml").write_text(yaml.safe_dump(document))
        if edit is not None:
            (file,) = (folder / "domains/network/contracts").glob("*.yaml")
            assert edit[0] in file.read_text()
            file.write_text(file.read_text().replace(*edit, 1))
        return build_snapshot(folder)

    return made


@pytest.fixture(scope="module")
def log(sample: SampleMesh) -> Iterator[Callable[[], str]]:
    """What PostgreSQL wrote since it was asked last; skipped where its log is not ours."""
    file = sample.data / "postgres" / "server.log"
    if not file.exists():
        pytest.skip("the log of this server is elsewhere")
    reload = "SELECT pg_reload_conf()"
    sample.server.run("postgres", "ALTER SYSTEM SET log_statement = 'all'", reload)

    def is_written() -> bool:
        sample.server.run("postgres", "SELECT 'what is logged'")
        return b"SELECT 'what is logged'" in file.read_bytes()

    # The server heard of it before it let this session in.
    assert within(60, is_written)
    read = file.stat().st_size

    def since() -> str:
        nonlocal read
        text = file.read_bytes()[read:]
        read += len(text)
        return text.decode(errors="replace")

    yield since
    sample.server.run("postgres", "ALTER SYSTEM RESET log_statement", reload)


def asked(sample: SampleMesh, snapshot: Snapshot, sql: str, **more: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """The rows of an answer over another revision of the mesh."""
    gateway = Gateway(lambda: snapshot, sample.opened.gateway.services)
    request = sample.request("nora", sql, link_cost="dear", **more)
    result = gateway.answer(request)
    return [row for batch in result.batches() for row in batch.to_pylist()]


# Each with another beginning, so that no plan and no statement is that of another case.
@pytest.mark.parametrize(
    ("policy", "edit", "leaves"),
    [
        pytest.param(None, None, True, id="control: no policy"),
        pytest.param({**WHOLE, "subjects": [{"users": ["carl"]}]}, None, True, id="not for him"),
        pytest.param({"match": {"domain": "weather"}}, None, True, id="of others"),
        pytest.param(WHOLE, None, False, id="of a table"),
        pytest.param(
            {"match": {"domain": "network", "columns": ["carrier"]}}, None, False, id="of a column"
        ),
        pytest.param(
            {"match": {"tags": ["location"]}},
            ("- name: carrier\n", "- name: carrier\n        tags: [location.airport]\n"),
            False, id="by a tag",
        ),
    ],
)  # fmt: skip
def test_keys_reach_the_other_source_only_without_it(  # noqa: PLR0913 - a case and fixtures
    *, policy: dict[str, Any] | None, edit: tuple[str, str] | None, leaves: bool,
    sample: SampleMesh, mesh: Mesh, log: Callable[[], str],
) -> None:  # fmt: skip
    snapshot = mesh(policy, edit)
    log()
    rows = asked(sample, snapshot, SQL.format(start="United"))
    written = log()
    assert [row["name"] for row in rows] == ["United Air Lines Inc."]
    assert "flights" in written
    assert ("UA" in written) is leaves
    operator = replace(sample.principal("nora"), roles=frozenset({OPERATOR}))
    told = asked(sample, snapshot, "EXPLAIN " + SQL.format(start="United"), principal=operator)
    stayed = [
        row["detail"]
        for row in told
        if row["what"] == "stayed" and row["why"].startswith("keys_stay")
    ]
    assert stayed == ([] if leaves else ["keys of network.reference.airlines.carrier"])


def test_a_decision_says_so(sample: SampleMesh, mesh: Mesh) -> None:
    plain, kept = mesh(None), mesh(WHOLE)
    found = []
    for snapshot in (plain, kept):
        request = sample.request("nora", "")
        found.append(
            authorize_tables((AIRLINES,), request.principal, None, request.now, snapshot.index)
        )
    before, after = found
    assert {one.keys_stay for one in before.tables[AIRLINES].columns} == {()}
    assert {one.keys_stay for one in after.tables[AIRLINES].columns} == {("stays",)}
    assert before.fingerprint != after.fingerprint
    # The rows and cells are the same: nothing restricts them.
    assert after.tables[AIRLINES].clear
    lines = asked(sample, kept, "EXPLAIN POLICY SELECT carrier FROM network.reference.airlines")
    (line,) = (row for row in lines if row["outcome"] == "keys stay")
    assert (line["object"], line["policy"]) == ("network.reference.airlines.carrier", "stays")
    read = {AIRLINES: frozenset({"carrier"})}
    replayed = [Replayed(ALLOWED, "", one, read) for one in found]
    (effect,) = effects(replayed[0], replayed[1], ("clear",))
    assert (effect.kind, effect.what) == ("loses", "keys of network.reference.airlines.carrier")
