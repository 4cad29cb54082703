"""Cell-wise grants and masks: the guarded relation run over a few rows.

Takes: small meshes made of values. Gives: rows as a caller gets them. The control shows that the
same rows, unguarded, hold what the caller may not see.
"""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pytest

from catalog.model import (
    Column,
    Domain,
    Grant,
    Mask,
    Match,
    Mesh,
    Policy,
    Product,
    Source,
    Subjects,
    Table,
    Taxonomy,
)
from gateway.authorize import authorize, directory, visible
from gateway.bind import bind
from gateway.decision import ColumnDecision
from gateway.errors import InvalidConfig, UnknownColumn, UnknownTable
from gateway.guard import GuardedQuery, guard
from gateway.masks import mask_expression
from gateway.parse import parse
from gateway.plan import plan
from gateway.policies.compile import compile_policies
from gateway.request import Principal, Request
from gateway.resolve import resolve

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ZONED = "TIMESTAMP WITH TIME ZONE"
EVERYONE = (Subjects(everyone=True),)
ROWS = [
    (1, "EU", "a1", "b1", 10),
    (2, "US", "a2", "b2", 25),
    (3, None, "a3", "b3", None),
    (4, "EU", None, "b4", -7),
]
COLUMNS = {"id": "INTEGER", "region": "VARCHAR", "a": "VARCHAR", "b": "VARCHAR", "n": "INTEGER"}


def mesh_of(grants: tuple[Grant, ...], policies: tuple[Policy, ...] = ()) -> Mesh:
    columns = tuple(
        Column(name, kind, name, tags=frozenset({f"t.{name}"})) for name, kind in COLUMNS.items()
    )
    product = Product("d", "p", "1.0.0", "active", "d.s", (Table("t", "t", columns),), "c")
    domain = Domain("d", "", ("x",), (Source("d", "s", "duckdb"),))
    return Mesh("r", (domain,), (product,), grants, policies, (), Taxonomy(), (), ("g",))


def grant(name: str, columns: str | None = None, scope: str | None = None, **more: object) -> Grant:
    chosen = frozenset(columns.split()) if columns is not None else None
    return Grant(name, "d", "p", EVERYONE, columns=chosen, scope=scope, **more)  # type: ignore[arg-type]  # fields by name


def mask(column: str, made: Mask) -> Policy:
    return Policy(f"m-{column}-{made.kind}", "mask", Match(columns=frozenset({column})), mask=made)


def guarded_of(mesh: Mesh, sql: str) -> GuardedQuery:
    index = compile_policies(mesh)
    principal = Principal("ada")
    request = Request(sql=sql, principal=principal, now=NOW, query_id="q")
    resolved = resolve(parse(request), directory(index, principal, NOW), None)
    decision = authorize(resolved, request, index)
    return guard(bind(resolved, visible(decision)), decision)


def rows_of(mesh: Mesh, sql: str = "select * from d.p order by 1") -> list[tuple[object, ...]]:
    """The query over the guarded relations, each a statement of its own."""
    guarded = guarded_of(mesh, sql)
    connection = duckdb.connect()
    body = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    connection.execute(f"CREATE TABLE raw ({body})")
    connection.executemany("INSERT INTO raw VALUES (?,?,?,?,?)", [list(one) for one in ROWS])
    connection.create_function(
        "pseudonym",
        lambda value, group: f"p({value})",
        ["VARCHAR", "VARCHAR"],
        "VARCHAR",
    )
    for one in guarded.relations.values():
        values = ", ".join(f'{c.expression.sql("duckdb")} AS "{c.name}"' for c in one.columns)
        where = " AND ".join(f"({f.sql}) IS TRUE" for f in one.filters) or "TRUE"
        connection.execute(f'CREATE TABLE "{one.name}" AS SELECT {values} FROM raw WHERE {where}')
    found = connection.sql(guarded.tree.sql("duckdb")).fetchall()
    connection.close()
    return found


def test_two_grants_show_no_cell_that_neither_shows() -> None:
    """Rule 2: of an EU row the US grant's column stays NULL."""
    mesh = mesh_of(
        (
            grant("eu", "id region a", "region = 'EU'"),
            grant("us", "id region b", "region = 'US'"),
        )
    )
    assert rows_of(mesh) == [
        (1, "EU", "a1", None),
        (2, "US", None, "b2"),
        (4, "EU", None, None),
    ]


def test_a_predicate_on_an_uncovered_cell_sees_null() -> None:
    mesh = mesh_of(
        (
            grant("eu", "id region a", "region = 'EU'"),
            grant("us", "id region b", "region = 'US'"),
        )
    )
    assert rows_of(mesh, "select id from d.p where b = 'b1'") == []
    assert rows_of(mesh, "select id from d.p where b is null order by 1") == [(1,), (4,)]


@pytest.mark.parametrize(
    ("grants", "wanted"),
    [
        ((grant("all"),), [1, 2, 3, 4]),
        ((grant("eu", None, "region = 'EU'"),), [1, 4]),
        ((grant("eu", None, "region = 'EU'"), grant("us", None, "region = 'US'")), [1, 2, 4]),
        ((grant("eu", None, "region = 'EU'"), grant("all", "id")), [1, 2, 3, 4]),
        ((grant("none", None, "region = 'XX'"),), []),
        ((grant("not", None, "region <> 'EU'"),), [2]),
        ((grant("n", None, "n > 9 OR n < 0"),), [1, 2, 4]),
        ((grant("null", None, "region IS NULL"),), [3]),
        ((grant("never", None, "region = NULL"),), []),
    ],
)
def test_scopes(grants: tuple[Grant, ...], wanted: list[int]) -> None:
    """NULL in a condition counts as false; scopes are alternatives."""
    assert [row[0] for row in rows_of(mesh_of(grants), "select id from d.p order by id")] == wanted


