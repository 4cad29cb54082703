"""Errors over HTTP, in one shape.

Takes: our errors and werkzeug's. Gives: `{error: {code, message, remedy, ...}}` with the status of
the code table. Never a page of HTML, a traceback or a private text.
"""

from __future__ import annotations

import logging
import math

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from gateway.errors import InternalError, RateLimited, SqluiceError

log = logging.getLogger("gateway.http")
_CODES = {
    400: "parse_error",
    401: "unauthenticated",
    403: "access_denied",
    404: "unknown_table",
    405: "unsupported_sql",
    406: "unsupported_sql",
    413: "limit_exceeded",
    415: "unsupported_sql",
}


def error_body(error: SqluiceError) -> dict[str, object]:
    """The body of an error."""
    entry = error.entry
    return {
        "error": {
            "code": entry.name,
            "message": error.message,
            "remedy": error.remedy,
            "query_id": error.query_id,
            "line": error.line,
            "column": error.column,
            "policy": error.policy or None,
            "product": error.product or None,
            "sqlstate": entry.sqlstate,
            "class": entry.pep249,
            "retryable": entry.retryable,
        }
    }


def error_response(error: SqluiceError) -> Response:
    """The answer to a request that failed before its body began."""
    response = jsonify(error_body(error))
    response.status_code = error.entry.http
    if error.query_id:
        response.headers["X-Sqluice-Query-Id"] = error.query_id
    if isinstance(error, RateLimited):
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if error.entry.http == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="sqluice", Bearer'
    return response


def register_faults(application: Flask) -> None:
    """Every error leaves in one shape."""

    def ours(error: SqluiceError) -> Response:
        return error_response(error)

    def theirs(error: HTTPException) -> Response:
        status = error.code or 500
        body = {
            "error": {
                "code": _CODES.get(status, "internal"),
                "message": error.description or error.name,
                "remedy": "See /openapi.json.",
                "query_id": None,
                "line": None,
                "column": None,
                "sqlstate": None,
                "class": None,
                "retryable": False,
                "policy": None,
                "product": None,
            }
        }
        response = jsonify(body)
        response.status_code = status
        return response

    def unknown(error: Exception) -> Response:
        log.exception("http handler failed")
        return error_response(InternalError("The gateway failed on this request."))

    application.register_error_handler(SqluiceError, ours)
    application.register_error_handler(HTTPException, theirs)
    application.register_error_handler(Exception, unknown)
