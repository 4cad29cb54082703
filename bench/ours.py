"""The gateway as it is measured: in process, with its audit on.

Takes: an open gateway and a principal's name. Gives: answers, seconds, and what a plan moves. Never
measures the first call, which compiles the plan, unless it is asked for just that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
from sqlglot import exp, parse_one

from bench.tables import MESH, Layout
from gateway.identity import principal_of
from gateway.opening import OpenGateway
from gateway.parse import parse
from gateway.plan_cache import PlanCache
from gateway.prepare import prepare
from gateway.request import Limits, Request
from gateway.sessions import new_query_id


@dataclass(frozen=True, slots=True)
class Moved:
    """What one answer took. rows, bytes: fetched, by source; fragments: source and SQL of each."""

    rows: dict[str, int]
    bytes: dict[str, int]
    fragments: tuple[tuple[str, str], ...]


class Ours:
    """One principal's view of the gateway."""

    def __init__(self, opened: OpenGateway, user: str, link_cost: str = "cheap") -> None:
        """Who asks, and what he says of the link."""
        self.name = user
        self._link_cost = link_cost
        self._opened = opened
        users = opened.publisher.current().mesh.users
        self._principal = principal_of(next(one for one in users if one.name == user))

    def answer(self, sql: str) -> tuple[pa.Table, Moved]:
        """The answer, and what it moved."""
        request = self._request(sql)
        result = self._opened.gateway.answer(request)
        table = pa.Table.from_batches(list(result.batches()), result.schema)
        plan = prepare(
            request, parse(request), self._opened.publisher.current(), self._opened.services
        ).plan
        rows: dict[str, int] = {}
        size: dict[str, int] = {}
        for one in plan.fragments:
            took = result.took.get(one.name)
            rows[one.source] = rows.get(one.source, 0) + result.fetched.get(one.name, 0)
            size[one.source] = size.get(one.source, 0) + (took.bytes if took else 0)
        sent = tuple((one.source, one.fragment.sql) for one in plan.fragments)
        return table, Moved(rows, size, sent)

    def table(self, sql: str) -> pa.Table:
        """The answer alone."""
        return self.answer(sql)[0]

    def rows(self, sql: str, parameters: tuple[object, ...]) -> list[tuple[object, ...]]:
        """The answer as rows of Python's, for values."""
        result = self._opened.gateway.answer(self._request(sql, parameters))
        return [
            row
            for batch in result.batches()
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        ]

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The answer as it comes."""
        yield from self._opened.gateway.answer(self._request(sql)).batches()

    def seconds(self, sql: str) -> float:
        """How long an answer takes, to its last batch."""
        request = self._request(sql)
        start = time.perf_counter()
        result = self._opened.gateway.answer(request)
        pa.Table.from_batches(list(result.batches()), result.schema)
        return time.perf_counter() - start

    def planning(self, sql: str, cached: bool) -> float:
        """Seconds from the text to the plan, with the plan remembered or with nothing."""
        services = self._opened.services
        if not cached:
            services = replace(services, plans=PlanCache())
            # A comment makes it a text that nobody has parsed yet.
            sql = f"{sql} -- {time.perf_counter_ns()}"
        request = self._request(sql)
        snapshot = self._opened.publisher.current()
        start = time.perf_counter()
        prepare(request, parse(request), snapshot, services)
        return time.perf_counter() - start

    def _request(self, sql: str, parameters: tuple[object, ...] = ()) -> Request:
        return Request(
            sql=sql,
            parameters=parameters,
            principal=self._principal,
            now=datetime.now(UTC),
            query_id=new_query_id(),
            limits=Limits(seconds=600),
            link_cost=self._link_cost,
        )


def addressed(sql: str, layout: Layout = MESH) -> str:
    """A statement over plain table names, over the addresses of the mesh."""
    addresses = {one.name: one for one in layout.tables}
    tree = parse_one(sql, read="duckdb")
    for table in list(tree.find_all(exp.Table)):
        known = addresses.get(table.name)
        if known is not None and not table.db:
            made = exp.to_table(known.address, dialect="duckdb")
            plain = exp.TableAlias(this=exp.to_identifier(table.name))
            made.set("alias", table.args.get("alias") or plain)
            table.replace(made)
    return tree.sql(dialect="duckdb")
