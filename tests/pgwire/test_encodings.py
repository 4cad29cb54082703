"""The same values out of a real PostgreSQL and out of the gateway: the same bytes and types."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
import pyarrow as pa
import pytest
import yaml
from psycopg import pq

from gateway.serve.pgwire.encoding.rows import (
    CopyBinary,
    CsvForm,
    TextForm,
    copy_csv,
    copy_text,
    data_rows,
)
from tests.pgwire.conftest import Connection
from tests.pgwire.matrix import COLUMNS, table_of
from tests.sample import SampleMesh

KINDS: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "encodings.yaml").read_text(encoding="utf-8")
)
ZONES = ("UTC", "America/New_York", "Asia/Kolkata")
Cells = tuple[list[int], list[int], list[bytes | None]]


@pytest.fixture(scope="module")
def postgres(sample: SampleMesh) -> Iterator[Connection]:
    """The PostgreSQL that the sample mesh has, as the oracle."""
    with psycopg.connect(sample.server.url("operations"), autocommit=True) as connection:
        yield connection


def texts(kind: dict[str, Any], side: int) -> list[str]:
    """The SELECT list of a kind's values and a NULL, for PostgreSQL (0) or the gateway (1)."""
    name = kind.get("to", kind["type"]) if side else kind["type"]
    given = [one if isinstance(one, str) else one[side] for one in kind["values"]]
    return [f"'{one.replace(chr(39), 2 * chr(39))}'::{name}" for one in given] + [f"NULL::{name}"]


def row(connection: Connection, items: list[str], form: int) -> Cells:
    """Types, modifiers and bytes of the one row of a SELECT."""
    sql = "SELECT " + ", ".join(f"{one} AS c{at}" for at, one in enumerate(items))
    result = connection.pgconn.exec_params(sql.encode(), None, result_format=form)
    assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message.decode()
    columns = range(result.nfields)
    return (
        [result.ftype(one) for one in columns],
        [result.fmod(one) for one in columns],
        [result.get_value(0, one) for one in columns],
    )


@pytest.mark.parametrize("form", [0, 1], ids=["text", "binary"])
@pytest.mark.parametrize("kind", KINDS, ids=[one["type"] for one in KINDS])
def test_a_value_is_the_same_bytes(
    postgres: Connection, nora: Connection, kind: dict[str, Any], form: int
) -> None:
    for zone in ZONES if kind["type"] == "timestamptz" else ZONES[:1]:
        for one in (postgres, nora):
            one.execute(f"SET timezone = '{zone}'".encode())
        types, modifiers, wanted = row(postgres, texts(kind, 0), form)
        found_types, found_modifiers, found = row(nora, texts(kind, 1), form)
        given = [*kind["values"], None]
        different = [
            (value, one, other)
            for value, one, other in zip(given, wanted, found, strict=True)
            if one != other
        ]
        assert not different
        assert found_types == types
        if "numeric" in kind["type"] and "[]" not in kind["type"]:
            assert found_modifiers == modifiers
    nora.execute("RESET timezone")


def binary(*sizes: int, values: Sequence[int | None]) -> bytes:
    """An array of int4 in PostgreSQL's binary form."""
    made = struct.pack(">iii", len(sizes), int(None in values), 23)
    made += b"".join(struct.pack(">ii", one, 1) for one in sizes)
    return made + b"".join(
        struct.pack(">i", -1) if one is None else struct.pack(">ii", 4, one) for one in values
    )


# As a client sends it, its form, and what both servers make of it: JSON, or a SQLSTATE.
SENT: tuple[tuple[bytes, int, object], ...] = (
    (b"{{1,2},{3,4}}", 0, [[1, 2], [3, 4]]), (b" { {1 , NULL}, {3,4} } ", 0, [[1, None], [3, 4]]),
    (b"{{{1}},{{2}}}", 0, [[[1]], [[2]]]), (b"{}", 0, []),
    (binary(2, 2, values=[1, None, 3, 4]), 1, [[1, None], [3, 4]]),
    (binary(1, 2, 1, values=[1, 2]), 1, [[[1], [2]]]), (binary(2, 0, values=[]), 1, []),
    (b"{{1},{2,3}}", 0, "22P02"), (b"{{1},NULL}", 0, "22P02"), (b"{{1},2}", 0, "22P02"),
    (b"{{1},{2}", 0, "22P02"), (b"{1}}", 0, "22P02"), (b"{{{{{{{1}}}}}}}", 0, None),
    (binary(2, 2, values=[1, 2, 3]), 1, None), (binary(2**30, 2**30, values=[1]), 1, None),
    (binary(*[1] * 7, values=[1]), 1, None), (binary(-1, -1, values=[1]), 1, None),
)  # fmt: skip


