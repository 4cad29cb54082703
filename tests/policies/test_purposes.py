"""Purposes: a declared one, or none; nobody is told those of others.

Takes: a small mesh made of values. Gives: verdicts and listings. The control shows that the same
caller gets an answer with a purpose that exists.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from catalog.model import Mask, Match, Mesh, Policy, Purpose, Subjects
from gateway.authorize import authorize_tables, purposes
from gateway.errors import PurposeRequired
from gateway.policies.compile import compile_policies
from gateway.request import Principal
from gateway.resolve import Address
from tests.guard.test_cells import grant, mesh_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADA = Principal("ada")
TABLE = Address("d", "p", "t")
REQUIRE = Policy("why", "require", Match(table="t"), settings={"purpose": True})
IN_AUDIT = Policy(
    "less", "mask", Match(columns=frozenset({"a"})), mask=Mask("null"),
    purposes=frozenset({"audit"}),
)  # fmt: skip


def mesh(*policies: Policy, allowed: frozenset[str] = frozenset()) -> Mesh:
    made = mesh_of((grant("all", purposes=allowed),), policies)
    return replace(made, purposes=(Purpose("audit", ""), Purpose("sales", "")))


@pytest.mark.parametrize("policies", [(), (REQUIRE,), (IN_AUDIT,)])
def test_a_made_up_purpose_is_none(policies: tuple[Policy, ...]) -> None:
    """It neither fulfils what is required nor steps around what holds for some purposes."""
    index = compile_policies(mesh(*policies))
    with pytest.raises(PurposeRequired, match=r"not ask for .bogus.; .* audit, sales"):
        authorize_tables((TABLE,), ADA, "bogus", NOW, index)
    assert authorize_tables((TABLE,), ADA, "sales", NOW, index).purpose == "sales"


def test_what_is_required_is_asked_for() -> None:
    index = compile_policies(mesh(REQUIRE))
    with pytest.raises(PurposeRequired):
        authorize_tables((TABLE,), ADA, None, NOW, index)


@pytest.mark.parametrize(
    ("allowed", "user", "wanted"),
    [
        (frozenset(), "ada", ("audit", "sales")),
        (frozenset({"sales"}), "ada", ("sales",)),
        (frozenset(), "bob", ()),
    ],
)
def test_purposes_are_ones_own(
    allowed: frozenset[str], user: str, wanted: tuple[str, ...]
) -> None:
    made = mesh(allowed=allowed)
    own = replace(made.grants[0], subjects=(Subjects(users=frozenset({"ada"})),))
    index = compile_policies(replace(made, grants=(own,)))
    assert purposes(index, Principal(user), NOW) == wanted
