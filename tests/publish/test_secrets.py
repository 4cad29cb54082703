"""Secrets: each domain its own, by reference, never shown."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from catalog.model import Source
from gateway.errors import InvalidConfig
from gateway.secrets import Secrets


def _secrets(folder: Path, environment: Mapping[str, str] | None = None) -> Secrets:
    domains = ("sales", "sales-eu", "sales_eu", "hr")
    return Secrets(folder, environment or {}, domains)


def _write(folder: Path, domain: str, name: str, value: str) -> None:
    (folder / domain).mkdir(exist_ok=True)
    (folder / domain / name).write_text(value, encoding="utf-8")


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    _write(tmp_path, "sales", "URL", "from the file\n")
    assert _secrets(tmp_path).get("sales", "URL") == "from the file"
    both = {"SQLUICE_SECRET_SALES_URL": "from the environment\n"}
    assert _secrets(tmp_path, both).get("sales", "URL") == "from the environment\n"


@pytest.mark.parametrize(
    ("content", "value"),
    [("a\n", "a"), ("a\r\n", "a"), (" a b \n\n", " a b \n"), ("", ""), ("é", "é")],
)
def test_one_line_end_is_dropped_from_a_file(content: str, value: str, tmp_path: Path) -> None:
    (tmp_path / "hr").mkdir()
    (tmp_path / "hr" / "KEY").write_bytes(content.encode())
    assert _secrets(tmp_path).get("hr", "KEY") == value


def test_a_missing_secret_is_named_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig) as caught:
        _secrets(tmp_path).get("hr", "CRM_URL")
    assert "CRM_URL of domain hr" in caught.value.message
    assert "SQLUICE_SECRET_HR_CRM_URL" in caught.value.remedy
    assert "hr/CRM_URL" in caught.value.remedy
    assert str(tmp_path) not in caught.value.message + caught.value.remedy


@pytest.mark.parametrize(
    ("domain", "name"),
    [("sales", "EU_URL"), ("sales", "eu-url"), ("sales-eu", "URL"), ("sales_eu", "URL")],
)
def test_a_variable_of_another_domain_is_not_read(domain: str, name: str, tmp_path: Path) -> None:
    environment = {"SQLUICE_SECRET_SALES_EU_URL": "hidden-word"}
    with pytest.raises(InvalidConfig) as caught:
        _secrets(tmp_path, environment).get(domain, name)
    assert "belongs to the namespace of sales-eu, sales_eu" in caught.value.message
    assert "hidden-word" not in caught.value.message + caught.value.remedy


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        ("hr", "../sales/URL"), ("hr", "/etc/passwd"), ("..", "URL"), ("hr", ""), ("", "URL"),
        ("hr", ".hidden"), ("hr/../sales", "URL"), ("hr", "A\0B"), ("hr", "A\n"),
    ],
)
def test_no_name_leads_elsewhere(domain: str, name: str, tmp_path: Path) -> None:
    _write(tmp_path, "sales", "URL", "x")
    with pytest.raises(InvalidConfig, match="cannot name a secret"):
        _secrets(tmp_path).get(domain, name)


def test_no_link_leads_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    _write(folder, "sales", "URL", "hidden-word")
    (tmp_path / "outside").write_text("hidden-word")
    (folder / "hr").mkdir()
    (folder / "hr" / "URL").symlink_to(folder / "sales" / "URL")
    (folder / "hr" / "OUT").symlink_to(tmp_path / "outside")
    for name in ("URL", "OUT"):
        with pytest.raises(InvalidConfig, match="is a link"):
            _secrets(folder).get("hr", name)


def test_settings_of_a_source_come_complete(tmp_path: Path) -> None:
    _write(tmp_path, "sales", "URL", "postgresql://u:p@host/db")
    source = Source("sales", "crm", "postgres", {"path": "a/b.sqlite"}, {"url": "URL"})
    settings = _secrets(tmp_path).settings(source, Path("/data"))
    assert settings == {"path": "/data/a/b.sqlite", "url": "postgresql://u:p@host/db"}
    absolute = Source("sales", "crm", "sqlite", {"path": "/there/b.sqlite"})
    assert _secrets(tmp_path).settings(absolute, Path("/data"))["path"] == "/there/b.sqlite"


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    secrets = _secrets(tmp_path)
    _write(tmp_path, "hr", "KEY", "first")
    assert secrets.get("hr", "KEY") == "first"
    _write(tmp_path, "hr", "KEY", "other")
    assert secrets.get("hr", "KEY") == "other"
    settled = time.time() + 60
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(time, "time", lambda: settled)
        assert secrets.get("hr", "KEY") == "other"
        _write(tmp_path, "hr", "KEY", "the third")
        assert secrets.get("hr", "KEY") == "the third"
        (tmp_path / "hr" / "KEY").unlink()
        with pytest.raises(InvalidConfig, match="missing"):
            secrets.get("hr", "KEY")


def test_a_link_that_leads_elsewhere_meanwhile_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "hr", "KEY", "own")
    _write(tmp_path, "sales", "KEY", "foreign")
    secrets = _secrets(tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        settled = time.time() + 60
        patched.setattr(time, "time", lambda: settled)
        assert secrets.get("hr", "KEY") == "own"
        (tmp_path / "hr" / "KEY").unlink()
        (tmp_path / "hr" / "KEY").symlink_to(tmp_path / "sales" / "KEY")
        with pytest.raises(InvalidConfig, match="another domain"):
            secrets.get("hr", "KEY")
