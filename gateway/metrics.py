"""What Prometheus is told of the statements of all endpoints.

Takes: the outcome of each statement and of each failed sign-in. Gives: counters and histograms, in
one registry for everybody and one for operators, which tells products. Never holds a name of a
user, a table or a value: labels are endpoints, codes, and products up to a bound.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_MOST_PRODUCTS = 1_000
_OTHER = "other"
_OK = "ok"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a statement ended; `code` is empty where it ended well. `products` are addresses."""

    endpoint: str
    code: str
    rows: int
    bytes: int
    seconds: float
    products: tuple[str, ...] = ()


class Metrics:
    """The counts of one gateway."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._of_products = CollectorRegistry()
        self._lock = Lock()
        self._products: set[str] = set()
        self._requests = self._counter(
            "sqluice_requests_total", "Statements by endpoint and outcome.", "endpoint", "outcome"
        )
        self._rows = self._counter("sqluice_rows_total", "Rows of answers.", "endpoint")
        self._bytes = self._counter("sqluice_bytes_total", "Bytes of answers.", "endpoint")
        self._sign_ins = self._counter(
            "sqluice_failed_sign_ins_total", "Failed sign-ins by endpoint and code.",
            "endpoint", "code",
        )  # fmt: skip
        self._seconds = Histogram(
            "sqluice_seconds", "Seconds from request to last row.", ["endpoint"],
            registry=self._registry,
        )  # fmt: skip
        # By endpoint: a look-up of labels costs more than what is counted.
        self._series: dict[str, tuple[Counter, Counter, Histogram]] = {}
        # Endpoints and codes are few, and products are bounded.
        self._outcome = functools.cache(self._requests.labels)
        self._running = Gauge(
            "sqluice_running", "Statements that run now.", registry=self._registry
        )
        self._by_product = Counter(
            "sqluice_product_requests_total",
            "Statements by endpoint, product and outcome; one that reads two counts for both.",
            ["endpoint", "product", "outcome"],
            registry=self._of_products,
        )
        self._product = functools.cache(self._by_product.labels)

    def count_running(self, count: Callable[[], int]) -> None:
        """Say how it is found what runs now."""
        self._running.set_function(count)

    def refused(self, endpoint: str, code: str) -> None:
        """A statement that never ran."""
        self._requests.labels(endpoint, code).inc()

    def sign_in_failed(self, endpoint: str, code: str) -> None:
        """Somebody did not get in, or may not act for another."""
        self._sign_ins.labels(endpoint, code).inc()

    def ended(self, one: Ended) -> None:
        """A statement that ran."""
        outcome = one.code or _OK
        rows, size, seconds = self._of(one.endpoint)
        self._outcome(one.endpoint, outcome).inc()
        rows.inc(one.rows)
        size.inc(one.bytes)
        seconds.observe(one.seconds)
        for product in one.products:
            self._product(one.endpoint, self._bounded(product), outcome).inc()

    def _of(self, endpoint: str) -> tuple[Counter, Counter, Histogram]:
        """Rows, bytes and seconds of an endpoint."""
        found = self._series.get(endpoint)
        if found is None:
            rows, size = self._rows.labels(endpoint), self._bytes.labels(endpoint)
            found = self._series[endpoint] = (rows, size, self._seconds.labels(endpoint))
        return found

    def text(self, with_products: bool = False) -> bytes:
        """Everything, as Prometheus reads it; with products only for who may know them all."""
        found: bytes = generate_latest(self._registry)
        return found + generate_latest(self._of_products) if with_products else found

    def _bounded(self, product: str) -> str:
        """The product; all those that come late are one."""
        with self._lock:
            if product not in self._products:
                if len(self._products) >= _MOST_PRODUCTS:
                    return _OTHER
                self._products.add(product)
            return product

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(name, description, labels, registry=self._registry)
