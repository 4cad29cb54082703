"""What writes JSON is locked down and bounded, and keeps nothing of what it wrote."""

from __future__ import annotations

import json
import math
from itertools import product

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


# Texts that hold what would be a bare word outside of them.
HOSTILE = ("", "NaN", '",NaN,"', "\\", '\\"', "[Infinity]", "\n,nan", ':"":', "é\\u0000inf", '""')
BARE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def test_what_json_has_no_number_for_is_text_and_nothing_else_changes() -> None:
    def no_word(word: str) -> None:
        raise AssertionError(word)

    for text, (word, value) in product(HOSTILE, BARE.items()):
        held = [text, value, {text: value, "x": [value, text, 1.5, None, True]}]
        wanted = [text, word, {text: word, "x": [word, text, 1.5, None, True]}]
        # As `json` writes it, and as DuckDB takes it.
        for written in (json.dumps(held), json.dumps(held, ensure_ascii=False, indent=1)):
            (found,) = documents.kept(pa.array([written])).to_pylist()
            assert json.loads(found, parse_constant=no_word) == wanted
    kept = documents.kept(pa.array(['{"a":nan,"b":[-inf,1e5]}', None, "[true]"])).to_pylist()
    assert kept == [b'{"a":"nan","b":["-inf",1e5]}', None, b"[true]"]


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
