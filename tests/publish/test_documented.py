"""Every setting is documented."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from gateway.config import Config
from gateway.sessions import SETTINGS

TEXT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
KEYS = sorted(
    {
        key.name
        for section in fields(Config)
        if is_dataclass(section.default)
        for key in fields(section.default)
    }
)


@pytest.mark.parametrize("name", [*KEYS, *SETTINGS])
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in TEXT
