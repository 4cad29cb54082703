"""What Prometheus is told of the statements of all endpoints.

Takes: the outcome of each statement. Gives: counters and a histogram in a registry of their own.
Never holds a name of a user, a table or a value: labels are endpoints and codes.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest


class Metrics:
    """The counts of one gateway."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sqluice_requests_total",
            "Statements by endpoint and outcome.",
            ["endpoint", "outcome"],
            registry=self._registry,
        )
        self._rows = Counter(
            "sqluice_rows_total", "Rows of answers.", ["endpoint"], registry=self._registry
        )
        self._seconds = Histogram(
            "sqluice_seconds",
            "Seconds from request to last row.",
            ["endpoint"],
            registry=self._registry,
        )

    def refused(self, endpoint: str, code: str) -> None:
        """A statement that never ran."""
        self._requests.labels(endpoint, code).inc()

    def ended(self, endpoint: str, code: str, rows: int, seconds: float) -> None:
        """A statement that ran; `code` is empty where it ended well."""
        self._requests.labels(endpoint, code or "ok").inc()
        self._rows.labels(endpoint).inc(rows)
        self._seconds.labels(endpoint).observe(seconds)

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)
