"""One server for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.objects.store import Store, serving


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """A server of S3's protocol."""
    with serving() as made:
        yield made
