"""The HTTP endpoint: reads the wire, calls the pipeline, writes the wire.

Takes: an open gateway. Gives: a Flask application (DESIGN 9). Never answers for anybody who is not
signed in, but health and the page that says what this is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, jsonify, request
from flask import Request as Sent
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from gateway import __version__
from gateway.errors import (
    SourceUnavailable,
    SqluiceError,
    TypeMismatch,
    UnknownTable,
)
from gateway.opening import OpenGateway
from gateway.parse import FORMATS
from gateway.queries import OPERATOR
from gateway.request import Principal, Request
from gateway.result import Result
from gateway.serve.http.answers import writer_of
from gateway.serve.http.asking import FIELDS, MAXIMUM_BODY, Asking
from gateway.serve.http.faults import register_faults
from gateway.serve.http.leaving import when_gone, when_sent
from gateway.serve.http.pages import openapi, product_page, start_page
from gateway.serve.http.wishes import read_wish
from gateway.state.engine import reading
from sqluice import explained

_EXPLAIN_FIELDS = FIELDS | {"policy", "analyze", "format"}
_QUERY = "/v1/query"


class Application(Flask):
    """Flask, but for what is asked most: a statement is answered without routing and contexts."""

    def __init__(self, answer: Callable[[Sent], Response]) -> None:
        super().__init__("sqluice", static_folder=None)
        self.config["MAX_CONTENT_LENGTH"] = MAXIMUM_BODY
        self.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider
        self._answer = answer

    def wsgi_app(self, environ: Any, start_response: Any) -> Any:  # noqa: ANN401 - WSGI
        """The answer to a request; whatever fails leaves as Flask has it."""
        if environ.get("PATH_INFO") != _QUERY or environ.get("REQUEST_METHOD") != "POST":
            return super().wsgi_app(environ, start_response)
        sent = self.request_class(environ)
        sent.max_content_length = MAXIMUM_BODY
        try:
            response = self._answer(sent)
        except Exception as error:  # noqa: BLE001 - as Flask does, which tells what to whom
            with self.request_context(environ):
                response = self.make_response(self.handle_user_exception(error))
        return response(environ, start_response)


def make_application(opened: OpenGateway) -> Flask:
    """The application over an open gateway."""
    handlers = Handlers(opened)
    application = Application(handlers.answer)
    register_faults(application)
    for rule, methods, handler in handlers.routes():
        application.add_url_rule(rule, handler.__name__, handler, methods=methods)
    return application


class Handlers:
    """One method a route."""

    def __init__(self, opened: OpenGateway) -> None:
        self._opened = opened

    def routes(self) -> list[tuple[str, list[str], Any]]:
        """All routes; /openapi.json is checked against this list."""
        return [
            ("/", ["GET"], self.start),
            ("/healthz", ["GET"], self.health),
            ("/readyz", ["GET"], self.ready),
            ("/metrics", ["GET"], self.metrics),
            ("/openapi.json", ["GET"], self.openapi),
            (_QUERY, ["POST"], self.query),
            ("/v1/explain", ["POST"], self.explain),
            ("/v1/queries", ["GET"], self.queries),
            ("/v1/queries/<query_id>", ["GET"], self.one_query),
            ("/v1/queries/<query_id>", ["DELETE"], self.cancel),
            ("/v1/tokens", ["GET"], self.tokens),
            ("/v1/tokens", ["POST"], self.create_token),
            ("/v1/tokens/<token_id>", ["DELETE"], self.revoke_token),
            ("/v1/products", ["GET"], self.products),
            ("/v1/products/<domain>/<product>", ["GET"], self.product),
        ]

    def start(self) -> Response:
        """What this is, for whoever opens it in a browser."""
        return Response(start_page(), mimetype="text/html")

    def health(self) -> Response:
        """The process lives; whether the newest files are in force is told too."""
        told = {"status": "ok", "pid": os.getpid(), "version": __version__}
        return jsonify({**told, "reload_failed": bool(self._opened.publisher.failure)})

    def ready(self) -> Response:
        """Mesh and state are there; a failed reload or a silent decision point is told."""
        self._opened.queries.require_open()
        try:
            with reading(self._opened.state) as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            raise SourceUnavailable(
                "The state of the gateway cannot be reached.", private=str(error)
            ) from None
        failure = self._opened.publisher.failure
        point = self._opened.decision_point
        is_failing = point is not None and point.is_failing
        revision = self._opened.publisher.current().mesh.revision
        found: dict[str, object] = {
            "status": "degraded" if failure or is_failing else "ok",
            "revision": revision[:12],
            "reload_failed": bool(failure),
        }
        if point is not None:
            found["decision_point"] = "failing" if is_failing else "ok"
        return jsonify(found)

    def metrics(self) -> Response:
        """Prometheus; by products too for an operator who signs in."""
        with_products = False
        if request.authorization is not None:
            principal = self._principal()
            with_products = OPERATOR in principal.roles and principal.scope.is_whole
        return Response(self._opened.metrics.text(with_products), mimetype="text/plain")

    def openapi(self) -> Response:
        """The interface, described."""
        return jsonify(openapi())

    def query(self) -> Response:
        """A statement's answer, in the form that Accept asks for."""
        return self.answer(request._get_current_object())  # type: ignore[attr-defined]

    def answer(self, sent: Sent) -> Response:
        """The same, without Flask's contexts."""
        asking = Asking(self._opened, sent)
        asked = asking.request(asking.body())
        media, writer = writer_of(sent.headers.get("Accept", ""))
        queries = self._opened.queries
        sending = queries.sending(asked.query_id)
        is_told = when_sent(sent.environ, lambda: queries.sent(sending))
        try:
            result = self._answered(asked, sent)
            result.held_back = lambda: sending.reason
            pieces = writer(result)
        except SqluiceError as error:
            error.query_id = error.query_id or asked.query_id
            queries.sent(sending)
            raise
        response = Response(pieces, mimetype=media, direct_passthrough=True)
        # A body that is never begun ends nothing by itself.
        response.call_on_close(result.close)
        if not is_told:
            response.call_on_close(lambda: queries.sent(sending))
        response.headers["X-Sqluice-Query-Id"] = result.query_id
        return response

    def _answered(self, asked: Request, sent: Sent) -> Result:
        """The result; a client who leaves ends its query."""
        gateway = self._opened.gateway

        def leave() -> None:
            gateway.cancel(asked.query_id, asked.principal)

        when_gone(sent.environ, leave)
        return gateway.answer(asked)

    def explain(self) -> Response:
        """The plan as rows, a document or a flowchart; with `policy` the reasons instead."""
        asking = self._asking()
        body = asking.body(_EXPLAIN_FIELDS)
        options = _explain_options(body)
        asked = asking.request({**body, "sql": f"EXPLAIN ({options}) {body['sql']}"})
        result = self._answered(asked, asking.sent)
        rows = [row for batch in result.batches() for row in batch.to_pylist()]
        told: dict[str, object] = {"query_id": result.query_id}
        match body.get("format", "text"):
            case "json" if not body.get("policy"):
                return jsonify({**told, "explanation": json.loads(rows[0]["plan"])})
            case "json":
                return jsonify({**told, **json.loads(rows[0]["plan"])})
            case "mermaid":
                return jsonify({**told, "mermaid": rows[0]["plan"]})
        reasons = explained.document(rows) if body.get("policy") else {}
        return jsonify({**told, "rows": rows, **reasons})

    def queries(self) -> Response:
        """The running queries that the caller may see; with ?all=true those that ended lately."""
        ended = request.args.get("all", "").casefold() == "true"
        found = self._opened.gateway.queries(self._principal(), ended)
        return jsonify({"queries": [_plain(one) for one in found]})

    def one_query(self, query_id: str) -> Response:
        """One query, running or ended lately."""
        found = self._opened.queries.get(query_id, self._principal())
        if found is None:
            raise UnknownTable(f"There is no query {query_id}.", hint="GET /v1/queries lists them.")
        return jsonify(_plain(found))

    def cancel(self, query_id: str) -> Response:
        """Stop a running query."""
        if not self._opened.gateway.cancel(query_id, self._principal()):
            raise UnknownTable(
                f"There is no running query {query_id}.", hint="GET /v1/queries lists them."
            )
        return jsonify({"query_id": query_id, "state": "cancelling"})

    def tokens(self) -> Response:
        """The caller's own API tokens, without what signs in."""
        return jsonify({"tokens": self._opened.own_tokens.list(self._principal())})

    def create_token(self) -> Response:
        """A new API token for the caller himself: told this once."""
        asking = self._asking()
        principal = asking.principal
        wish = read_wish(asking.json())
        with self._opened.services.limiter.admit(principal):
            made = self._opened.own_tokens.create(principal, wish)
        response = jsonify({"token": made.value, **made.token.shown(datetime.now(UTC))})
        response.status_code = 201
        response.headers["Cache-Control"] = "no-store"
        return response

    def revoke_token(self, token_id: str) -> Response:
        """End one of the caller's own API tokens."""
        ended = self._opened.own_tokens.revoke(self._principal(), token_id)
        return jsonify({"id": token_id, "revoked": ended})

    def products(self) -> Response:
        """The products that the caller may query."""
        shown = self._catalog(with_columns=False)
        pages = {}
        for one in shown:
            key = (one.address.domain, one.address.product)
            pages[key] = {
                "domain": key[0],
                "product": key[1],
                "version": one.product.version,
                "description": one.product.description,
                "tables": [
                    t.address.table for t in shown if (t.address.domain, t.address.product) == key
                ],
            }
        return jsonify({"products": list(pages.values())})

    def product(self, domain: str, product: str) -> Response:
        """One product's page."""
        found = [
            one
            for one in self._catalog()
            if one.address.domain.casefold() == domain.casefold()
            and one.address.product.casefold() == product.casefold()
        ]
        if not found:
            raise UnknownTable(f"There is no product {domain}.{product} that you may query.")
        return jsonify(product_page(found))

    def _catalog(self, with_columns: bool = True) -> Any:  # noqa: ANN401 - visible tables
        purpose = request.args.get("purpose")
        return self._opened.gateway.catalog(
            self._principal(), datetime.now(UTC), purpose, with_columns
        )

    def _asking(self) -> Asking:
        return Asking(self._opened, request._get_current_object())  # type: ignore[attr-defined]

    def _principal(self) -> Principal:
        return self._asking().principal


def _explain_options(body: dict[str, Any]) -> str:
    """What the fields of the body ask for, as options of EXPLAIN."""
    for name in ("policy", "analyze"):
        if not isinstance(body.get(name, False), bool):
            raise TypeMismatch(f"The field {name} must be true or false.")
    form = body.get("format", "text")
    if form not in FORMATS:
        raise TypeMismatch(f"The field format must be one of {', '.join(FORMATS)}.")
    words = [name.upper() for name in ("policy", "analyze") if body.get(name)]
    return ", ".join((*words, f"FORMAT {form}"))


def _plain(one: Any) -> dict[str, object]:  # noqa: ANN401 - a running query
    return {
        "query_id": one.query_id,
        "user": one.user,
        "statement": one.statement,
        "started": one.started.isoformat(),
        "endpoint": one.endpoint,
        "purpose": one.purpose,
        "state": one.state,
        "rows": one.rows,
        "done": round(one.done, 3),
        "seconds": round(one.seconds, 3),
        "code": one.code,
    }
