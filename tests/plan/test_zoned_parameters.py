"""A moment with a zone, bound as a parameter, means the same wherever it is read.

Takes: the shop over a DuckDB file, which keeps to UTC. Gives: equal answers, pushed down and not,
in sessions of several zones; and that without a zone the query still goes down whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta, timezone

import pytest

from tests.policies.running import Running, running

LATE = datetime(2026, 1, 5, 23, 30, tzinfo=UTC)
EARLY = time(1, 2, tzinfo=timezone(timedelta(hours=3)))
STATEMENTS = (
    ("SELECT id, CAST(? AS DATE) AS d FROM shop.orders ORDER BY 1", LATE),
    ("SELECT id, CAST(? AS VARCHAR) AS s FROM shop.orders ORDER BY 1", LATE),
    ("SELECT id, strftime(?, '%H') AS s FROM shop.orders ORDER BY 1", LATE),
    ("SELECT id FROM shop.orders WHERE born < ? ORDER BY 1", datetime(1815, 12, 9, 20, tzinfo=UTC)),
    ("SELECT id FROM shop.orders WHERE placed = ? ORDER BY 1", LATE),
    ("SELECT id, ? AS t FROM shop.orders ORDER BY 1", EARLY),
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("shop"), {}) as gateway:
        yield gateway


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize(("sql", "value"), STATEMENTS, ids=str)
def test_pushed_or_not(shop: Running, sql: str, value: object, zone: str) -> None:
    pushed, kept = (
        shop.ask(sql, parameters=(value,), timezone=zone, push_down=is_pushed)
        for is_pushed in (True, False)
    )
    assert pushed == kept


def test_without_a_zone_it_goes_down_whole(shop: Running) -> None:
    plan = shop.ask(
        "EXPLAIN SELECT id, CAST(? AS DATE) AS d FROM shop.orders",
        parameters=(LATE.replace(tzinfo=None),), timezone="Asia/Tokyo",
    )  # fmt: skip
    assert {"merge": "none"}.items() <= {row["step"]: row["what"] for row in plan}.items()
