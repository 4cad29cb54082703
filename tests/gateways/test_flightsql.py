"""A mesh of meshes: two policies, two identities, one answer."""

from __future__ import annotations

import threading
import time

import pytest

from connectors.base import ConnectorRefused, Fragment, FragmentColumn, load_connector
from gateway.errors import (
    AccessDenied,
    PurposeRequired,
    SqluiceError,
    UnsupportedSql,
    refused_by_source,
)
from gateway.opening import settings_of
from gateway.pools import Caller
from gateway.source_check import check_sources
from tests.gateways.conftest import TYPES, Pair
from tests.small_mesh import answer, principal, request

ALL = "SELECT id FROM hub.orders ORDER BY id"


def ids(pair: Pair, condition: str) -> list[object]:
    found = pair.expected(f"SELECT id FROM orders WHERE {condition} ORDER BY id")
    return [one.as_py() for one in found["id"]]


def test_each_caller_gets_his_own_rows(pair: Pair) -> None:
    """By his rights at the far gateway; the service account itself has them all."""
    for _ in range(2):  # the second time from pooled connections
        assert pair.ask("amy", ALL)["id"].to_pylist() == ids(pair, "region = 'north'")
        assert pair.ask("ben", ALL)["id"].to_pylist() == ids(pair, "region = 'south'")
    assert answer(pair.service, "amy", ALL)["id"].to_pylist() == ids(pair, "true")
    assert answer(pair.service, "ben", ALL)["id"].to_pylist() == ids(pair, "true")


def test_masks_and_filters_of_both_hold(pair: Pair) -> None:
    seen = pair.ask("amy", "SELECT DISTINCT email FROM hub.orders ORDER BY 1")
    assert seen["email"].to_pylist() == ["hidden"]
    seen = pair.ask("ben", "SELECT email FROM hub.orders ORDER BY id LIMIT 1")
    assert seen["email"].to_pylist() == ["u1@example.org"]
    seen = pair.ask("amy", "SELECT id FROM hub.small ORDER BY id")
    assert seen["id"].to_pylist() == ids(pair, "region = 'north' AND amount < 200")


def test_a_caller_whom_the_other_does_not_know(pair: Pair) -> None:
    """Refused in our words, and nobody else's rows."""
    for user in ("zoe", "josé"):
        with pytest.raises(AccessDenied) as caught:
            pair.ask(user, ALL)
        assert "hub.orders" in caught.value.message
        assert "act as" not in caught.value.message and user in str(caught.value.private)
    # Known there, and without a grant.
    with pytest.raises(AccessDenied):
        pair.ask("kim", ALL)


def test_names_beyond_ascii_arrive(pair: Pair) -> None:
    """A name is percent-encoded on the way and read back."""
    with pytest.raises(AccessDenied) as caught:
        pair.ask("josé", ALL)
    assert "'josé'" in str(caught.value.private)


def test_the_far_audit_names_the_caller(pair: Pair) -> None:
    """Who asks there is ben, not the account that stands in for him."""
    own = "SELECT count(*) AS n FROM mesh.audit.queries WHERE columns_read LIKE '%orders.small%'"
    sql = "SELECT sum(small) FROM hub.orders WHERE id > -12"

    def counts() -> list[int]:
        return [answer(pair.far, user, own)["n"][0].as_py() for user in ("ben", "gate")]

    ben, gate = counts()
    pair.ask("ben", sql)
    assert counts() == [ben + 1, gate]


def test_the_purpose_goes_along(pair: Pair) -> None:
    sql = "SELECT count(*) AS n FROM hub.reasons"
    assert pair.ask("amy", sql, purpose="audit")["n"].to_pylist() == [200_000]
    for purpose in (None, "other"):
        with pytest.raises((PurposeRequired, AccessDenied)) as caught:
            pair.ask("amy", sql, purpose=purpose)
        assert "hub.reasons" in caught.value.message


