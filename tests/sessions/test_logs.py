"""Logs are JSON and hold no values; the owner's log holds what the source said."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import SourceFailed
from gateway.logs import OwnerLogs, configure_logs, query_id


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The JSON log of the test, the root logger as it was afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    made = io.StringIO()
    configure_logs("info", made)
    yield made
    root.handlers[:] = handlers
    root.setLevel(level)


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(one) for one in stream.getvalue().splitlines()]


def test_one_object_a_line_with_the_query_id(stream: io.StringIO) -> None:
    token = query_id.set("q1")
    logging.getLogger("gateway.test").info("a line\nof two", extra={"code": "ok", "private": "x"})
    query_id.reset(token)
    logging.getLogger("gateway.test").debug("not shown")
    logging.getLogger("gateway.test").warning("%s", "é", extra={"query_id": "q2"})
    first, second = _lines(stream)
    assert (first["message"], first["query_id"], first["code"]) == ("a line\nof two", "q1", "ok")
    assert "private" not in first
    assert (second["query_id"], second["level"]) == ("q2", "WARNING")


def test_the_text_of_an_exception_is_not_written(stream: io.StringIO) -> None:
    try:
        raise ValueError("invalid input: 'ada@example.org'")
    except ValueError:
        logging.getLogger("gateway.test").exception("it failed")
    (line,) = _lines(stream)
    assert line["exception"] == "ValueError"
    assert "test_logs.py" in str(line["frames"])
    assert "ada" not in stream.getvalue()


def test_the_owner_reads_what_his_source_said(tmp_path: Path) -> None:
    logs = OwnerLogs(tmp_path / "logs")
    error = SourceFailed("A source answered with an error.", private="invalid input: 'ada'")
    error.query_id = "q7"
    logs.write("loyalty", error, "loyalty.crm")
    logs.write("operations", error, "operations.warehouse")
    logs.write("../../elsewhere", error)
    logs.close()
    (line,) = (tmp_path / "logs" / "loyalty.jsonl").read_text().splitlines()
    read = json.loads(line)
    assert (read["query_id"], read["private"]) == ("q7", "invalid input: 'ada'")
    assert sorted(one.name for one in (tmp_path / "logs").iterdir()) == [
        "elsewhere.jsonl", "loyalty.jsonl", "operations.jsonl",
    ]
