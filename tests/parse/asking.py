"""Statements as endpoints hand them over.

Takes: text. Gives: what parse makes of it. Never asks anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import yaml

from gateway.parse import ParsedStatement, parse
from gateway.request import Principal, Request

NOW = datetime(2026, 1, 1, tzinfo=UTC)
Case = Mapping[str, Any]


def parsed(sql: str, dialect: str = "duckdb") -> ParsedStatement:
    """What parse makes of the text."""
    principal = Principal("nora")
    return parse(Request(sql=sql, principal=principal, now=NOW, query_id="q", dialect=dialect))


def cases(name: str) -> list[Case]:
    """The cases of a data file beside this one."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return cast("list[Case]", yaml.safe_load(text))
