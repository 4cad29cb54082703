"""Traces in OpenTelemetry, from the endpoint to the sources.

Takes: what is known of a statement when it has ended. Gives: a span for it, beneath the caller's
own where he sent `traceparent`, and beneath it one for each stage and each source. Never tells a
user, a value or a name of a column; the text of a statement only where that is set, without its
literals. Never fails or holds up a statement: spans leave beside it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any, Protocol

from gateway.config import TelemetrySettings
from gateway.errors import InvalidConfig

_PARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_NANOSECONDS = 1_000_000_000
_PATH = "/v1/traces"
_INSTALL = "Install it: pip install 'sqluice-gateway[telemetry]'."


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one source did for a statement."""

    source: str
    seconds: float
    rows: int


@dataclass(frozen=True, slots=True)
class Traced:
    """A statement that has ended; `stages` are seconds by their names, in their order.

    `seconds` is how long all of it took, until now.
    """

    query_id: str
    endpoint: str
    seconds: float
    code: str = ""
    parent: str = ""
    purpose: str = ""
    statement: str = ""
    rows: int = 0
    products: tuple[str, ...] = ()
    stages: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    fetched: tuple[Fetched, ...] = ()


class Telemetry(Protocol):
    """Who is told of statements."""

    @property
    def wants_statements(self) -> bool:
        """Whether texts of statements go along."""

    def ended(self, one: Traced) -> None:
        """A statement has ended just now."""

    def close(self) -> None:
        """Send what waits."""


class NoTelemetry:
    """Tells nobody."""

    wants_statements = False

    def ended(self, one: Traced) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Spans:
    """Makes spans with a tracer of OpenTelemetry's SDK."""

    def __init__(self, settings: TelemetrySettings) -> None:
        """Spans go to `settings.endpoint` by OTLP over HTTP, a batch at a time."""
        try:
            self._api: Any = import_module("opentelemetry.trace")
            sdk = import_module("opentelemetry.sdk.trace")
            export = import_module("opentelemetry.sdk.trace.export")
            sampling = import_module("opentelemetry.sdk.trace.sampling")
            resources = import_module("opentelemetry.sdk.resources")
            otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        except ModuleNotFoundError:
            raise InvalidConfig("The package for traces is not installed.", hint=_INSTALL) from None
        target = otlp.OTLPSpanExporter(endpoint=settings.endpoint.rstrip("/") + _PATH, timeout=5)
        self._provider: Any = sdk.TracerProvider(
            resource=resources.Resource.create({"service.name": settings.service}),
            sampler=sampling.ParentBased(sampling.TraceIdRatioBased(settings.sample)),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(export.BatchSpanProcessor(target))
        self._tracer: Any = self._provider.get_tracer("sqluice")
        self.wants_statements = settings.statements

    def ended(self, one: Traced) -> None:
        """Make the spans of a statement."""
        end = time.time_ns()
        start = end - round(one.seconds * _NANOSECONDS)
        span = self._tracer.start_span(
            "sqluice.statement", context=self._context(one.parent), kind=self._api.SpanKind.SERVER,
            start_time=start, attributes=dict(_attributes(one)),
        )  # fmt: skip
        if one.code:
            span.set_status(self._api.StatusCode.ERROR, one.code)
        within = self._api.set_span_in_context(span)
        at = start
        for name, seconds in one.stages.items():
            until = at + round(seconds * _NANOSECONDS)
            self._tracer.start_span(f"sqluice.{name}", within, start_time=at).end(until)
            at = until
        for each in one.fetched:
            told = {"sqluice.source": each.source, "sqluice.rows": each.rows}
            self._tracer.start_span(
                "sqluice.fetch", within, kind=self._api.SpanKind.CLIENT, start_time=at,
                attributes=told,
            ).end(min(end, at + round(each.seconds * _NANOSECONDS)))  # fmt: skip
        span.end(end)

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()

    def _context(self, parent: str) -> object:
        """The caller's own span; nonsense is none."""
        found = _PARENT.fullmatch(parent)
        if found is None:
            return None
        trace, span, flags = (int(one, 16) for one in found.groups())
        place = self._api.SpanContext(trace, span, True, self._api.TraceFlags(flags & 1))
        return self._api.set_span_in_context(self._api.NonRecordingSpan(place))


def _attributes(one: Traced) -> Iterator[tuple[str, object]]:
    yield "sqluice.query_id", one.query_id
    yield "sqluice.endpoint", one.endpoint
    yield "sqluice.outcome", one.code or "ok"
    yield "sqluice.rows", one.rows
    if one.purpose:
        yield "sqluice.purpose", one.purpose
    if one.products:
        yield "sqluice.products", list(one.products)
    if one.statement:
        yield "db.query.text", one.statement


def open_telemetry(settings: TelemetrySettings) -> Telemetry:
    """What the settings ask for."""
    return Spans(settings) if settings.endpoint else NoTelemetry()
