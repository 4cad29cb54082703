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
import source  # type: ignore[import-not-found]  # noqa: F401  # it listens
from sqlalchemy.testing.plugin import pytestplugin  # the order is the plugin's
from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: F403

READ = tomllib.loads(Path(__file__).with_name("exclusions.toml").read_text("utf-8"))
VERSION = ".".join(sqlalchemy.__version__.split(".")[:2])
PATTERNS = {
    pattern
    for one in READ["excluded"]
    if one.get("only", VERSION) == VERSION
    for pattern in one["tests"]
}


def pytest_collection_modifyitems(session: Any, config: Any, items: Any) -> None:  # type: ignore[no-redef]
    """What the plugin does, and then without what is excluded."""
    plugin: Any = pytestplugin
    plugin.pytest_collection_modifyitems(session, config, items)
    kept: list[Any] = []
    left: list[Any] = []
    used: set[str] = set()
    for one in items:
        name = f"{one.cls.__name__.split('_sqluice')[0]}.{one.name}"
        found = {pattern for pattern in PATTERNS if fnmatchcase(name, pattern)}
        used |= found
        (left if found else kept).append(one)
    items[:] = kept
    config.hook.pytest_deselected(items=left)
    # 1.4 has fewer tests than the newest, for which the lines are written.
    if not config.option.keyword and not VERSION.startswith("1.") and PATTERNS - used:
        raise AssertionError(f"these leave out nothing: {sorted(PATTERNS - used)}")
