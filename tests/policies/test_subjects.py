"""Whom a grant serves, and for what: subjects with attributes, grants with purposes.

Takes: small meshes made of values. Gives: the visible columns, or that there is no table. The
cases are those that a careless change would let pass.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest

from catalog.model import Grant, Match, Mesh, Policy, Purpose, Subjects
from gateway.authorize import authorize_tables
from gateway.errors import UnknownTable
from gateway.policies.compile import compile_policies
from gateway.request import Principal
from gateway.resolve import Address
from tests.guard.test_cells import EVERYONE, mesh_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADDRESS = Address("d", "p", "t")


def columns_of(mesh: Mesh, principal: Principal, purpose: str | None = None) -> set[str]:
    index = compile_policies(mesh)
    decision = authorize_tables((ADDRESS,), principal, purpose, NOW, index)
    return {one.name for one in decision.tables[ADDRESS].columns}


def test_a_grant_for_one_purpose_adds_nothing_to_another() -> None:
    always = Grant("always", "d", "p", EVERYONE, columns=frozenset({"id"}))
    audit = Grant("audit", "d", "p", EVERYONE, purposes=frozenset({"audit"}))
    mesh = replace(mesh_of((always, audit)), purposes=(Purpose("audit"), Purpose("other")))
    assert columns_of(mesh, Principal("ada"), "other") == {"id"}
    assert columns_of(mesh, Principal("ada"), "audit") == {"id", "region", "a", "b", "n"}


def test_a_scope_for_one_purpose_shows_no_row_for_another() -> None:
    always = Grant("always", "d", "p", EVERYONE, scope="region = 'EU'")
    audit = Grant("audit", "d", "p", EVERYONE, purposes=frozenset({"audit"}))
    mesh = replace(mesh_of((always, audit)), purposes=(Purpose("audit"), Purpose("other")))
    index = compile_policies(mesh)
    made = authorize_tables((ADDRESS,), Principal("ada"), "other", NOW, index)
    assert [one.grant for one in made.tables[ADDRESS].scopes] == ["always"]


@pytest.mark.parametrize(
    ("team", "region", "served"),
    [("a", "EU", True), ("b", "EU", False), ("a", "US", False), ("", "", False)],
)
def test_a_subject_needs_his_group_and_every_attribute(
    team: str, region: str, served: bool
) -> None:
    wanted = {"team": frozenset({"a"}), "region": frozenset({"EU", "UK"})}
    subjects = Subjects(groups=frozenset({"g"}), attributes=MappingProxyType(wanted))
    mesh = mesh_of((Grant("g", "d", "p", (subjects,)),))
    attributes = {"team": (team,), "region": (region,)} if team else {}
    principal = Principal("ada", frozenset({"g"}), attributes=attributes)
    if served:
        assert columns_of(mesh, principal)
        return
    with pytest.raises(UnknownTable):
        columns_of(mesh, principal)


def test_attributes_do_not_make_up_for_the_group() -> None:
    subjects = Subjects(
        groups=frozenset({"g"}), attributes=MappingProxyType({"team": frozenset({"a"})})
    )
    mesh = mesh_of((Grant("g", "d", "p", (subjects,)),))
    with pytest.raises(UnknownTable):
        columns_of(mesh, Principal("ada", attributes={"team": ("a",)}))


def test_a_decision_is_not_remembered_beyond_its_end() -> None:
    ending = Grant("g", "d", "p", EVERYONE, until=NOW + timedelta(hours=1))
    index = compile_policies(mesh_of((ending,)))
    assert authorize_tables((ADDRESS,), Principal("ada"), None, NOW, index)
    with pytest.raises(UnknownTable):
        authorize_tables((ADDRESS,), Principal("ada"), None, NOW + timedelta(hours=2), index)


def test_a_policy_for_one_purpose_holds_for_it_and_for_no_other() -> None:
    hide = Policy(
        "h", "hide", Match(columns=frozenset({"b"})), purposes=frozenset({"audit"})
    )
    mesh = replace(
        mesh_of((Grant("g", "d", "p", EVERYONE),), (hide,)),
        purposes=(Purpose("audit"), Purpose("other")),
    )
    assert "b" not in columns_of(mesh, Principal("ada"), "audit")
    assert "b" in columns_of(mesh, Principal("ada"), "other")


def test_deny_holds_where_the_directory_is_not_asked() -> None:
    deny = Policy("x", "deny", Match(product="p"))
    with pytest.raises(UnknownTable):
        columns_of(mesh_of((Grant("g", "d", "p", EVERYONE),), (deny,)), Principal("ada"))
