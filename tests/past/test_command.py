"""`sqluice explain --at` and `--query-id`, as a shell calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from gateway.audit import AuditedQuery, requests
from gateway.state.engine import writing
from sqluice.command import main
from tests.policies.running import Running, running

SQL = "SELECT id, email FROM shop.orders"
MASK = {"id": "mail", "match": {"tags": ["pii.email"]}, "effect": {"mask": {"kind": "null"}}}


@dataclass(frozen=True, slots=True)
class Asked:
    """A gateway that was asked one statement, and one that was refused."""

    gateway: Running
    served: AuditedQuery
    refused: AuditedQuery

    def explain(self, *words: str) -> Result:
        """The command over the gateway's state."""
        conf = ("--conf", str(self.gateway.folder))
        environment = {"SQLUICE_DATA": str(self.gateway.folder / "data")}
        return CliRunner().invoke(main, ["explain", *words, *conf], env=environment)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """Asked under a mask, which is gone since."""
    folder = tmp_path_factory.mktemp("asked")
    with running(folder, {"governance": [MASK]}) as gateway:
        gateway.ask(SQL)
        with pytest.raises(Exception, match="no column"):
            gateway.ask("SELECT gone FROM shop.orders")
        (folder / "governance" / "policies" / "case.yaml").unlink()
        assert gateway.opened.publisher.reload()
        served, refused = requests(gateway.opened.state)
        yield Asked(gateway, served, refused)


def test_at_a_time(asked: Asked) -> None:
    shown = asked.explain("--at", asked.served.at, "--as", "ada", SQL)
    assert shown.exit_code == 0, shown.output
    assert "masked: null" in shown.output and "mail" in shown.output
    assert f"equal to what the audit recorded of query {asked.served.query_id}" in shown.output
    assert asked.served.revision[:12] in shown.output


def test_as_json(asked: Asked) -> None:
    words = ("--json", "--as", "ada", "--client", "psql 16", "--address", "10.0.0.1")
    shown = asked.explain("--at", asked.served.at, *words, SQL)
    found = json.loads(shown.output)
    assert (found["verdict"], found["comparison"]) == ("allowed", "equal")
    assert found["decision"] == asked.served.decision == found["audited"]["decision"]
    assert found["revision"] == asked.served.revision and found["published_at"]
    late = json.loads(asked.explain("--at", "2100-01-01", "--as", "ada", "--json", SQL).output)
    assert late["comparison"] == "differs" and late["revision"] != found["revision"]


def test_by_query(asked: Asked) -> None:
    shown = asked.explain("--query-id", asked.served.query_id)
    assert shown.exit_code == 0 and "equal to" in shown.output
    refused = json.loads(asked.explain("--query-id", asked.refused.query_id, "--json").output)
    assert (refused["verdict"], refused["comparison"]) == ("unknown_column", "equal")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--at", "2100-01-01", "--as", "ada", SQL), 1),  # differs: another revision by then
        (("--at", "2000-01-01", "--as", "ada", SQL), 3),
        (("--at", "2100-01-01", "--as", "zoe", SQL), 4),
        (("--query-id", "q_none"), 1),
        (("--query-id", "q_none", SQL), 2),
        (("--at", "yesterday", "--as", "ada", SQL), 2),
        (("--at", "2100-01-01", SQL), 2),
        (("--at", "2100-01-01", "--as", "ada"), 2),
        (("--client", "psql", "--as", "ada", SQL), 2),
        (("--at", "2100-01-01", "--user", "ada", SQL), 2),
    ],
)
def test_ends(asked: Asked, words: tuple[str, ...], status: int) -> None:
    assert asked.explain(*words).exit_code == status


def test_nothing_to_compare_with(asked: Asked) -> None:
    shown = asked.explain("--at", "2100-01-01", "--as", "bob", SQL)
    assert shown.exit_code == 0 and "no such statement" in shown.output


def test_what_cannot_be_said_ends_so(tmp_path: Path) -> None:
    with running(tmp_path, {}) as gateway:
        gateway.ask("SHOW TABLES")
        gateway.ask(SQL)
        told, served = requests(gateway.opened.state)
        one = Asked(gateway, served, served)
        assert one.explain("--query-id", told.query_id).exit_code == 3
        with writing(gateway.opened.state) as connection:
            connection.execute(text("DELETE FROM revision_files"))
        assert one.explain("--query-id", served.query_id).exit_code == 3