def test_filters_restrict_whatever_is_granted() -> None:
    policy = Policy("f", "filter", Match(table="t"), filter="region = 'EU'")
    second = Policy("g", "filter", Match(table="t"), filter="n > 0")
    assert rows_of(mesh_of((grant("all"),), (policy, second)), "select id from d.p") == [(1,)]


@pytest.mark.parametrize(
    ("made", "column", "wanted"),
    [
        (Mask("null"), "a", [None, None, None, None]),
        (Mask("constant", value="x"), "a", ["x", "x", "x", "x"]),
        (Mask("constant", value="7"), "n", [7, 7, 7, 7]),
        (Mask("pseudonym", join_group="g"), "a", ["p(a1)", "p(a2)", "p(a3)", None]),
        (Mask("partial", keep_last=1), "a", ["*1", "*2", "*3", None]),
        (Mask("partial", keep_first=1), "a", ["a*", "a*", "a*", None]),
        (Mask("partial", keep_first=1, keep_last=1), "a", ["**", "**", "**", None]),
        (Mask("bucket", size="10"), "n", [10, 20, None, -10]),
    ],
)
def test_masks(made: Mask, column: str, wanted: list[object]) -> None:
    mesh = mesh_of((grant("all"),), (mask(column, made),))
    assert [row[0] for row in rows_of(mesh, f"select {column} from d.p order by id")] == wanted


def test_the_strictest_mask_wins() -> None:
    mesh = mesh_of(
        (grant("all"),), (mask("a", Mask("partial", keep_last=1)), mask("a", Mask("null")))
    )
    assert rows_of(mesh, "select distinct a from d.p") == [(None,)]


def test_a_hidden_column_does_not_exist() -> None:
    hide = Policy("h", "hide", Match(columns=frozenset({"b"})))
    mesh = mesh_of((grant("all"),), (hide,))
    assert len(rows_of(mesh)[0]) == 4
    with pytest.raises(UnknownColumn):
        rows_of(mesh, "select b from d.p")


def test_two_masks_of_one_rank_are_refused_at_load() -> None:
    policies = (mask("a", Mask("partial", keep_last=1)), mask("a", Mask("partial", keep_last=2)))
    with pytest.raises(InvalidConfig, match="one rank"):
        compile_policies(mesh_of((grant("all"),), policies))


@pytest.mark.parametrize(
    "grants",
    [
        (),
        (grant("later", valid_from=datetime(2027, 1, 1, tzinfo=UTC)),),
        (grant("over", until=NOW),),
    ],
)
def test_without_an_active_grant_there_is_no_table(grants: tuple[Grant, ...]) -> None:
    with pytest.raises(UnknownTable):
        rows_of(mesh_of(grants))


def test_deny_wins() -> None:
    deny = Policy("d", "deny", Match(product="p"))
    with pytest.raises(UnknownTable):
        rows_of(mesh_of((grant("all"),), (deny,)))


def test_only_guard_makes_a_guarded_query() -> None:
    """Building one elsewhere raises, and plan() takes nothing else."""
    made = guarded_of(mesh_of((grant("all"),)), "select 1 from d.p")
    with pytest.raises(TypeError):
        GuardedQuery(
            object(),
            tree=made.tree,
            relations=made.relations,
            decision=made.decision,
            outputs=made.outputs,
            parameters=0,
        )
    with pytest.raises(TypeError):
        plan(made.tree, None)  # type: ignore[arg-type]  # what the type checker refuses too


def test_control_the_raw_rows_hold_more() -> None:
    """The probe bites: without the guard the hidden cells are there."""
    assert ROWS[0][3] == "b1"
    assert rows_of(mesh_of((grant("all"),)), "select b from d.p where id = 1") == [("b1",)]


@pytest.mark.parametrize("unit", ["day", "year"])
def test_a_bucket_of_moments_does_not_move_with_the_callers_time_zone(unit: str) -> None:
    """With edges that move he would see where between two of them a moment lies."""
    made = ColumnDecision("at", ZONED, ZONED, "bucket", "p", {"unit": unit})
    plain = f"date_trunc('{unit}', \"at\")"
    seen: dict[str, set[object]] = {mask_expression(made).sql("duckdb"): set(), plain: set()}
    for zone in ("UTC", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Kiritimati"):
        connection = duckdb.connect()
        connection.execute(f"SET TimeZone = '{zone}'")
        connection.execute(f"CREATE TABLE raw (\"at\" {ZONED})")
        connection.execute(
            "INSERT INTO raw VALUES ('2013-01-01 03:00:00+00'), ('infinity'), (NULL)"
        )
        for text, answers in seen.items():
            sql = f"SELECT epoch({text}) FROM raw"
            answers.add(tuple(row[0] for row in connection.execute(sql).fetchall()))
        connection.close()
    masked, control = seen.values()
    assert masked == {(1356998400.0, None, None)}
    assert len(control) > 1