def test_types_survive(pair: Pair) -> None:
    shown = ", ".join(name for name in TYPES if name != "email")
    wanted = pair.expected(f"SELECT {shown} FROM orders WHERE region = 'north' ORDER BY id")
    found = pair.ask("amy", f"SELECT {shown} FROM hub.orders ORDER BY id")
    assert found.schema.types == wanted.schema.types
    assert str(found.to_pydict()) == str(wanted.to_pydict())  # as text, since NaN is not NaN


QUERIES = (
    "SELECT region, sum(amount) AS s, avg(ratio) FILTER (id < 7) AS a, min(day) AS d, "
    "count(DISTINCT flag) AS f FROM {t} GROUP BY region HAVING count(*) > 1 ORDER BY 1",
    "SELECT a.id, b.id AS other FROM {t} a LEFT JOIN {t} b ON a.id = b.id + 3 ORDER BY ALL",
    "SELECT id, row_number() OVER (PARTITION BY flag ORDER BY id DESC) AS n FROM {t} ORDER BY id",
    "SELECT id FROM {t} WHERE zoned >= TIMESTAMPTZ '2024-03-31 05:00:00+00' ORDER BY id",
    "SELECT id, tags[3] AS tag, len(days) AS days FROM {t} WHERE region LIKE 'n%' ORDER BY id",
    "SELECT count(*) AS n FROM {t} WHERE id IN (SELECT id FROM {t} WHERE small < -5)",
    "SELECT sum(large) AS s, sum(huge) / 3 AS h FROM {t} WHERE id < 4",
    "WITH x AS (SELECT id, day - DATE '1969-12-31' AS d FROM {t}) SELECT * FROM x "
    "UNION ALL SELECT 1, NULL ORDER BY ALL",
    "SELECT upper(region) || id AS x, coalesce(flag, true) AS y FROM {t} ORDER BY id DESC LIMIT 3",
)


@pytest.mark.parametrize("sql", QUERIES)
@pytest.mark.parametrize("push_down", [True, False])
def test_answers_are_duckdbs(pair: Pair, sql: str, push_down: bool) -> None:
    """Pushed to the other gateway or pulled from it, over what amy may see there."""
    permitted = "(SELECT * FROM orders WHERE region = 'north')"
    wanted = pair.expected(sql.format(t=permitted))
    found = pair.ask("amy", sql.format(t="hub.orders"), push_down=push_down)
    assert found.schema.types == wanted.schema.types
    assert str(found.to_pydict()) == str(wanted.to_pydict())


PARAMETERS = (
    ("SELECT id FROM hub.orders WHERE id > ? AND region = ? ORDER BY id", (5, "north")),
    ("SELECT id FROM hub.orders WHERE amount = $1 OR id = $2 ORDER BY id", ("92.25", 2**63 - 1)),
    ("SELECT id, $1 AS x FROM hub.orders WHERE email = $2 ORDER BY id", ("it''s ; --", "hidden")),
    ("SELECT count(*) AS n FROM hub.orders WHERE large > ?", (2**70,)),
    ("SELECT id FROM hub.orders WHERE region = ?", (None,)),
)


@pytest.mark.parametrize(("sql", "values"), PARAMETERS)
def test_parameters_are_bound(pair: Pair, sql: str, values: tuple[object, ...]) -> None:
    plain = "(SELECT * REPLACE ('hidden' AS email) FROM orders WHERE region = 'north')"
    wanted = pair.rows.execute(sql.replace("hub.orders", plain), list(values)).fetchall()
    found = pair.ask("amy", sql, parameters=values)
    assert list(zip(*found.to_pydict().values(), strict=True)) == wanted


def plan_of(pair: Pair, user: str, sql: str) -> str:
    return str(pair.ask(user, f"EXPLAIN {sql}").to_pylist())


def test_whole_blocks_go_there(pair: Pair) -> None:
    """A table that is all clear here needs no barrier: the far gateway guards it."""
    shown = plan_of(pair, "amy", "SELECT region, sum(id) FROM hub.orders GROUP BY region")
    assert "SUM(" in shown.upper().split("MERGE")[0]


