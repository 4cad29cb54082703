"""Errors rebuilt from what the wire says."""

from __future__ import annotations

import pickle

import pytest

import sqluice
from gateway.errors import SqluiceError
from gateway.serve.flight.faults import fault_of
from sqluice.codes import CODES
from sqluice.details import STATUS_KEY, facts_of
from sqluice.errors import Failure, rebuilt


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_every_code_has_its_class(code: object) -> None:
    entry = CODES[getattr(code, "name")]  # noqa: B009  # typed as object by pytest
    error = rebuilt({"code": entry.name, "message": "m", "query_id": "q_1"})
    assert type(error).__name__ == entry.pep249
    assert isinstance(error, sqluice.DatabaseError)
    assert (error.code, error.remedy, error.sqlstate) == (entry.name, entry.remedy, entry.sqlstate)
    assert error.is_retryable is entry.retryable
    assert str(error) == f"{entry.name}: m {entry.remedy} (query q_1)"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.failure) == (type(error), error.failure)


def test_a_code_of_a_newer_gateway() -> None:
    facts = {"code": "brand_new", "message": "m", "class": "DataError", "sqlstate": "22000",
             "retryable": "true", "remedy": "r", "retry_after": "1.5", "line": "3"}  # fmt: skip
    error = rebuilt(facts)
    assert type(error) is sqluice.DataError
    assert error.failure == Failure("m", "brand_new", "r", None, "22000", True, 3, None, 1.5)
    assert error.retry_after == 1.5
    assert rebuilt({"code": "timeout"}).retry_after is None


def test_a_class_that_is_none() -> None:
    assert type(rebuilt({"code": "brand_new", "class": "object"})) is sqluice.DatabaseError


def test_the_gateway_and_the_client_speak_of_the_same() -> None:
    # Anything that the Flight endpoint says of an error comes out here as it went in.
    error = SqluiceError("m", line=2, column=7, hint="h")
    error.query_id = "q_1"
    status = fault_of(error).details
    facts = facts_of([(STATUS_KEY.encode(), _first_detail(status))])
    assert (facts["code"], facts["message"], facts["remedy"]) == ("internal", "m", "h")
    assert (facts["line"], facts["column"], facts["query_id"]) == ("2", "7", "q_1")


@pytest.mark.parametrize(
    "details",
    [
        [],
        [("other", b"x")],
        [(STATUS_KEY, b"")],
        [(STATUS_KEY, b"\xff\xff\xff")],
        [(STATUS_KEY, b"\x0a\xff\x01abc")],
        [(STATUS_KEY, b"\x0a\x03abc\x12\x02xy")],
        [(STATUS_KEY, b"\x0f")],
    ],
)
def test_details_of_others_are_left_out(details: list[tuple[str | bytes, bytes | str]]) -> None:
    assert facts_of(details) == {}


def test_headers_are_facts_too() -> None:
    assert facts_of([("x-sqluice-query-id", "q_1"), (b"x-sqluice-code", b"timeout")]) == {
        "query_id": "q_1",
        "code": "timeout",
    }


def test_a_text_is_an_error_without_code() -> None:
    error = sqluice.InterfaceError("what")
    assert (error.code, error.message, error.query_id, str(error)) == ("", "what", None, "what")


def _first_detail(status: bytes) -> bytes:
    """The Any inside a google.rpc.Status: its third field."""
    from gateway.serve.flight.messages import parse  # noqa: PLC0415  # only here

    found: bytes = parse("Status", status).details[0].SerializeToString()
    return found
