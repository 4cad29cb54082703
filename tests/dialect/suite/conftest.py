"""SQLAlchemy's plugin, and which of its tests are left out.

Takes: `exclusions.toml`. Gives: the suite without them; a line that leaves out nothing fails.
"""

from __future__ import annotations

import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import sqlalchemy

sys.path.insert(0, str(Path(__file__).parent))
from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402, F403  # it is written so
from sqlalchemy.testing.plugin import pytestplugin  # noqa: E402

import source  # noqa: E402, F401  # listens

EXCLUSIONS = tomllib.loads(Path(__file__).with_name("exclusions.toml").read_text("utf-8"))
VERSION = ".".join(sqlalchemy.__version__.split(".")[:2])


def _excluded(name: str) -> bool:
    found = [
        (one, pattern)
        for one in EXCLUSIONS["excluded"]
        if one.get("only", VERSION) == VERSION
        for pattern in one["tests"]
        if fnmatchcase(name, pattern)
    ]
    for _, pattern in found:
        USED.add(pattern)
    return bool(found)


USED: set[str] = set()


def pytest_collection_modifyitems(session: Any, config: Any, items: Any) -> None:
    """What the plugin does, and then without what is excluded."""
    pytestplugin.pytest_collection_modifyitems(session, config, items)
    kept, left = [], []
    for one in items:
        kind = one.cls.__name__.split("_sqluice")[0] if one.cls else ""
        (left if _excluded(f"{kind}.{one.name}") else kept).append(one)
    items[:] = kept
    config.hook.pytest_deselected(items=left)
    wanted = {
        pattern for one in EXCLUSIONS["excluded"] if one.get("only", VERSION) == VERSION
        for pattern in one["tests"]
    }  # fmt: skip
    if not config.option.keyword and wanted - USED:
        raise AssertionError(f"these leave out nothing: {sorted(wanted - USED)}")
