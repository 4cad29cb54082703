"""Two people go through Superset: connect, browse, SQL Lab, Stop, a chart; each sees his own rows.

Takes: an environment with apache-superset and the client, the address of a gateway over the sample
mesh. Gives: a line for each step, or a failure. Never imports the gateway. docs/clients/superset.md
says how to run it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

PEOPLE = ("nora", "carl")
PASSWORD = "walk-through"
CARRIERS = "SELECT carrier, count(*) AS n FROM departures.flights GROUP BY carrier ORDER BY carrier"

# Nobody waits for the only row of it; the gateway would end it after five minutes.
ENDLESS = """
    SELECT count(*) FROM departures.flights AS a, departures.flights AS b, departures.flights AS c
    WHERE a.dep_delay + b.arr_delay < c.air_time
"""
PATIENCE_SECONDS = 120


def prepare(folder: Path) -> None:
    """A fresh Superset, with its own SQLite and two administrators."""
    config = folder / "superset_config.py"
    config.write_text(
        f"SECRET_KEY = 'only for this walk, in {folder.name}'\n"
        f"SQLALCHEMY_DATABASE_URI = 'sqlite:///{folder}/superset.db'\n"
        "WTF_CSRF_ENABLED = False\nTALISMAN_ENABLED = False\n"
        "RATELIMIT_ENABLED = False\n",
        encoding="utf-8",
    )
    os.environ["SUPERSET_CONFIG_PATH"] = str(config)
    os.environ["SUPERSET_HOME"] = str(folder)
    superset = str(Path(sys.executable).with_name("superset"))
    made = [
        ["fab", "create-admin", "--username", name, "--firstname", name, "--lastname", name,
         "--email", f"{name}@example.org", "--password", PASSWORD]
        for name in PEOPLE
    ]  # fmt: skip
    for words in (["db", "upgrade"], *made, ["init"]):
        subprocess.run([superset, *words], check=True, capture_output=True, timeout=300)


class Person:
    """Somebody signed in."""

    def __init__(self, application: Any, name: str) -> None:
        self.client = application.test_client()
        body = {"username": name, "password": PASSWORD, "provider": "db", "refresh": False}
        token = self.client.post("/api/v1/security/login", json=body).json["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The answer of Superset's own interface."""
        answer = self.client.open(f"/api/v1/{path}", method=method, json=body, headers=self.headers)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json

    def rows(self, database: int, sql: str) -> list[dict[str, Any]]:
        """What SQL Lab shows."""
        found = self.ask("POST", "sqllab/execute/", {
            "database_id": database, "sql": sql, "runAsync": False, "queryLimit": 1000,
            "catalog": "operations", "schema": "departures", "client_id": os.urandom(5).hex(),
        })  # fmt: skip
        rows: list[dict[str, Any]] = found["data"]
        return rows


def walk(address: str) -> None:
    """All steps."""
    from superset.app import create_app  # noqa: PLC0415  # its configuration is made before

    application = create_app()
    nora, carl = (Person(application, name) for name in PEOPLE)
    database = connect(nora, address)
    browse(nora, database)
    lab(nora, carl, database)
    stop(application, nora, database)
    chart(nora, carl, database)


def connect(nora: Person, address: str) -> int:
    """The address is that of one who may stand in for others."""
    body = {"database_name": "gateway", "sqlalchemy_uri": address, "impersonate_user": True}
    nora.ask("POST", "database/test_connection/", body)
    made: int = nora.ask("POST", "database/", {**body, "expose_in_sqllab": True})["id"]
    print("connected")
    return made


