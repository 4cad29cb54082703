"""A token that is revoked ends what runs by it, on every endpoint, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from gateway.request import Limits, Request
from gateway.revocations import end_revoked
from gateway.serve.flight.server import FlightEndpoint
from gateway.serve.pgwire.server import PgwireEndpoint
from gateway.sessions import new_query_id
from tests.flight.raw import RawClient
from tests.flight.test_statements import code_in
from tests.identity.mesh import Shop, bearer, open_shop
from tests.identity.test_api_tokens import made_for
from tests.pgwire.small import write_certificate
from tests.served import within

ENDLESS = "select a.i, b.j from range(1000000) as a(i), range(1000000) as b(j)"
# What is promised is a second; the rest is for a machine with much to do.
SECONDS = 60.0
# Reads until the stream breaks; gives the code that broke it.
Reading = Callable[[], str]


@contextmanager
def over_http(shop: Shop, token: str) -> Iterator[Reading]:
    sent = {"json": {"sql": ENDLESS}, "headers": {"Authorization": bearer(token)}}
    response = shop.client.post("/v1/query", buffered=False, **sent)
    pieces = response.iter_encoded()
    assert next(pieces)

    def reading() -> str:
        last = b""
        for piece in pieces:
            last = piece
        return _code(last)

    yield reading
    response.close()


def _code(tail: bytes) -> str:
    assert b'"error"' in tail
    return "unauthenticated" if b'"code": "unauthenticated"' in tail else tail.decode()


@contextmanager
def over_flight(shop: Shop, token: str) -> Iterator[Reading]:
    endpoint = FlightEndpoint(shop.opened, "127.0.0.1", 0)
    address = f"grpc://127.0.0.1:{endpoint.start()}"
    try:
        with RawClient(address, "amy", token) as client:
            reader = client.reader(client.start(ENDLESS))
            assert reader.read_chunk().data.num_rows

            def reading() -> str:
                try:
                    while True:
                        reader.read_chunk()
                except Exception as error:  # noqa: BLE001 - which class it is depends on the code
                    return code_in(error)

            yield reading
    finally:
        endpoint.stop()


@contextmanager
def over_postgres(shop: Shop, token: str) -> Iterator[Reading]:
    endpoint = PgwireEndpoint(shop.opened, "127.0.0.1", 0)
    address = f"postgresql://127.0.0.1:{endpoint.start()}"
    try:
        with (
            psycopg.connect(
                address, user="amy", password=token, sslmode="require",
                options="-c sign_in=password",
            ) as connection,
            connection.cursor() as cursor,
        ):  # fmt: skip
            rows = cursor.stream(ENDLESS)
            assert next(rows)

            def reading() -> str:
                try:
                    for _ in rows:
                        pass
                except psycopg.Error as error:
                    return "unauthenticated" if error.sqlstate == "28000" else repr(error)
                return "a clean end"

            yield reading
            connection.close()
    finally:
        endpoint.stop()


@pytest.mark.parametrize("over", [over_http, over_flight, over_postgres])
def test_a_stream_ends_with_its_token(
    over: Callable[[Shop, str], AbstractContextManager[Reading]], tmp_path: Path
) -> None:
    """The token is revoked at another gateway over the same state; the control is another token."""
    certificate = write_certificate(tmp_path / "tls") if over is over_postgres else None
    with open_shop(tmp_path, certificate) as here, open_shop(tmp_path) as there:
        token, other = made_for(here), made_for(here)
        with (
            over(here, token) as reading,
            closing(here.opened.gateway.answer(_request(here, other))) as kept,
        ):
            codes: list[str] = []
            thread = threading.Thread(target=lambda: codes.append(reading()))
            thread.start()
            time.sleep(0.5)
            assert not codes and here.opened.queries.count == 2
            book = there.opened.own_tokens._book
            book.revoke(book.tokens.get(token.removeprefix("sqt_")[:10]), "test")
            assert within(SECONDS, lambda: here.opened.queries.count == 1)
            thread.join(60)
            assert codes == ["unauthenticated"]
            assert next(kept.batches()).num_rows


def _request(shop: Shop, token: str) -> Request:
    principal = shop.opened.identity.authenticate_bearer(token, "http")
    return Request(ENDLESS, principal, datetime.now(UTC), new_query_id(), limits=Limits(seconds=60))


def test_where_nothing_runs_by_a_token_state_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_shop(tmp_path) as shop:
        token = made_for(shop)
        shop.opened.own_tokens._book.tokens.get(token.removeprefix("sqt_")[:10])
        reads: list[Collection[str]] = []
        tokens = shop.opened.identity.api_tokens

        def revoked(ids: Collection[str]) -> frozenset[str]:
            reads.append(ids)
            return frozenset()

        monkeypatch.setattr(tokens, "revoked", revoked)
        assert end_revoked(shop.opened.queries, tokens) == 0 and not reads
        with closing(shop.opened.gateway.answer(_request(shop, token))):
            end_revoked(shop.opened.queries, tokens)
            assert reads == [{token.removeprefix("sqt_")[:10]}] * len(reads) and reads