@pytest.mark.parametrize(("value", "form", "wanted"), SENT, ids=range(len(SENT)))
def test_an_array_that_is_bound_is_the_same_value(
    postgres: Connection, nora: Connection, value: bytes, form: int, wanted: object
) -> None:
    """None: an error, of which PostgreSQL has several."""
    for one in (postgres, nora):
        result = one.pgconn.exec_params(
            b"SELECT to_json($1) AS x", [value], [1007], [form], result_format=0
        )
        if isinstance(wanted, list):
            assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message.decode()
            assert json.loads(result.get_value(0, 0) or b"") == wanted
            continue
        found = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        assert result.status == pq.ExecStatus.FATAL_ERROR and found != "XX000"
        assert wanted in (None, found)
    if value == b"{{1},{2,3}}":
        hint = result.error_field(pq.DiagnosticField.MESSAGE_HINT) or b""
        assert b"as text and cast it" in hint
        (ragged,) = nora.execute("SELECT %s::INTEGER[][]", ("[[1], [2, 3]]",)).fetchall()
        assert ragged == ([[1], [2, 3]],)


def test_an_inner_array_that_is_null_is_told(nora: Connection) -> None:
    """PostgreSQL's own arrays cannot hold it; a list of lists can, which is json."""
    for form in (False, True):
        with nora.cursor(binary=form) as cursor:
            with pytest.raises(psycopg.errors.DatatypeMismatch, match="to_json") as caught:
                cursor.execute("SELECT [NULL, [1, 2]]::INTEGER[2][2] AS x").fetchall()
            assert "type_error" in str(caught.value.diag.message_detail)
            cursor.execute("SELECT to_json([NULL, [1, 2]]::INTEGER[2][2]) AS x")
            assert cursor.fetchall() == [([None, [1, 2]],)]
            cursor.execute("SELECT [NULL, [1, 2], [3]] AS x")
            assert cursor.fetchall() == [([None, [1, 2], [3]],)]


@pytest.mark.parametrize(
    "options",
    [
        "", "(FORMAT csv)", "(FORMAT binary)", "(FORMAT csv, HEADER, FORCE_QUOTE *)",
        "(FORMAT csv, DELIMITER ';', NULL 'nil', QUOTE '''', ESCAPE '\\')", "CSV HEADER",
        "(DELIMITER '|', NULL '')", "WITH CSV HEADER QUOTE AS '\"' FORCE QUOTE c1, c2",
        "(FORMAT text, HEADER)", "BINARY",
    ],
)  # fmt: skip
def test_copy_is_the_same_bytes(postgres: Connection, nora: Connection, options: str) -> None:
    query = (
        "SELECT c1, c2, c3::numeric(9,2) AS c3, c4 FROM (VALUES "
        "(1::int, 'a,b'::text, 1.50, true), "
        "(NULL, '', NULL, false), (3, 'x\"y''z\\|;', -0.01, NULL), (4, '\\.', 0, NULL), "
        "(5, 'nil', 0, NULL), (6, 'tab\tnew\nline\r', 0, NULL), (7, NULL, 0, NULL)) "
        "AS t(c1, c2, c3, c4)"
    )
    sql = f"COPY ({query}) TO STDOUT {options}".encode()
    copied = []
    for one in (postgres, nora):
        with one.cursor() as cursor, cursor.copy(sql) as copy:
            copied.append(b"".join(bytes(piece) for piece in copy))
            assert cursor.pgresult is not None
    assert copied[1] == copied[0]


@pytest.mark.parametrize(
    "encoder",
    [
        lambda schema: data_rows(schema, [0] * len(schema)),
        lambda schema: data_rows(schema, [1] * len(schema)),
        lambda schema: CopyBinary().encoder(schema),
        lambda schema: copy_text(schema, TextForm()),
        lambda schema: copy_csv(schema, CsvForm()),
    ],
    ids=["text", "binary", "copy binary", "copy text", "copy csv"],
)
def test_no_line_of_python_runs_for_each_row(encoder: Any) -> None:  # noqa: ANN401 - as above
    def lines(rows: int) -> int:
        """How many lines and calls of Python a batch of so many rows takes."""
        table = table_of(rows)
        batch = table.combine_chunks().to_batches()[0]
        encode = encoder(table.schema)
        encode(batch)
        count = 0

        def trace(frame: FrameType, event: str, argument: object) -> Any:  # noqa: ANN401 - its own
            nonlocal count
            count += 1
            return trace

        sys.settrace(trace)
        try:
            encode(batch)
        finally:
            sys.settrace(None)
        return count

    assert lines(5_000) < lines(50) * 1.2 + 200


def test_a_slice_and_an_empty_batch() -> None:
    table = table_of(10)
    whole = table.combine_chunks().to_batches()[0]
    encoders = [data_rows(table.schema, [form] * len(COLUMNS)) for form in (0, 1)]
    encoders += [copy_text(table.schema, TextForm()), copy_csv(table.schema, CsvForm())]
    for encode in encoders:
        # Few rows are written one by one, many by their columns.
        for size in (1, 3, 6):
            parts = [bytes(encode(whole.slice(at, size))) for at in range(0, 10, size)]
            assert b"".join(parts) == bytes(encode(whole))
        empty = pa.RecordBatch.from_arrays(
            [pa.array([], one.type) for one in table.schema], schema=table.schema
        )
        assert bytes(encode(empty)) == b""
