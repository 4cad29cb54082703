"""Every form of EXPLAIN hides alike what hidden rows, policies and keys hold.

Takes: the two worlds. Gives: equal explanations for callers, whatever the form; no literal of a
policy and no key in any. The controls: an operator's figures tell the worlds apart in each form,
and the statements that are sent hold the literals that are not shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway import loading
from gateway.identity import principal_of
from gateway.parse import parse
from gateway.prepare import prepare
from gateway.queries import OPERATOR
from gateway.request import Limits, Request
from gateway.sessions import new_query_id
from tests.differential.test_keys import always
from tests.leaks.test_noninterference import statement
from tests.leaks.worlds import KINDS, World

FORMS = ("text", "json", "mermaid")
# By user what his policies hold, which nobody is to read.
LITERALS = {"folded": "delta", "dated": "2013"}
SQL = (
    "select p.tenant, count(*) as n from {t} p join {x} x on x.id = p.id where p.number > 1 "
    "and upper(p.note) <> 'x' group by p.tenant"
)
WHOLE = "select p.id, p.secret from {t} p where p.id >= 0"


def request_of(world: World, user: str, sql: str, roles: frozenset[str]) -> Request:
    """A request of a user of a world, with other roles."""
    users = world.opened.publisher.current().mesh.users
    principal = principal_of(next(one for one in users if one.name == user))
    return Request(
        sql=sql, principal=replace(principal, roles=roles), now=datetime.now(UTC),
        query_id=new_query_id(), limits=Limits(seconds=30), link_cost="dear",
    )  # fmt: skip


def explained(
    world: World, user: str, sql: str, roles: frozenset[str] = frozenset()
) -> str:
    """All text of an explanation."""
    result = world.opened.gateway.answer(request_of(world, user, sql, roles))
    rows: Iterator[dict[str, str]] = (
        row for batch in result.batches() for row in batch.to_pylist()
    )
    return "\n".join("|".join(row.values()) for row in rows)


@pytest.mark.parametrize("kind", KINDS)
def test_no_form_tells_the_worlds_apart(worlds: list[World], kind: str) -> None:
    for user, sql in (("filter", WHOLE), ("folded", SQL)):
        asked = statement(sql, kind, "people")
        for form in FORMS:
            for analyze in ("", "ANALYZE, "):
                calm, wild = (
                    explained(one, user, f"EXPLAIN ({analyze}FORMAT {form}) {asked}")
                    for one in worlds
                )
                assert calm == wild, (form, analyze, sql)


@pytest.mark.parametrize("form", FORMS)
def test_control_an_operator_is_told_what_was_fetched(worlds: list[World], form: str) -> None:
    """Rows that the gateway hides itself are fetched, and counted for him."""
    asked = f"EXPLAIN (ANALYZE, FORMAT {form}) {statement(WHOLE, 'sqlite', 'people')}"
    calm, wild = (
        explained(one, "folded", asked, frozenset({OPERATOR})) for one in worlds
    )
    counts = {"text": "fetched rows|{}", "json": '"rows": {}', "mermaid": "{} rows, "}
    assert counts[form].format(5) in calm
    assert counts[form].format(8) in wild


@pytest.mark.parametrize("user", LITERALS)
def test_no_literal_of_a_policy_in_any_form(worlds: list[World], user: str) -> None:
    sent = False
    for kind in KINDS:
        asked = statement(WHOLE, kind, "people").replace(">= 0", "is not null")
        for roles in (frozenset[str](), frozenset({OPERATOR})):
            for form in FORMS:
                told = explained(worlds[0], user, f"EXPLAIN (FORMAT {form}) {asked}", roles)
                assert LITERALS[user] not in told, (kind, form)
                # A picture cuts long statements.
                assert f"rows-{user}" in told or form == "mermaid"
        request = request_of(worlds[0], user, asked, frozenset())
        opened = worlds[0].opened
        plan = prepare(
            request, parse(request), opened.publisher.current(), opened.gateway.services
        ).plan
        texts = [
            f"{one.fragment.sql} {one.fragment.parameters} {one.gate}" for one in plan.fragments
        ]
        sent = sent or any(LITERALS[user] in text for text in texts)
    assert sent, "the control: what is sent holds it"


def test_keys_are_never_shown(worlds: list[World], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those that were sent, to nobody; the control is their number, and the answer."""
    monkeypatch.setattr(loading, "choose", always)
    keys = (
        "select p.note, q.note as other from leaks.postgres.people p join leaks.sqlite.people q "
        "on q.note = p.note where p.id = 2"
    )
    assert "beta|beta" in explained(worlds[0], "filter", keys)
    for form in FORMS:
        asked = f"EXPLAIN (ANALYZE, FORMAT {form}) {keys}"
        assert "beta" not in explained(worlds[0], "filter", asked, frozenset({OPERATOR}))
    asked = f"EXPLAIN ANALYZE {keys}"
    assert "keys sent|1|" in explained(worlds[0], "filter", asked, frozenset({OPERATOR}))


def test_a_policy_that_stays_is_named_and_its_owner_advised(worlds: list[World]) -> None:
    """Without its literal; the control is a policy that the source decides itself."""
    asked = f"EXPLAIN {statement('select p.id from {t} p', 'sqlite', 'people')}"
    for user, stays in (("folded", True), ("filter", False)):
        told = explained(worlds[0], user, asked)
        assert (f"stayed|<rows-{user}>|policy_not_exact" in told) is stays
        assert "write the policy with comparisons" not in told
    operator = explained(worlds[0], "folded", asked, frozenset({OPERATOR}))
    assert "write the policy with comparisons" in operator
