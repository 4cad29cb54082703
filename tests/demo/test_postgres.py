"""The PostgreSQL server of demo and tests: found, started, joined, left clean."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import adbc_driver_manager
import pytest
from adbc_driver_postgresql import dbapi

from gateway.demo.postgres import (
    ENVIRONMENT,
    NoPostgres,
    OwnServer,
    PostgresFailed,
    Server,
    find_server,
)


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OwnServer]:
    """A server of ours, not started: of one kind, or the first that is there."""
    choices = (request.param,) if hasattr(request, "param") else ("system", "wheel")
    try:
        found = find_server(tmp_path / "server", choices=choices)
    except NoPostgres as error:
        pytest.skip(str(error))
    assert isinstance(found, OwnServer)
    yield found
    found.discard()


def ask(server: Server, sql: str, **who: str) -> object:
    """One value."""
    address = server.url("postgres", **who)
    with dbapi.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
        return row[0] if row else None


@pytest.mark.parametrize("server", ["system", "wheel"], indirect=True)
def test_the_password_is_asked_for(server: OwnServer) -> None:
    """By SCRAM, over TCP, of the superuser and of others."""
    with server:
        server.run("postgres", "CREATE ROLE reader LOGIN PASSWORD 'a word/with:marks@'")
        assert ask(server, "SELECT current_user::text") == "postgres"
        who = {"user": "reader", "password": "a word/with:marks@"}
        assert ask(server, "SELECT current_user::text", **who) == "reader"
        with pytest.raises(adbc_driver_manager.Error):
            ask(server, "SELECT 1", user="reader", password="wrong")
        rule = "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"
        assert ask(server, rule) == "scram-sha-256"


def test_a_cluster_is_used_again(server: OwnServer) -> None:
    """Stop and start keep the data; stop is idempotent and nothing runs after it."""
    with server:
        server.run("postgres", "CREATE TABLE kept AS SELECT 5 AS i")
        process = int(str(ask(server, "SELECT pg_backend_pid()::text")))
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with server:
        assert ask(server, "SELECT i FROM kept") == 5


def test_a_running_server_is_joined(server: OwnServer, tmp_path: Path) -> None:
    """Who comes second uses it and does not stop it."""
    with server:
        other = find_server(tmp_path / "server", choices=(server.kind,))
        with other:
            assert other.url("postgres") == server.url("postgres")
        assert ask(server, "SELECT 1") == 1


def test_an_orphan_is_taken_over(server: OwnServer, tmp_path: Path) -> None:
    """A process that dies without a word leaves its server; the next one stops it."""
    program = (
        "import os, signal, sys; from pathlib import Path;"
        "from gateway.demo.postgres import find_server;"
        "find_server(Path(sys.argv[1]), choices=(sys.argv[2],)).start();"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "server"), server.kind]
    done = subprocess.run(command, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    server.start()
    process = int((tmp_path / "server" / "cluster" / "postmaster.pid").read_text().split()[0])
    assert ask(server, "SELECT 1") == 1
    server.stop()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{process}").exists()


def test_an_interrupted_build_starts_again(server: OwnServer, tmp_path: Path) -> None:
    """What lies in the folder without being whole is made anew."""
    with server:
        pass
    (tmp_path / "server" / "superuser").unlink()
    with server:
        assert ask(server, "SELECT 1") == 1


def test_a_cluster_of_another_version(server: OwnServer, tmp_path: Path) -> None:
    """An error that says what to remove."""
    with server:
        pass
    (tmp_path / "server" / "cluster" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresFailed, match="remove the folder"):
        server.start()


def test_the_url_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It comes first; its superuser is used unless somebody else is named."""
    monkeypatch.setenv(ENVIRONMENT, "postgresql://root:word@db.example:5555/x?sslmode=require")
    with find_server(tmp_path) as found:
        assert found.kind == "url"
        assert found.url("a") == "postgresql://root:word@db.example:5555/a?sslmode=require"
        wanted = "postgresql://b:c%2F@db.example:5555/a?sslmode=require"
        assert found.url("a", "b", "c/") == wanted
    monkeypatch.setenv(ENVIRONMENT, "nonsense")
    with pytest.raises(NoPostgres):
        find_server(tmp_path)


def test_no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error names the three ways to have one."""
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(
        NoPostgres, match=r"(?s)SQLUICE_TEST_POSTGRES_URL.*apt install.*pip install"
    ):
        find_server(tmp_path, choices=())
