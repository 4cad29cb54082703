"""What writes JSON is locked down and bounded, and keeps nothing of what it wrote."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from gateway.errors import LimitExceeded
from gateway.serve.pgwire.encoding import documents


def test_values_become_json_whatever_the_machine_calls_its_zone() -> None:
    kind = pa.struct([("a", pa.list_(pa.int64())), ("at", pa.timestamp("us", "UTC"))])
    column = pa.array([{"a": [1, None], "at": 0}, None, {"a": None, "at": None}], kind)
    for _ in range(2):
        assert documents.written(column).to_pylist() == [
            b'{"a":[1,null],"at":"1970-01-01 00:00:00+00"}', None, b'{"a":null,"at":null}',
        ]  # fmt: skip


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')", "SET threads = 2", "SET memory_limit = '4GB'",
        "ATTACH 'x.duckdb'", "COPY (SELECT 1) TO 'x.csv'", "SELECT * FROM held",
    ],
)  # fmt: skip
def test_it_reaches_nothing(sql: str) -> None:
    documents.written(pa.array([[[1]]]))
    with documents._lent() as connection, pytest.raises(duckdb.Error):
        connection.execute(sql)


def test_what_takes_too_much_memory_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    column = pa.array([["x" * 1_000_000] * 8])
    assert len(documents.written(column)[0].as_py()) > 8_000_000
    small = [one.replace(documents._MEMORY, "5MB") for one in documents._SETTINGS]
    monkeypatch.setattr(documents, "_SETTINGS", small)
    monkeypatch.setattr(documents, "_idle", type(documents._idle)(1))
    with pytest.raises(LimitExceeded):
        documents.written(column)
