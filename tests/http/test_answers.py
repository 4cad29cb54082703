"""The forms of an answer over HTTP, on a real socket: JSON, Arrow, CSV, Parquet, negotiation."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.served import Served

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
JSON, CSV = "application/json", "text/csv"
ROWS = "select carrier, name from network.reference.airlines order by carrier limit 3"
# An expression, its type, how JSON writes it, how CSV does.
VALUES = [
    ("1::integer", "INTEGER", 1, "1"),
    ("9007199254740993::bigint", "BIGINT", "9007199254740993", "9007199254740993"),
    ("1::bigint", "BIGINT", "1", "1"),
    ("18446744073709551615::ubigint", "UBIGINT", "18446744073709551615", "18446744073709551615"),
    ("1.50::decimal(12,2)", "DECIMAL(12,2)", "1.50", "1.50"),
    ("0.0000000001::decimal(12,10)", "DECIMAL(12,10)", "0.0000000001", "0.0000000001"),
    ("sum(i) from range(3) t(i)", "HUGEINT", "3", "3"),
    ("1.5::double", "DOUBLE", 1.5, "1.5"),
    ("'nan'::double", "DOUBLE", "nan", "nan"),
    ("'-inf'::double", "DOUBLE", "-inf", "-inf"),
    ("true", "BOOLEAN", True, "true"),
    ("'é\"\n,'", "VARCHAR", 'é"\n,', 'é"\n,'),
    ("null::integer", "INTEGER", None, ""),
    ("date '2013-01-31'", "DATE", "2013-01-31", "2013-01-31"),
    ("date '12013-01-31'", "DATE", "12013-01-31", "12013-01-31"),
    ("time '01:02:03.000004'", "TIME", "01:02:03.000004", "01:02:03.000004"),
    ("timestamp '2013-01-02 03:04:05'", "TIMESTAMP", "2013-01-02T03:04:05", "2013-01-02T03:04:05"),
    (
        "timestamptz '2013-01-02 03:04:05+02'", "TIMESTAMP WITH TIME ZONE",
        "2013-01-02T01:04:05+00:00", "2013-01-02T01:04:05+00:00",
    ),
    (
        "'2013-01-02 03:04:05.123456789'::timestamp_ns", "TIMESTAMP_NS",
        "2013-01-02T03:04:05.123456789", "2013-01-02T03:04:05.123456789",
    ),
    ("'\\x00\\xff'::blob", "BLOB", "AP8=", "AP8="),
    ("[1::bigint, null]", "BIGINT[]", ["1", None], '["1", null]'),
    (
        "{'a': 1.5::decimal(3,1), 'b': [date '2013-01-01']}",
        "STRUCT(a DECIMAL(3,1), b DATE[])",
        {"a": "1.5", "b": ["2013-01-01"]},
        '{"a": "1.5", "b": ["2013-01-01"]}',
    ),
    ("['nan'::double, 1.5]", "DOUBLE[]", ["nan", 1.5], '["nan", 1.5]'),
    (
        "map {'a': {'b': '-inf'::double}}", "MAP(VARCHAR, STRUCT(b DOUBLE))",
        [["a", {"b": "-inf"}]], '[["a", {"b": "-inf"}]]',
    ),
    # Moments that Python has no room for, alone and inside others.
    ("timestamptz '50000-01-02 03:04:05.5'", "TIMESTAMP WITH TIME ZONE",
     "50000-01-02T03:04:05.500000+00:00", "50000-01-02T03:04:05.500000+00:00"),
    ("timestamptz 'infinity'", "TIMESTAMP WITH TIME ZONE", "infinity", "infinity"),
    ("timestamp '-infinity'", "TIMESTAMP", "-infinity", "-infinity"),
    ("timestamp '20000-03-01 (BC)'", "TIMESTAMP", "-19999-03-01T00:00:00", "-19999-03-01T00:00:00"),
    ("date 'infinity'", "DATE", "infinity", "infinity"),
    ("[date '12013-01-31', null]", "DATE[]", ["12013-01-31", None], '["12013-01-31", null]'),
    (
        "map {1: {'a': date '0044-03-15 (BC)', 'b': 'nan'::double}}",
        "MAP(INTEGER, STRUCT(a DATE, b DOUBLE))",
        [[1, {"a": "-0043-03-15", "b": "nan"}]], '[[1, {"a": "-0043-03-15", "b": "nan"}]]',
    ),
    (
        "['2013-01-02 03:04:05.123456789'::timestamp_ns, null]", "TIMESTAMP_NS[]",
        ["2013-01-02T03:04:05.123456789", None], '["2013-01-02T03:04:05.123456789", null]',
    ),
    ("interval '1 month 2 days'", "INTERVAL", [1, 2, 0], "[1, 2, 0]"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "kind", "plain", "line"), VALUES)
def test_a_value_in_each_form(
    gateway: Served, expression: str, kind: str, plain: object, line: str
) -> None:
    sql = f"select {expression}" if " from " in expression else f"select {expression} as x"
    told = gateway.query(sql, accept=JSON)
    assert told.status == 200, told.body
    assert [one["type"] for one in told.json["columns"]] == [kind]
    assert told.json["rows"] == [[plain]]
    lines = list(csv.reader(io.StringIO(gateway.query(sql, accept=CSV).body.decode(), newline="")))
    assert len(lines) == 2
    assert lines[1] == [line]
    stream = pa.ipc.open_stream(gateway.query(sql, accept=ARROW).body).read_all()
    assert stream.num_rows == 1


def test_the_whole_of_a_json_answer(gateway: Served) -> None:
    answer = gateway.query(
        "select tailnum, seats from fleet.aircraft order by seats, tailnum limit 1"
    )
    body = answer.json
    assert set(body) == {"query_id", "columns", "rows", "truncated", "masked"}
    assert answer.headers["X-Sqluice-Query-Id"] == body["query_id"]
    assert body["columns"] == [
        {"name": "tailnum", "type": "VARCHAR"}, {"name": "seats", "type": "INTEGER"},
    ]  # fmt: skip
    assert body["rows"][0][0].startswith("p_")
    assert body["masked"] == ["fleet.aircraft.planes.tailnum"]
    assert body["truncated"] is False


def test_an_empty_answer_in_each_form(gateway: Served) -> None:
    sql = "select carrier, flight_id from operations.departures where false"
    assert gateway.query(sql).json["rows"] == []
    assert gateway.query(sql, accept=CSV).body == b"carrier,flight_id\r\n"
    found = pa.ipc.open_stream(gateway.query(sql, accept=ARROW).body).read_all()
    assert found.schema.types == [pa.string(), pa.int64()] and found.num_rows == 0
    packed = parquet.read_table(io.BytesIO(gateway.query(sql, accept=PARQUET).body))
    assert packed.schema.names == ["carrier", "flight_id"] and packed.num_rows == 0


def test_arrow_and_parquet_say_what_json_says_beside_the_rows(gateway: Served) -> None:
    sql = "select tailnum from fleet.aircraft limit 2"
    answers = [gateway.query(sql, accept=one) for one in (ARROW, PARQUET)]
    stream = pa.ipc.open_stream(answers[0].body)
    packed = parquet.read_schema(io.BytesIO(answers[1].body))
    for answer, schema in zip(answers, (stream.schema, packed), strict=True):
        metadata = schema.metadata
        assert metadata[b"sqluice.query_id"].decode() == answer.headers["X-Sqluice-Query-Id"]
        assert json.loads(metadata[b"sqluice.masked"]) == ["fleet.aircraft.planes.tailnum"]


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
        (CSV, CSV),
        (ARROW, ARROW),
        (PARQUET, PARQUET),
        ("TEXT/CSV", CSV),
        (f"{JSON};q=0.5, {CSV};q=0.9", CSV),
        (f"{CSV};q=0, {JSON}", JSON),
        ("text/*", CSV),
    ],
)
def test_accept_is_negotiated(gateway: Served, accept: str, media: str) -> None:
    answer = gateway.query(ROWS, accept=accept)
    assert answer.status == 200
    assert answer.headers["content-type"].split(";")[0] == media


def test_a_form_that_is_not_served(gateway: Served) -> None:
    answer = gateway.query(ROWS, accept="text/html")
    assert answer.status == 406
    assert answer.json["error"]["code"] == "unsupported_sql"
    assert ARROW in answer.json["error"]["message"]


@pytest.mark.parametrize("media", [JSON, CSV, ARROW, PARQUET])
def test_a_whole_table_in_each_form(gateway: Served, media: str) -> None:
    (row,) = gateway.query("select count(*) from operations.departures").json["rows"]
    body = gateway.query("select * from operations.departures", accept=media).body
    readers: dict[str, Callable[[], int]] = {
        JSON: lambda: len(json.loads(body)["rows"]),
        CSV: lambda: sum(1 for _ in csv.reader(io.StringIO(body.decode(), newline=""))) - 1,
        ARROW: lambda: pa.ipc.open_stream(body).read_all().num_rows,
        PARQUET: lambda: parquet.read_table(io.BytesIO(body)).num_rows,
    }
    assert readers[media]() == int(row[0]) > 10_000
