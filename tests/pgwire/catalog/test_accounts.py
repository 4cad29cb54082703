"""Questions to the catalogs are counted, bounded, recorded and stopped as every statement is."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gateway.audit import AuditedQuery, requests, verify
from gateway.past import Past
from gateway.policies.simulate import distinct
from gateway.request import Principal
from tests.pgwire.catalog.conftest import Connection
from tests.pgwire.catalog.mesh import serving
from tests.pgwire.catalog.test_bounds import HEAVY
from tests.pgwire.small import DOMAIN, Small

ASKED = "select relname from pg_class where relname = 'orders' and relkind = 'r'"
ALL = Principal("all")


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """Two requests of a budget, and one statement at a time."""
    limits = {"limits": {"requests_per_second": 1, "concurrency": 1}}
    with serving(tmp_path_factory.mktemp("accounts"), limits) as made:
        yield made


@pytest.fixture
def connection(bounded: Small) -> Iterator[Connection]:
    limiter = bounded.opened.gateway.services.limiter
    limiter._clock = lambda: 0.0  # nothing is filled up again
    limiter._budgets.clear()
    with bounded.connect("all", dbname=DOMAIN) as made:
        yield made


def audited(small: Small, text: str) -> list[AuditedQuery]:
    """The records of statements that hold a text."""
    engine = small.opened.state
    assert not verify(engine).flaws
    return [one for one in requests(engine) if text in one.statement]


def counted(small: Small, outcome: str) -> float:
    metrics = small.opened.gateway.services.metrics
    return float(metrics._requests.labels("postgres", outcome)._value.get())


def test_a_bundle_is_one_request(connection: Connection) -> None:
    """Twenty are one request; of the two in the budget forty can be asked, and then nothing."""
    for _ in range(40):
        connection.execute(ASKED.encode())
    for sql in (ASKED, "select order_id from orders.orders"):
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded, match="faster"):
            connection.execute(sql.encode())


def test_queries_and_questions_have_one_budget(connection: Connection) -> None:
    connection.execute("select order_id from orders.orders")
    for _ in range(20):
        connection.execute(ASKED.encode())
    with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
        connection.execute("select order_id from orders.orders")


@contextlib.contextmanager
def running(small: Small) -> Iterator[tuple[Connection, list[str | None]]]:
    """A question that does not end by itself, and what became of it."""
    told: list[str | None] = []
    with small.connect("all", dbname=DOMAIN) as made:

        def ask() -> None:
            try:
                made.execute(HEAVY.encode())
            except psycopg.Error as error:
                told.append(error.sqlstate)

        thread = threading.Thread(target=ask)
        thread.start()
        queries = small.opened.gateway.services.queries
        until = time.monotonic() + 60
        while not queries.list(ALL) and time.monotonic() < until:
            time.sleep(0.01)
        try:
            yield made, told
        finally:
            made.cancel_safe()
            thread.join(60)


def test_it_is_one_of_those_that_run_at_once(bounded: Small, connection: Connection) -> None:
    with running(bounded):
        for sql in (ASKED, "select order_id from orders.orders"):
            with pytest.raises(psycopg.errors.ConfigurationLimitExceeded, match="1 statements"):
                connection.execute(sql.encode())
    assert connection.execute(ASKED.encode()).fetchall() == [("orders",)]


def test_it_is_listed_and_stopped_by_its_id(bounded: Small, connection: Connection) -> None:
    queries = bounded.opened.gateway.services.queries
    with running(bounded) as (_, told):
        (one,) = queries.list(ALL)
        assert (one.endpoint, one.statement) == ("postgres", HEAVY)
        assert not queries.list(Principal("part"))
        began = time.monotonic()
        connection.execute(f"kill query '{one.query_id}'".encode())
        while queries.list(ALL) and time.monotonic() < began + 60:
            time.sleep(0.01)
        assert not queries.list(ALL)
    assert told == ["57014"]
    assert audited(bounded, "a.attname || b.attname")[-1].outcome == "cancelled"


@pytest.mark.parametrize("how", ["simple", "extended", "copy", "cursor"])
def test_it_is_recorded(bounded: Small, connection: Connection, how: str) -> None:
    marked = f"select relname from pg_class where relname = 'orders' and '{how}' <> ''"
    before = counted(bounded, "ok")
    match how:
        case "copy":
            with connection.cursor().copy(f"copy ({marked}) to stdout") as copied:
                assert len(list(copied)) == 1
        case "cursor":
            with connection.cursor("held", withhold=True) as cursor:
                assert len(cursor.execute(marked.encode()).fetchall()) == 1
        case _:
            connection.execute(marked.encode(), prepare=how == "extended")
    (one,) = audited(bounded, f"'{how}' <> ''")
    assert (one.kind, one.outcome, one.user, one.endpoint) == ("catalog", "ok", "all", "postgres")
    assert (one.rows, one.products, one.dialect) == (1, (), "postgres")
    assert counted(bounded, "ok") == before + 1


REFUSED = {
    "select 'a1' from pg_catalog.pg_nothing": "unsupported_sql",
    "select 'a2', pg_nothing(oid) from pg_class": "unsupported_sql",
    "select 'a3'::text, 'nothing'::regclass": "unknown_table",
    "select 'a4', nothing from pg_class": "unknown_column",
    "select 'a5' from pg_class, orders.orders": "unsupported_sql",
    "select 'a6' from pg_class where": "parse_error",
}


@pytest.mark.parametrize("prepared", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("sql", REFUSED)
def test_what_is_refused_is_recorded_once(
    bounded: Small, connection: Connection, sql: str, prepared: bool
) -> None:
    marked = sql.replace("'a", f"'{'b' if prepared else 'c'}")
    before = counted(bounded, REFUSED[sql])
    with pytest.raises(psycopg.Error):
        connection.execute(marked.encode(), prepare=prepared)
    (one,) = audited(bounded, marked[7:11])
    assert (one.kind, one.outcome, one.code) == ("catalog", "refused", REFUSED[sql])
    assert counted(bounded, REFUSED[sql]) == before + 1


def test_no_decision_is_computed_again_for_it(bounded: Small, connection: Connection) -> None:
    """What was asked of products alone is tried under a changed mesh, and recomputed."""
    connection.execute("select 'again' from pg_class")
    connection.execute("select order_id, 'again' from orders.orders")
    engine = bounded.opened.state
    assert {one.newest.kind for one in distinct(requests(engine))} == {"query"}
    asked, _ = audited(bounded, "'again'")
    found = Past(engine).explain_query(asked.query_id)
    assert (found.comparison, "without a decision" in found.why) == ("unknown", True)


def test_over_a_limit_is_recorded(bounded: Small, connection: Connection) -> None:
    for _ in range(40):
        connection.execute(ASKED.encode())
    with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
        connection.execute("select 'over' from pg_class")
    (one,) = audited(bounded, "'over'")
    assert (one.kind, one.outcome, one.code) == ("catalog", "refused", "rate_limited")


def test_the_audit_as_a_product_tells_them_apart(tmp_path: Path) -> None:
    with serving(tmp_path) as small, small.connect("all", dbname=DOMAIN) as connection:
        connection.execute(ASKED.encode())
        connection.execute("select order_id from orders.orders")
        rows = connection.execute(
            "select kind, count(*) from mesh.audit.queries group by kind order by kind"
        ).fetchall()
    assert rows == [("catalog", 1), ("query", 2)]
