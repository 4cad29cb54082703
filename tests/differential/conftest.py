"""The reference databases, one a principal.

Takes: the sample mesh. Gives: plain DuckDB over what each principal may see.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import duckdb
import pytest

from tests.differential.reference import permitted, raw_tables
from tests.sample import KEYS, SampleMesh


@pytest.fixture(scope="session")
def reference(sample: SampleMesh) -> Iterator[Mapping[str, duckdb.DuckDBPyConnection]]:
    """A database for each principal of the corpus."""
    raw = raw_tables(sample.data, sample.server.url("operations"), sample.server.url("loyalty"))
    keys = {group: hashlib.sha256(key.encode()).digest() for group, key in KEYS.items()}
    made = {user: permitted(raw, user, keys) for user in ("nora", "carl", "mara", "petra", "otto")}
    yield made
    for connection in made.values():
        connection.close()