REFUSED = (
    ("SELECT gone FROM hub.moved", "access_denied"),
    ("SELECT n FROM hub.reasons", "purpose_required"),
)


@pytest.mark.parametrize(("sql", "code"), REFUSED)
def test_refusals_come_back_clean(pair: Pair, sql: str, code: str) -> None:
    """A code of ours and words of ours; theirs are for the log."""
    with pytest.raises(SqluiceError) as caught:
        pair.ask("amy", sql)
    error = caught.value
    assert error.code == code
    assert "hub." in error.message and "sales" not in error.message + error.remedy
    assert error.private


@pytest.mark.parametrize("sql", ["SELECT id FROM sales.orders TABLESAMPLE 10%", "PIVOT x ON y"])
def test_what_the_other_does_not_serve(pair: Pair, sql: str) -> None:
    """Told as such, under the product's name here and without the other's words."""
    source = pair.near.publisher.current().mesh.sources["hub.held"]
    lease = pair.near.pools.on_behalf_of(Caller("amy")).lease(source)
    with pytest.raises(ConnectorRefused) as caught, lease as connection:
        list(connection.stream(Fragment(sql, (FragmentColumn("id", "INTEGER"),), ())))
    assert caught.value.code == "unsupported_sql"
    told = refused_by_source(caught.value.code, "hub.orders", str(caught.value))
    assert isinstance(told, UnsupportedSql)
    assert str(caught.value) == told.private and "TABLESAMPLE" not in told.message


def far_queries(pair: Pair) -> int:
    return len(pair.far.queries.list(principal(pair.far, "amy")))


SLOW = (
    "SELECT count(*) AS n FROM hub.many a, hub.many b, hub.many c WHERE a.n < b.n AND b.n < c.n"
)


@pytest.mark.parametrize("sql", [SLOW, SLOW.replace("count(*) AS n", "a.n")])
def test_a_cancel_reaches_the_far_gateway(pair: Pair, sql: str) -> None:
    """While it has no row yet, and between rows."""
    asked = request(pair.near, "amy", sql)

    def cancel() -> None:
        deadline = time.monotonic() + 60
        while not far_queries(pair) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        seen.append(far_queries(pair))
        pair.near.gateway.cancel(asked.query_id, asked.principal)
        cancelled.append(time.monotonic())

    seen: list[int] = []
    cancelled: list[float] = []
    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(SqluiceError) as caught:
        for _ in pair.near.gateway.answer(asked).batches():
            pass
    canceller.join()
    assert caught.value.code == "cancelled"
    assert seen == [1]
    while far_queries(pair) and time.monotonic() < cancelled[0] + 60:
        time.sleep(0.02)
    assert far_queries(pair) == 0


def test_who_leaves_stops_the_far_gateway(pair: Pair) -> None:
    result = pair.near.gateway.answer(request(pair.near, "amy", "SELECT n FROM hub.many"))
    batches = result.batches()
    next(batches)
    batches.close()  # type: ignore[attr-defined]  # a generator
    deadline = time.monotonic() + 60
    while far_queries(pair) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert far_queries(pair) == 0


def test_contracts_are_compared_with_the_far_products(pair: Pair) -> None:
    """As the account of the source may know them; no row is read, and for nobody."""
    opened = pair.near
    mesh = opened.publisher.current().mesh
    settings = settings_of(opened.config, lambda: mesh)
    problems = check_sources(
        mesh, lambda source: load_connector(source.kind).connect(settings(source))
    )
    wrong = [one for one in problems if not one.is_warning and one.source == "hub.held"]
    assert {one.code for one in wrong} == {"missing_table", "missing_column"}
    assert {one.message.split(":")[0] for one in wrong} == {
        "hub.moved.moved.gone", "hub.reasons.reasons",
    }  # fmt: skip
