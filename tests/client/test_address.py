"""How addresses are read, and that nothing secret travels in clear by accident."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import sqluice
from sqluice.address import Folder, Remote, read_address
from sqluice.transport import ClientCredentials, SignIn

CASES = yaml.safe_load(Path(__file__).with_name("addresses.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda one: f"{one['target']} tls={one.get('tls')}")
def test_addresses(case: Mapping[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(sqluice.InterfaceError, match=case["error"]):
            read_address(case["target"], case.get("tls"))
        return
    found = read_address(case["target"], case.get("tls"))
    if "folder" in case:
        assert found == Folder(case["folder"])
    else:
        assert isinstance(found, Remote)
        assert found.url == case["url"]


def test_an_error_does_not_repeat_a_password() -> None:
    with pytest.raises(sqluice.InterfaceError) as caught:
        sqluice.connect("grpc://nora:hidden@gateway.example")
    assert "hidden" not in str(caught.value)


def test_a_sign_in_does_not_show_its_secrets() -> None:
    for one in (
        SignIn("nora", "hidden"), SignIn(token="hidden"),
        SignIn(oauth=ClientCredentials("https://idp.example/token", "client", "hidden")),
    ):  # fmt: skip
        assert "hidden" not in repr(one)


def test_one_way_to_sign_in() -> None:
    with pytest.raises(sqluice.InterfaceError, match="not with both"):
        sqluice.connect("grpc://127.0.0.1:9", user="nora", token="x")


def test_a_folder_needs_a_user() -> None:
    with pytest.raises(sqluice.InterfaceError, match="user="):
        sqluice.connect("conf/")


def test_headers_are_plain_text() -> None:
    with pytest.raises(sqluice.InterfaceError, match="purpose"):
        sqluice.connect("grpc://127.0.0.1:9", user="nora", purpose="a\r\nauthorization: x")
