"""Every command: help with an example, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from sqlalchemy import Engine, text

from gateway.audit import Audit, AuditFinish, AuditStart, state_of
from gateway.cli import Deferred, commands
from gateway.config import load_config
from gateway.scram import fits, parse_verifier
from gateway.state.engine import writing
from tests.cli.conftest import Call

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
START = AuditStart("q1", NOW, "nora", "SELECT\n  'UA'", endpoint="http", purpose="planning")
ALL = (
    "serve", "demo", "init", "check", "certify", "apply", "policy", "access", "keys", "probe",
    "audit", "queries", "cancel", "token", "user",
)


def leaves(group: Iterable[click.Command], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command that does something, by its words."""
    found: list[tuple[str, ...]] = []
    for one in group:
        held = one.load() if isinstance(one, Deferred) else one
        words = (*above, str(held.name))
        inner = held.commands.values() if isinstance(held, click.Group) else ()
        found += leaves(inner, words) or [words]
    return found


LEAVES = leaves(one for one in commands() if not one.hidden)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Engine]:
    """The state of a mesh in `conf`, with two audited requests."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "gateway.toml").touch()
    engine = state_of(load_config(tmp_path / "conf", {}))
    audit = Audit(engine, lambda: NOW)
    audit.finished(audit.started(START), AuditFinish("ok", rows=3, timings={"total": 0.5}))
    audit.refused(replace(START, query_id="q2", user="carl", statement="x"), "parse_error")
    audit.export_head(load_config(tmp_path / "conf", {}).heads)
    yield engine
    engine.dispose()


def test_the_commands_are_those_promised() -> None:
    assert tuple(one.name for one in commands() if not one.hidden) == ALL
    assert all(one.short_help for one in commands())


def test_listing_the_commands_loads_none_of_them() -> None:
    script = (
        "import sys, gateway.cli; gateway.cli.commands();"
        "print({'sqlalchemy', 'alembic', 'flask', 'duckdb', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("names", LEAVES, ids=" ".join)
def test_help_shows_an_example_and_exit_codes(names: tuple[str, ...], call: Call) -> None:
    done = call(*names, "--help")
    assert done.exit_code == 0, done.output
    example = " ".join(done.output.split()).partition("Example: ")[2]
    assert f"sqluice {' '.join(names)}" in example
    assert "Exit codes: 0 fine" in " ".join(done.output.split())


@pytest.mark.parametrize("names", LEAVES[1:], ids=" ".join)
def test_every_answer_comes_as_json_too(names: tuple[str, ...], call: Call) -> None:
    assert "--json" in call(*names, "--help").output


def test_wrong_usage_ends_with_two(call: Call) -> None:
    assert call("audit", "verify", "--nonsense").exit_code == click.UsageError.exit_code
    assert call("nonsense").exit_code == click.UsageError.exit_code


def test_a_password_becomes_its_verifier(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    done = call("user", "password", "--iterations", "4096", text="word\nword\n")
    verifier = parse_verifier(done.stdout.strip().splitlines()[-1])
    assert verifier is not None and fits("word", verifier)
    assert "word\n" not in done.stdout.replace("Password", "")
    assert call("user", "password", text="one\ntwo\n").exit_code != 0
    monkeypatch.setenv("SQLUICE_PASSWORD", "other")
    shown = json.loads(call("user", "password", "--iterations", "4096", "--json").stdout)
    verifier = parse_verifier(shown["verifier"])
    assert verifier is not None and fits("other", verifier)
    monkeypatch.setenv("SQLUICE_PASSWORD", "")
    assert call("user", "password").exit_code == click.UsageError.exit_code


@pytest.mark.usefixtures("state")
def test_an_honest_audit_holds(call: Call) -> None:
    done = call("audit", "verify", "--conf", "conf")
    assert done.exit_code == 0, done.output
    assert "the audit holds: 4 records in 1 chains, 1 exported heads" in done.output
    shown = json.loads(call("audit", "verify", "--conf", "conf", "--json").stdout)
    assert (shown["holds"], shown["records"], shown["flaws"]) == (True, 4, [])


def test_a_changed_audit_is_found(call: Call, state: Engine) -> None:
    with writing(state) as connection:
        connection.execute(text("UPDATE audit_records SET user_name = 'x' WHERE sequence = 1"))
        connection.execute(text("DELETE FROM audit_records WHERE sequence = 4"))
    done = call("audit", "verify")
    assert done.exit_code == 1
    assert "record 1 of chain" in done.stderr and "was changed" in done.stderr
    assert "the chain ends before its exported head" in done.stderr
    shown = json.loads(call("audit", "verify", "--json").stdout)
    assert not shown["holds"] and len(shown["flaws"]) == 2


@pytest.mark.usefixtures("state")
def test_a_file_of_heads_that_is_none_is_a_problem(call: Call) -> None:
    for name in ("nowhere.jsonl", "conf/gateway.toml"):
        Path("conf/gateway.toml").write_text("[http]\n")
        done = call("audit", "verify", "--conf", "conf", "--heads", name)
        assert (done.exit_code, "invalid_config" in done.stderr) == (1, True)


@pytest.mark.usefixtures("state")
def test_the_newest_requests_are_shown(call: Call) -> None:
    done = call("audit", "tail")
    assert done.exit_code == 0
    nora, carl = done.output.splitlines()[1:]
    assert "SELECT 'UA'" in nora and "ok" in nora and "0.500" in nora
    assert "refused" in carl and "parse_error" in carl
    assert "carl" not in call("audit", "tail", "--of", "nora").output
    assert "nora" not in call("audit", "tail", "-n", "1").output
    (shown,) = [json.loads(call("audit", "tail", "--of", "nora", "--json").stdout)]
    assert (shown["query_id"], shown["rows"], shown["statement"]) == ("q1", 3, "SELECT 'UA'")


def test_a_broken_setting_is_told_with_its_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "gateway.toml").write_text("[http]\nprot = 1\n")
    done = call("audit", "tail", "--conf", "conf")
    assert done.exit_code == 1
    assert "gateway.toml:2 http.prot" in done.stderr
    shown = json.loads(call("audit", "tail", "--conf", "conf", "--json").stdout)
    assert shown["error"]["code"] == "invalid_config"


def test_a_gateway_that_does_not_answer_is_unavailable(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLUICE_PASSWORD", "hidden-word")
    for arguments in (("queries",), ("cancel", "q1")):
        done = call(*arguments, "--user", "nora", "--url", "http://127.0.0.1:1", "--json")
        assert done.exit_code == 3, done.output
        assert json.loads(done.stdout)["error"]["code"] == "source_unavailable"
        assert "hidden-word" not in done.output


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.org:7080", "do not travel in clear"),
        ("http://127.0.0.1.example.org", "do not travel in clear"),
        ("http://localhost@example.org", "do not travel in clear"),
        ("https://nora:word@example.org", "holds no user"),
        ("ftp://127.0.0.1", "must be an http"), ("file:///etc/passwd", "must be an http"),
    ],
)
def test_a_password_never_leaves_in_clear(
    url: str, words: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLUICE_PASSWORD", "hidden-word")
    done = call("queries", "--user", "nora", "--url", url)
    assert done.exit_code == click.UsageError.exit_code
    assert words in " ".join(done.output.split())


def test_somebody_must_sign_in(call: Call) -> None:
    done = call("queries")
    assert done.exit_code == click.UsageError.exit_code
    assert "--user" in done.output
