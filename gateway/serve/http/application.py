"""The HTTP endpoint: reads the wire, calls the pipeline, writes the wire.

Takes: an open gateway. Gives: a Flask application (DESIGN 9). Never answers for anybody who is not
signed in, but health and the page that says what this is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Set
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from flask import Flask, Response, g, jsonify, request
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from gateway import __version__
from gateway.errors import (
    SourceUnavailable,
    SqluiceError,
    TypeMismatch,
    Unauthenticated,
    UnknownTable,
)
from gateway.opening import OpenGateway
from gateway.parse import FORMATS
from gateway.queries import OPERATOR
from gateway.request import Principal, Request
from gateway.result import Result
from gateway.serve.acting import HEADERS as ACTING_AS
from gateway.serve.acting import acting_as
from gateway.serve.http.answers import writer_of
from gateway.serve.http.faults import register_faults
from gateway.serve.http.leaving import when_gone, when_sent
from gateway.serve.http.pages import openapi, product_page, start_page
from gateway.serve.http.wishes import read_wish
from gateway.serve.tls import SHOWN
from gateway.sessions import Session, Settings
from gateway.state.engine import reading
from sqluice import explained

_FIELDS = {"sql", "parameters", "purpose", "domain", "dialect", "timezone", "limit"}
_EXPLAIN_FIELDS = _FIELDS | {"policy", "analyze", "format"}
_MAXIMUM_BODY = 2_000_000
_LOOPBACK = ("127.0.0.1", "::1")


def make_application(opened: OpenGateway) -> Flask:
    """The application over an open gateway."""
    application = Flask("sqluice", static_folder=None)
    application.config["MAX_CONTENT_LENGTH"] = _MAXIMUM_BODY
    application.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider
    register_faults(application)
    handlers = Handlers(opened)
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
            ("/v1/query", ["POST"], self.query),
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
        asked = self._request(self._body())
        media, writer = writer_of(request.accept_mimetypes)
        queries = self._opened.queries
        sending = queries.sending(asked.query_id)
        is_told = when_sent(request.environ, lambda: queries.sent(sending))
        try:
            result = self._answered(asked)
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

    def _answered(self, asked: Request) -> Result:
        """The result; a client who leaves ends its query."""
        gateway = self._opened.gateway

        def leave() -> None:
            gateway.cancel(asked.query_id, asked.principal)

        when_gone(request.environ, leave)
        result = gateway.answer(asked)
        # Once more for whoever left before there was a query to cancel.
        when_gone(request.environ, leave)
        return result

    def explain(self) -> Response:
        """The plan as rows, a document or a flowchart; with `policy` the reasons instead."""
        body = self._body(_EXPLAIN_FIELDS)
        options = _explain_options(body)
        asked = self._request({**body, "sql": f"EXPLAIN ({options}) {body['sql']}"})
        result = self._answered(asked)
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
        principal = self._principal()
        wish = read_wish(_sent())
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

    def _principal(self) -> Principal:
        """Who asks: Basic or Bearer; somebody else where he may act as another."""
        if "principal" in g:
            return g.principal  # type: ignore[no-any-return]  # set below
        identity, address = self._opened.identity, request.remote_addr or ""
        authorization = request.authorization
        if authorization is None:
            found = identity.authenticate_certificate(_certificate(), "http", address)
        elif authorization.type == "basic":
            if request.remote_addr not in _LOOPBACK and not request.is_secure:
                raise Unauthenticated("Passwords are not taken over plaintext.", hint="Use TLS.")
            user, secret = authorization.username or "", authorization.password or ""
            found = identity.sign_in(user, secret, "http", address).principal
        elif authorization.type == "bearer":
            found = identity.authenticate_bearer(authorization.token or "", "http", address)
        else:
            raise Unauthenticated("Only Basic and Bearer are served.")
        name = acting_as(request.headers.get(one) or "" for one in ACTING_AS)
        principal = identity.act_as(found, name, "http", address) if name else found
        g.principal = replace(
            principal,
            client=request.headers.get("User-Agent", "")[:200],
            address=address,
        )
        return g.principal  # type: ignore[no-any-return]  # set above

    def _body(self, fields: Set[str] = _FIELDS) -> dict[str, Any]:
        self._principal()
        body = _sent()
        if not isinstance(body, dict):
            raise _no_object()
        unknown = sorted(set(body) - fields)
        if unknown:
            raise TypeMismatch(
                f"The field {unknown[0]!r} is not known.",
                hint=f"Fields are {', '.join(sorted(fields))}.",
            )
        if not isinstance(body.get("sql"), str):
            raise TypeMismatch("The field sql must be text.")
        return body

    def _request(self, body: dict[str, Any]) -> Request:
        session = Session(
            self._principal(),
            endpoint="http",
            limits=self._opened.limits,
            client=self._principal().client,
            address=self._principal().address,
            defaults=Settings(),
        )
        for name in ("purpose", "domain", "dialect", "timezone"):
            if body.get(name) is not None:
                session.set(name, str(body[name]))
        first = body.get("limit")
        if first is not None and (type(first) is not int or first < 0):
            raise TypeMismatch("The field limit must be a whole number.")
        parameters = body.get("parameters") or []
        if not isinstance(parameters, list):
            raise TypeMismatch("The field parameters must be a list.")
        values = tuple(_parameter(one) for one in parameters)
        made = session.request(body["sql"], datetime.now(UTC), values, first=first)
        return replace(made, trace=request.headers.get("traceparent", ""))


def _certificate() -> str:
    """The name in the client's certificate; raises Unauthenticated where there is none to go by.

    A browser shows its certificate unasked: a page of another site asks as nobody.
    """
    shown = str(request.environ.get("asgi.scope", {}).get(SHOWN, ""))
    if not shown or request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Unauthenticated("Nobody is signed in.", hint="Send Basic or Bearer authorization.")
    return shown


def _no_object() -> TypeMismatch:
    if request.is_json:
        return TypeMismatch("The body is no JSON object.", hint='Send {"sql": "SELECT 1"}.')
    return TypeMismatch(
        "The request does not say that its body is JSON.",
        hint="Send it with the header Content-Type: application/json.",
    )


def _sent() -> object:
    """The body as JSON; None where it is none.

    Only a body that calls itself JSON is: a page of another site cannot send one unasked.
    """
    try:
        found: object = request.get_json(silent=True)
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        return None
    except UnicodeEncodeError:
        raise TypeMismatch(
            "The body holds half of a character.", hint="Escape both halves, or send UTF-8."
        ) from None
    return found


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


def _parameter(value: object) -> object:
    """JSON has no decimals: a number with a fraction is one of ours exactly."""
    if isinstance(value, dict | list):
        raise TypeMismatch("A parameter is a number, text, true, false or null.")
    return Decimal(repr(value)) if isinstance(value, float) else value


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