def browse(nora: Person, database: int) -> None:
    """Domains, products, tables, columns."""
    catalogs = nora.ask("GET", f"database/{database}/catalogs/")["result"]
    assert {"operations", "network"} <= set(catalogs), catalogs
    schemas = nora.ask("GET", f"database/{database}/schemas/?q=(catalog:network)")["result"]
    assert schemas == ["reference"], schemas
    place = "(catalog_name:network,schema_name:reference)"
    tables = nora.ask("GET", f"database/{database}/tables/?q={place}")["result"]
    assert {one["value"] for one in tables} == {"airlines", "airports"}, tables
    path = f"database/{database}/table_metadata/?catalog=operations&schema=departures&name=flights"
    columns = {one["name"]: one for one in nora.ask("GET", path)["columns"]}
    assert columns["time_hour"]["type"].startswith("TIMESTAMP"), columns["time_hour"]
    assert "[masked: pseudonym]" in str(columns["tailnum"]), columns["tailnum"]
    print("browsed", len(catalogs), "domains;", len(columns), "columns with types and masks")


def lab(nora: Person, carl: Person, database: int) -> None:
    """The same statement, other rows."""
    all_carriers = [one["carrier"] for one in nora.rows(database, CARRIERS)]
    own = [one["carrier"] for one in carl.rows(database, CARRIERS)]
    assert len(all_carriers) > 1 and own == ["UA"], (all_carriers, own)
    empty = nora.ask("POST", "sqllab/execute/", {
        "database_id": database, "sql": "SELECT * FROM departures.flights WHERE false",
        "runAsync": False, "catalog": "operations", "client_id": os.urandom(5).hex(),
    })  # fmt: skip
    kinds = {one["column_name"]: one["type"] for one in empty["columns"]}
    assert kinds["time_hour"] and kinds["dep_delay"], kinds
    print("SQL Lab: nora sees", len(all_carriers), "carriers, carl sees", own)


def stop(application: Any, nora: Person, database: int) -> None:
    """A statement without end, and Stop."""
    name = os.urandom(5).hex()
    sent = {
        "database_id": database, "sql": ENDLESS, "runAsync": False, "catalog": "operations",
        "client_id": name,
    }  # fmt: skip
    answers: list[Any] = []
    runner = Person(application, PEOPLE[0])

    def run() -> None:
        answers.append(runner.client.post(
            "/api/v1/sqllab/execute/", json=sent, headers=runner.headers
        ))  # fmt: skip

    thread = threading.Thread(target=run)
    began = time.monotonic()
    thread.start()
    # What Superset has not written down yet cannot be stopped.
    while thread.is_alive() and time.monotonic() - began < PATIENCE_SECONDS:
        time.sleep(1)
        nora.client.post(
            "/api/v1/query/stop", json={"client_id": name}, headers=nora.headers
        )  # fmt: skip
    took = time.monotonic() - began
    assert not thread.is_alive(), "Stop did not stop it"
    told = answers[0].json
    assert told.get("status") == "stopped", told
    print("stopped after", round(took), "seconds:", told)


def chart(nora: Person, carl: Person, database: int) -> None:
    """A time series by week, with a time grain and a filter."""
    dataset = nora.ask("POST", "dataset/", {
        "database": database, "catalog": "operations", "schema": "departures",
        "table_name": "flights",
    })["id"]  # fmt: skip
    axis = {
        "timeGrain": "P1W", "columnType": "BASE_AXIS", "sqlExpression": "time_hour",
        "label": "time_hour", "expressionType": "SQL",
    }  # fmt: skip
    body = {
        "datasource": {"id": dataset, "type": "table"},
        "force": True,
        "queries": [{
            "columns": [axis], "metrics": ["count"], "granularity": "time_hour", "row_limit": 1000,
            "time_range": "2013-01-01 : 2014-01-01", "orderby": [["count", False]],
        }],
        "result_type": "full",
        "result_format": "json",
    }  # fmt: skip
    counts = []
    for person in (nora, carl):
        found = person.ask("POST", "chart/data", body)["result"][0]
        assert found["status"] == "success", json.dumps(found)[:2000]
        assert "date_trunc('week'" in found["query"].lower(), found["query"]
        counts.append(sum(one["count"] for one in found["data"]))
    assert counts[0] > counts[1] > 0, counts
    print("chart: nora counts", counts[0], "flights, carl", counts[1])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="superset-") as made:
        prepare(Path(made))
        walk(sys.argv[1])
