"""One request over HTTP: who asks, and what.

Takes: a request as werkzeug has it, an open gateway. Gives: the principal, the body's fields, the
request of the pipeline. Never takes a password over plaintext from another machine, nor a body that
another site's page could have sent unasked.
"""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from flask import Request as Sent

from gateway.errors import TypeMismatch, Unauthenticated
from gateway.opening import OpenGateway
from gateway.request import Principal, Request
from gateway.serve.acting import HEADERS as ACTING_AS
from gateway.serve.acting import acting_as
from gateway.serve.tls import SHOWN
from gateway.sessions import Session, Settings

FIELDS = frozenset({"sql", "parameters", "purpose", "domain", "dialect", "timezone", "limit"})
MAXIMUM_BODY = 2_000_000
_SETTINGS = ("purpose", "domain", "dialect", "timezone")
_LOOPBACK = ("127.0.0.1", "::1")


class Asking:
    """A request that is being read; who asks is found once."""

    def __init__(self, opened: OpenGateway, sent: Sent) -> None:
        self._opened = opened
        self.sent = sent
        self._principal: Principal | None = None

    @property
    def principal(self) -> Principal:
        """Who asks: Basic or Bearer; somebody else where he may act as another."""
        if self._principal is None:
            self._principal = self._signed_in()
        return self._principal

    def _signed_in(self) -> Principal:
        identity, sent = self._opened.identity, self.sent
        address, headers, authorization = sent.remote_addr or "", sent.headers, sent.authorization
        if authorization is None:
            found = identity.authenticate_certificate(self._certificate(), "http", address)
        elif authorization.type == "basic":
            if sent.remote_addr not in _LOOPBACK and not sent.is_secure:
                raise Unauthenticated("Passwords are not taken over plaintext.", hint="Use TLS.")
            user, secret = authorization.username or "", authorization.password or ""
            found = identity.sign_in(user, secret, "http", address).principal
        elif authorization.type == "bearer":
            found = identity.authenticate_bearer(authorization.token or "", "http", address)
        else:
            raise Unauthenticated("Only Basic and Bearer are served.")
        name = acting_as(headers.get(one) or "" for one in ACTING_AS)
        principal = identity.act_as(found, name, "http", address) if name else found
        client = headers.get("User-Agent", "")[:200]
        return replace(principal, client=client, address=address)

    def body(self, fields: Set[str] = FIELDS) -> dict[str, Any]:
        """The fields of a body with a statement; TypeMismatch for any other."""
        _ = self.principal
        body = self.json()
        if not isinstance(body, dict):
            raise self._no_object()
        unknown = sorted(set(body) - fields)
        if unknown:
            raise TypeMismatch(
                f"The field {unknown[0]!r} is not known.",
                hint=f"Fields are {', '.join(sorted(fields))}.",
            )
        if not isinstance(body.get("sql"), str):
            raise TypeMismatch("The field sql must be text.")
        return body

    def request(self, body: dict[str, Any]) -> Request:
        """What the pipeline is asked."""
        who = self.principal
        session = Session(
            who, endpoint="http", limits=self._opened.limits, client=who.client,
            address=who.address, defaults=Settings(),
        )  # fmt: skip
        for name in _SETTINGS:
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
        trace = self.sent.headers.get("traceparent", "")
        return replace(made, trace=trace) if trace else made

    def json(self) -> object:
        """The body as JSON; None where it is none.

        Only a body that calls itself JSON is: a page of another site cannot send one unasked.
        """
        try:
            found: object = self.sent.get_json(silent=True)
            json.dumps(found, ensure_ascii=False).encode()
        except RecursionError:
            return None
        except UnicodeEncodeError:
            raise TypeMismatch(
                "The body holds half of a character.", hint="Escape both halves, or send UTF-8."
            ) from None
        return found

    def _certificate(self) -> str:
        """The name in the client's certificate; Unauthenticated where there is none to go by.

        A browser shows its certificate unasked: a page of another site asks as nobody.
        """
        shown = str(self.sent.environ.get("asgi.scope", {}).get(SHOWN, ""))
        site = self.sent.headers.get("Sec-Fetch-Site", "none")
        if not shown or site not in ("none", "same-origin"):
            raise Unauthenticated(
                "Nobody is signed in.", hint="Send Basic or Bearer authorization."
            )
        return shown

    def _no_object(self) -> TypeMismatch:
        if self.sent.is_json:
            return TypeMismatch("The body is no JSON object.", hint='Send {"sql": "SELECT 1"}.')
        return TypeMismatch(
            "The request does not say that its body is JSON.",
            hint="Send it with the header Content-Type: application/json.",
        )


def _parameter(value: object) -> object:
    """JSON has no decimals: a number with a fraction is one of ours exactly."""
    if isinstance(value, dict | list):
        raise TypeMismatch("A parameter is a number, text, true, false or null.")
    return Decimal(repr(value)) if isinstance(value, float) else value
