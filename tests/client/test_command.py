"""The client's command, over each transport."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result

from sqluice.command import main
from sqluice.endings import EXIT_CODES
from tests.client.conftest import Served
from tests.sample import CONF, SampleMesh

ORIGINS = "SELECT origin, count(*) AS n FROM operations.departures GROUP BY origin ORDER BY 1"
Run = Callable[..., Result]


@pytest.fixture(params=["flight", "in process"])
def run(
    request: pytest.FixtureRequest, sample: SampleMesh, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs a command as a user over each transport."""
    monkeypatch.setenv("SQLUICE_DATA", str(sample.data))

    def invoke(command: str, *arguments: str, user: str = "nora", stdin: str = "") -> Result:
        if request.param == "flight":
            served: Served = request.getfixturevalue("served")
            monkeypatch.setenv("SQLUICE_PASSWORD", f"{user}-demo")
            where = ["--url", served.url, "--user", user]
        else:
            where = ["--conf", str(CONF), "--as", user]
        return CliRunner().invoke(main, [command, *where, *arguments], input=stdin)

    return invoke


def usage(*arguments: str) -> str:
    """What a wrong use is answered with."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    return result.stderr


def test_a_table(run: Run) -> None:
    result = run("query", ORIGINS)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["origin", "n"]
    assert lines[1].split() == ["varchar", "bigint"]
    assert [one.split()[0] for one in lines[3:]] == ["EWR", "JFK", "LGA"]
    assert len({len(one) for one in lines}) == 1
    assert result.stderr.startswith("3 rows")


def test_null_and_text(run: Run) -> None:
    result = run("query", "SELECT NULL AS a, '' AS b, 'NULL' AS c, 'x' || chr(27) || '[2J' AS d")
    assert "\x1b" not in result.stdout
    assert result.stdout.splitlines()[3].split() == ["∅", "NULL", "x\\x1b[2J"]
    assert "∅ is NULL" in result.stderr


def test_json(run: Run) -> None:
    answer = json.loads(run("query", "--json", ORIGINS).stdout)
    assert answer["columns"] == [
        {"name": "origin", "type": "VARCHAR", "masked": False},
        {"name": "n", "type": "BIGINT", "masked": False},
    ]
    # Long integers do not fit every reader's numbers.
    assert all(isinstance(row[1], str) for row in answer["rows"])
    assert answer["truncated"] is False


def test_json_of_every_kind_of_value(run: Run) -> None:
    sql = """SELECT 1::int AS i, 1.50::decimal(9,2) AS d, 'nan'::double AS f, true AS b,
        date '2013-01-31' AS day, timestamptz '2013-01-31 12:00:00+00' AS at,
        [1.5, NULL] AS l, {'a': [2]} AS s, '\\x00\\xff'::blob AS raw, interval 2 days AS gap"""
    row = json.loads(run("query", "--json", sql).stdout)["rows"][0]
    assert row[:4] == [1, "1.50", "nan", True]
    assert row[4:6] == ["2013-01-31", "2013-01-31T12:00:00+00:00"]
    assert row[6] in ([1.5, None], ["1.5", None])
    assert row[7:9] == [{"a": [2]}, "\\x00ff"]


def test_csv(run: Run) -> None:
    result = run("query", "--csv", "SELECT 'a,\"b' AS x, '' AS y, NULL AS z, 7::bigint AS n")
    assert result.stdout == 'x,y,z,n\n"a,""b","",,7\n'
    assert next(csv.DictReader(io.StringIO(result.stdout)))["x"] == 'a,"b'


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_a_cut_answer_says_so(run: Run, form: list[str]) -> None:
    sql = "SELECT flight_id FROM operations.departures"
    result = run("query", "--limit", "2", *form, sql)
    assert result.exit_code == 0
    if "--json" in form:
        answer = json.loads(result.stdout)
        assert (len(answer["rows"]), answer["truncated"]) == (2, True)
    else:
        assert "there are more" in result.stderr
    whole = run("query", "--limit", "3", *form, ORIGINS)
    assert "there are more" not in whole.stderr
    assert '"truncated": true' not in whole.stdout


def test_statement_from_standard_input(run: Run) -> None:
    assert "EWR" in run("query", "-", stdin=ORIGINS).stdout
    assert "no statement" in run("query", "-", stdin=" \n").stderr


def test_explain(run: Run) -> None:
    sql = "SELECT count(*) FROM operations.departures WHERE month = 1"
    result = run("explain", sql)
    assert result.exit_code == 0
    assert " at operations.warehouse" in result.stdout
    for asked in (("--json",), ("--format", "json")):
        told = json.loads(run("explain", *asked, sql).stdout)
        assert told["query_id"]
        assert told["fragments"][0]["source"]
        assert not told["analyzed"]
    assert json.loads(run("explain", "--analyze", "--json", sql).stdout)["answer"]["rows"] == 1
    assert run("explain", "--format", "mermaid", sql).stdout.startswith("flowchart LR\n")
    assert "rows" in run("explain", "--analyze", sql).stdout
    assert run("explain", "--csv", sql).stdout.startswith("step,where,")
    picture = ("--format", "mermaid")
    for wrong in (
        ("--policy", "--analyze"), ("--csv", "--format", "json"), ("--json", *picture),
        ("--policy", *picture),
    ):  # fmt: skip
        assert run("explain", *wrong, sql).exit_code == 2
    policy = run("explain", "--policy", "SELECT tailnum FROM operations.departures")
    assert "governance.tail-number  governance/policies/aircraft.yaml" in policy.stdout
    denied = ("explain", "--policy", "SELECT name FROM loyalty.members.members")
    assert "tables: [members]" in run(*denied).stdout
    document = json.loads(run(*denied, "--json").stdout)
    assert document["verdict"] == "refused: unknown_table"
    assert document["requests"][0].startswith("# It holds once it is a file in domains/loyalty")
    assert run(*denied, "--csv").stdout.startswith("what,object,outcome,policy,file,revision,")


def test_a_purpose(run: Run) -> None:
    sql = "SELECT count(*) FROM loyalty.members"
    refused = run("query", sql, user="petra")
    assert refused.exit_code == 4
    assert refused.stderr.startswith("purpose_required: ")
    assert run("query", "--purpose", "privacy-review", sql, user="petra").exit_code == 0


def test_an_error_in_the_statement(run: Run) -> None:
    result = run("query", "SELECT nope FROM operations.departures")
    assert (result.exit_code, result.stdout) == (1, "")
    code, remedy, query = result.stderr.splitlines()
    assert code.startswith("unknown_column: ")
    assert remedy == "List the columns you may use with DESCRIBE."
    assert query.startswith("Query id: q_")
    shown = json.loads(run("query", "--json", "SELECT nope FROM operations.departures").stdout)
    assert shown["error"]["code"] == "unknown_column"


def test_a_wrong_password(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLUICE_PASSWORD", "guessed")
    result = CliRunner().invoke(main, ["query", "--url", served.url, "--user", "nora", "SELECT 1"])
    assert result.exit_code == 4
    assert result.stderr.startswith("unauthenticated: ")
    assert "guessed" not in result.stderr


def test_a_password_is_asked_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SQLUICE_PASSWORD", raising=False)
    asked = ["query", "--url", served.url, "--user", "nora", "SELECT 1 AS one"]
    result = CliRunner().invoke(main, asked, input="nora-demo\n")
    assert result.exit_code == 0
    assert "one" in result.stdout and "nora-demo" not in result.output


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLUICE_PASSWORD", "x")
    result = CliRunner().invoke(
        main, ["query", "--url", "grpc://127.0.0.1:9", "--user", "nora", "SELECT 1"]
    )
    assert result.exit_code == 3
    assert "No gateway answers at 127.0.0.1:9" in result.stderr


def test_wrong_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SQLUICE_TOKEN", raising=False)
    monkeypatch.setenv("SQLUICE_PASSWORD", "x")
    assert "--user" in usage("query", "SELECT 1")
    assert "--as" in usage("query", "--conf", "conf", "SELECT 1")
    assert "--user" in usage("query", "--as", "nora", "SELECT 1")
    assert "exclude" in usage("query", "--json", "--csv", "--user", "nora", "SELECT 1")
    assert "cannot begin" in usage("query", "--url", "http://127.0.0.1", "--user", "n", "SELECT 1")
    assert "in clear" in usage("query", "--url", "grpc+tcp://a.example", "--user", "n", "SELECT 1")
    assert "--conf" in usage("query", "--url", "conf", "--user", "nora", "SELECT 1")


def test_no_command_takes_a_password() -> None:
    for name in ("query", "explain", "login", "logout"):
        command = main.get_command(click.Context(main), name)
        assert command is not None
        options = [one for parameter in command.params for one in parameter.opts]
        assert not [one for one in options if "password" in one or "token" in one]
        assert command.epilog is not None and EXIT_CODES in command.epilog


def test_the_server_brings_its_commands() -> None:
    listed = main.list_commands(click.Context(main))
    assert {"query", "explain", "serve", "demo", "check"} <= set(listed)
    assert listed == sorted(listed)
    assert main.get_command(click.Context(main), "nothing") is None
