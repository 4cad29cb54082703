"""The engine spec of Superset over the sample mesh, with stand-ins for what it takes of Superset.

Takes: the spec, a gateway. Gives: what Superset would send and show. Never imports Superset: the
walk in `superset/walk.py` goes through it.
"""

from __future__ import annotations

import enum
import importlib
import re
import sys
import threading
import types
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

import sqluice
from gateway.serve.flight.server import FlightEndpoint
from tests.client.test_connection import ENDLESS
from tests.sample import SampleMesh
from tests.served import within

GRAINS = {
    "SECOND": "PT1S", "MINUTE": "PT1M", "FIVE_MINUTES": "PT5M", "TEN_MINUTES": "PT10M",
    "FIFTEEN_MINUTES": "PT15M", "THIRTY_MINUTES": "PT30M", "HOUR": "PT1H", "DAY": "P1D",
    "WEEK": "P1W", "MONTH": "P1M", "QUARTER": "P3M", "YEAR": "P1Y",
}  # fmt: skip
CARRIERS = "SELECT DISTINCT carrier FROM departures.flights ORDER BY carrier"


class Base:
    """Of Superset's own spec what ours falls back to."""

    @classmethod
    def _extract_error_message(cls, ex: Exception) -> str:
        return "Superset's own words"


@pytest.fixture(scope="module")
def spec() -> Iterator[Any]:
    """Our spec, imported inside what it takes for Superset."""
    grain: Any = enum.StrEnum("TimeGrain", GRAINS)  # type: ignore[misc]  # made of a mapping
    kinds: Any = enum.Enum("GenericDataType", ["NUMERIC", "STRING", "TEMPORAL", "BOOLEAN"])  # type: ignore[misc]  # made here
    held: dict[str, dict[str, Any]] = {
        "superset": {}, "superset.constants": {"TimeGrain": grain},
        "superset.db_engine_specs": {}, "superset.db_engine_specs.base": {"BaseEngineSpec": Base},
        "superset.sql": {}, "superset.sql.parse": {"SQLGLOT_DIALECTS": {"duckdb": "DuckDB"}},
        "superset.utils": {}, "superset.utils.core": {"GenericDataType": kinds},
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, content in held.items():
            module = types.ModuleType(name)
            vars(module).update(content)
            patch.setitem(sys.modules, name, module)
        patch.delitem(sys.modules, "sqluice.superset", raising=False)
        yield importlib.import_module("sqluice.superset").SqluiceEngineSpec
        assert held["superset.sql.parse"]["SQLGLOT_DIALECTS"]["sqluice"] == "DuckDB"
    sys.modules.pop("sqluice.superset", None)


@pytest.fixture(scope="module")
def host(sample: SampleMesh) -> Iterator[str]:
    """Where the sample mesh is served."""
    endpoint = FlightEndpoint(sample.opened, "127.0.0.1", 0)
    yield f"127.0.0.1:{endpoint.start()}"
    endpoint.stop()


def url_of(host: str, user: str = "nora") -> sa.URL:
    """The address of a database in Superset."""
    return make_url(f"sqluice://{user}:{user}-demo@{host}/operations")


def told(url: sa.URL, sql: str) -> list[Any]:
    """The first column of an answer."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return list(connection.scalars(sa.text(sql)))
    finally:
        engine.dispose()


def test_grains(spec: Any, host: str) -> None:
    grains: dict[str | None, str] = spec._time_grain_expressions
    assert set(grains) == {None, *GRAINS.values()}
    moment = "TIMESTAMP '2013-08-15 13:47:52.5'"
    columns = ", ".join(
        f"CAST({one.format(col=moment)} AS VARCHAR) AS g{place}"
        for place, one in enumerate(grains.values())
    )
    with sqluice.connect(f"grpc://{host}", user="nora", password="nora-demo") as connection:
        (row,) = connection.execute(f"SELECT {columns}").fetchall()
    cut = dict(zip(grains, row, strict=True))
    assert cut.pop(None) == "2013-08-15 13:47:52.5"
    short = {one: text.removesuffix(":00").removesuffix(" 00:00") for one, text in cut.items()}
    assert short == {
        "PT1S": "2013-08-15 13:47:52", "PT1M": "2013-08-15 13:47", "PT5M": "2013-08-15 13:45",
        "PT10M": "2013-08-15 13:40", "PT15M": "2013-08-15 13:45", "PT30M": "2013-08-15 13:30",
        "PT1H": "2013-08-15 13:00", "P1D": "2013-08-15", "P1W": "2013-08-12", "P1M": "2013-08-01",
        "P3M": "2013-07-01", "P1Y": "2013-01-01",
    }  # fmt: skip


def test_moments(spec: Any, host: str) -> None:
    moment = datetime(2013, 8, 15, 13, 47, 52, 500_000)
    for name, kind in (("DATE", "DATE"), ("TIMESTAMP", "TIMESTAMP"), ("DATETIME", "TIMESTAMP"),
                       ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ")):  # fmt: skip
        literal = spec.convert_dttm(name, moment)
        sql = f"SELECT {literal} = CAST('2013-08-15 13:47:52.5' AS {kind})"
        assert told(url_of(host), sql) == [True], literal
    assert spec.convert_dttm("VARCHAR", moment) is None
    seconds = spec.epoch_to_dttm().format(col="0")
    assert told(url_of(host), f"SELECT epoch({seconds})") == [0]


def test_catalogs_are_domains(spec: Any, host: str) -> None:
    url = url_of(host)
    engine = sa.create_engine(url)
    database = types.SimpleNamespace(url_object=url)
    assert spec.get_default_catalog(database) == "operations"
    assert {"operations", "network"} <= spec.get_catalog_names(database, sa.inspect(engine))
    engine.dispose()
    there, arguments = spec.adjust_engine_params(url, {"a": 1}, catalog="network")
    assert arguments == {"a": 1}
    assert spec.adjust_engine_params(url, {})[0] == url
    other = sa.create_engine(there)
    assert sa.inspect(other).get_schema_names() == ["reference"]
    other.dispose()


def test_somebody_is_stood_in_for(spec: Any, host: str) -> None:
    rows = {}
    for person in ("nora", "carl"):
        url, arguments = spec.impersonate_user(None, person, None, url_of(host, "ola"), {"a": 1})
        assert arguments == {"a": 1}
        rows[person] = told(url, CARRIERS)
    assert rows["carl"] == ["UA"] and len(rows["nora"]) > 1
    # Who is the database's user himself, or nobody, is not stood in for.
    own = url_of(host, "ola")
    for nobody in ("ola", None):
        assert spec.impersonate_user(None, nobody, None, own, {})[0] == own


def test_a_query_is_stopped_by_its_key(spec: Any, host: str) -> None:
    address = f"grpc://{host}"
    failures: list[Exception] = []
    with (
        sqluice.connect(address, user="nora", password="nora-demo", query_timeout=90) as first,
        sqluice.connect(address, user="nora", password="nora-demo") as second,
        sqluice.connect(address, user="carl", password="carl-demo") as stranger,
    ):
        cursor = first.cursor()
        key = spec.get_cancel_query_id(cursor, None)
        assert re.fullmatch(r"k_[0-9a-f]{32}", key)

        def run() -> None:
            try:
                cursor.execute(ENDLESS).fetchall()
            except sqluice.Error as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        assert not spec.cancel_query(stranger.cursor(), None, key)
        assert within(60, lambda: spec.cancel_query(second.cursor(), None, key))
        thread.join(60)
        for other in ("k_x'; SELECT 1", "", "q_1 OR"):
            assert not spec.cancel_query(second.cursor(), None, other)
    assert [getattr(one, "code", "") for one in failures] == ["cancelled"]


def test_masks_are_shown(spec: Any, host: str) -> None:
    engine = sa.create_engine(url_of(host))
    columns = {one["name"]: one for one in sa.inspect(engine).get_columns("flights", "departures")}
    engine.dispose()
    assert str(columns["tailnum"]["comment"]).endswith("[masked: pseudonym]")
    assert "[masked" not in str(columns["origin"]["comment"])


def test_what_went_wrong_is_told_whole(spec: Any, host: str) -> None:
    with pytest.raises(sa.exc.DBAPIError) as caught:
        told(url_of(host), "SELECT nothing FROM departures.flights")
    text = spec._extract_error_message(caught.value)
    assert text.startswith("unknown_column: ") and "DESCRIBE" in text and "(query q_" in text
    assert spec._extract_error_message(ValueError("x")) == "Superset's own words"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("UTINYINT", "NUMERIC"), ("HUGEINT", "NUMERIC"), ("UBIGINT", "NUMERIC"), ("UUID", "STRING"),
     ("INTERVAL", "TEMPORAL")],
)  # fmt: skip
def test_types_that_superset_does_not_know(spec: Any, name: str, kind: str) -> None:
    found = [group.name for pattern, _, group in spec.column_type_mappings if pattern.match(name)]
    assert found[0] == kind
