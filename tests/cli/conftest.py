"""The `sqluice` command as a shell would call it, with the server's commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from gateway.cli import commands

Call = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs a command in an empty folder, with nothing of the caller's environment."""
    for name in ("SQLUICE_CONF", "SQLUICE_STATE", "SQLUICE_DATA", "SQLUICE_PASSWORD",
                 "SQLUICE_TOKEN", "SQLUICE_URL", "SQLUICE_HTTP_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    group = click.Group("sqluice", commands=list(commands()))

    def run(*arguments: str, text: str | None = None) -> Result:
        return CliRunner().invoke(group, arguments, input=text, prog_name="sqluice")

    return run
