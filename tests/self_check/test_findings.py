"""Who may read what was found of a source.

Takes: the sample mesh. Gives: the owners of the domain and auditors, nobody else; and never the
whole statement, which may name what is another domain's.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import UnknownTable
from gateway.request import Principal
from tests.sample import SampleMesh

ALL = "select source, kind, ability, detail from mesh.sources.findings where kind = 'off'"
EVIDENCE = {"statement": "select x from others.secrets.names", "rows pushed": 3}


@pytest.fixture
def found(sample: SampleMesh) -> SampleMesh:
    """An ability that SQLite has not anyhow is switched off."""
    events = sample.opened.abilities.events("fleet.registry")
    if not any(one.kind == "off" for one in events):
        sample.opened.abilities.switch_off("fleet.registry", "can_window", EVIDENCE, "q")
    return sample


def seen(found: SampleMesh, principal: Principal) -> list[dict[str, Any]]:
    request = replace(found.request("nora", ALL), principal=principal)
    batches = found.opened.gateway.answer(request).batches()
    return [row for batch in batches for row in batch.to_pylist()]


def test_the_owner_sees_his_sources(found: SampleMesh) -> None:
    (row,) = seen(found, Principal("frida"))
    assert (row["source"], row["kind"], row["ability"]) == ("fleet.registry", "off", "can_window")
    assert json.loads(row["detail"]) == {"rows pushed": 3}


def test_owners_of_others_do_not(found: SampleMesh) -> None:
    assert found.ask("nora", ALL).num_rows == 0


def test_who_owns_nothing_knows_of_nothing(found: SampleMesh) -> None:
    with pytest.raises(UnknownTable):
        found.ask("carl", ALL)


def test_auditors_see_all(found: SampleMesh) -> None:
    assert len(seen(found, Principal("inspector", roles=frozenset({"auditor"})))) == 1
