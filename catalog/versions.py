"""Semantic versions of products and contracts.

Takes: text such as `1.2.0`. Gives: its numbers. Never orders pre-releases: a product has one file
a major.
"""

from __future__ import annotations

import re

_VERSION = re.compile(r"v?(0|[1-9]\d*)\.(\d+)\.(\d+)(?:-[0-9A-Za-z.-]+)?")


def semantic_version(text: str) -> tuple[int, int, int] | None:
    """Major, minor and patch; None for what is no semantic version."""
    found = _VERSION.fullmatch(text.strip())
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
