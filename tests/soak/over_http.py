"""Clients of HTTP: every format, tokens, errors, cancelling, leaving, reading slowly."""

from __future__ import annotations

import csv
import io
import json
import random
import socket
import struct
import time
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import parquet

from gateway.serve.http.answers import ARROW, CSV, JSON, PARQUET
from tests.served import MANY, SLOW_MERGE, Answer, basic, within
from tests.soak.place import Known, Place
from tests.soak.wrong import FAILING, WrongError, expect, expect_rows

FORMATS = (JSON, CSV, ARROW, PARQUET)


def formats(place: Place, chosen: random.Random) -> None:
    """A known answer in each format."""
    known = chosen.choice(place.known)
    for media in FORMATS:
        answer = place.served.query(known.sql, known.user, media)
        expect(answer.status, 200, f"status of {media}")
        expect_rows(known, _rows(known, media, answer.body), media)


def _rows(known: Known, media: str, body: bytes) -> list[tuple[object, ...]]:
    if media == JSON:
        return [tuple(one) for one in json.loads(body)["rows"]]
    if media == CSV:
        head, *rows = csv.reader(io.StringIO(body.decode(), newline=""))
        expect(tuple(head), known.names, "header of CSV")
        return [tuple(one) for one in rows]
    found = pa.ipc.open_stream(body).read_all() if media == ARROW else parquet.read_table(
        io.BytesIO(body)
    )  # fmt: skip
    return list(zip(*(one.to_pylist() for one in found.columns), strict=True))


def tokens(place: Place, chosen: random.Random) -> None:
    """A token is made, used on two endpoints and revoked."""
    served, known = place.served, chosen.choice(place.known)
    wish = {"label": "soak", "days": 1}
    made = served.ask("/v1/tokens", wish, Authorization=basic(known.user))
    expect(made.status, 201, "making a token")
    token, token_id = made.json["token"], made.json["id"]
    bearer = f"Bearer {token}"
    asked = served.ask("/v1/query", {"sql": known.sql}, Accept=JSON, Authorization=bearer)
    expect_rows(known, asked.json["rows"], "a token")
    with served.connect(known.user, password=token) as connection, connection.cursor() as cursor:
        cursor.execute(known.sql)
        expect_rows(known, cursor.fetchall(), "a token over Flight")
    ended = served.ask(f"/v1/tokens/{token_id}", method="DELETE", Authorization=bearer)
    expect(ended.json["revoked"], True, "revoking a token")
    refused = served.ask("/v1/query", {"sql": "select 1"}, Authorization=bearer)
    # Others who guess from this address are slowed, and so is whoever has nothing that holds.
    expect(refused.status in (401, 429), True, "a revoked token")


def errors(place: Place, chosen: random.Random) -> None:
    """Each error with its code, and after it nothing is broken."""
    served = place.served
    sql, code, _ = chosen.choice(FAILING)
    media = chosen.choice(FORMATS)
    answer = served.query(sql, accept=media)
    if code.encode() not in answer.body:
        raise WrongError(f"{media} {answer.status} without {code}: {answer.body[-200:]!r}")
    wrong: list[tuple[Answer, int]] = [
        (served.ask("/v1/query", b"{"), 400),
        (served.ask("/v1/query", {"sql": 1}), 400),
        (served.ask("/v1/query", {"sql": "select 1"}, Accept="text/x-none"), 406),
        (served.ask("/v1/nothing"), 404),
        (served.ask("/v1/queries/q_0", method="DELETE"), 404),
        (served.ask("/v1/query", {"sql": "select ?", "parameters": []}), 400),
    ]
    for number, (found, status) in enumerate(wrong):
        expect(found.status, status, f"wrong request {number}")
    expect(served.query("select 1").json["rows"], [[1]], "after errors")


def guessing(place: Place, chosen: random.Random) -> None:
    """Passwords and tokens that are wrong; slowed, and never let in."""
    name = f"nobody{chosen.randrange(1000)}"
    for value in (basic(name, "x"), "Bearer sqs_wrong", "Bearer x.y.z", "Basic !", "Digest x"):
        status = place.served.ask("/v1/query", {"sql": "select 1"}, Authorization=value).status
        if status not in (401, 429):
            raise WrongError(f"{status} for {value[:12]}")
    time.sleep(1.0)


def cancelling(place: Place, chosen: random.Random) -> None:
    """A statement is stopped by its id while its rows leave."""
    media = chosen.choice((JSON, CSV, ARROW))
    with place.served.asking("/v1/query", {"sql": MANY}, Accept=media) as response:
        query_id = response.headers["X-Sqluice-Query-Id"]
        response.read(1000)
        ended = place.served.ask(f"/v1/queries/{query_id}", method="DELETE")
        expect(ended.status, 200, "cancelling")
        tail = b""
        while piece := response.read(1 << 20):
            tail = (tail + piece)[-4000:]
    if b"cancelled" not in tail:
        raise WrongError(f"a cancelled answer in {media} ends with {tail[-80:]!r}")


def leaving(place: Place, chosen: random.Random) -> None:
    """Clients that vanish: before the answer, in the middle of it, or of their own request."""
    parts = urlsplit(place.served.http)
    sql = chosen.choice((MANY, SLOW_MERGE))
    body = json.dumps({"sql": sql}).encode()
    head = (
        f"POST /v1/query HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: {basic('nora')}\r\n"
        f"Content-Type: application/json\r\nAccept: {chosen.choice(FORMATS[:3])}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), 30) as wire:
        whole = head + body
        wire.sendall(whole[: chosen.choice((20, len(head) + 5, len(whole), len(whole)))])
        time.sleep(chosen.uniform(0, 0.5))
        if chosen.random() < 0.5:
            # A reset, as of a machine that is gone.
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def slowly(place: Place, chosen: random.Random) -> None:
    """A large answer, some KB a second; then he has had enough."""
    media = chosen.choice((JSON, CSV, ARROW))
    with place.served.asking("/v1/query", {"sql": MANY}, Accept=media) as response:
        for _ in range(10):
            if len(response.read(2000)) < 2000:
                raise WrongError("a slow reader meets an end")
            time.sleep(0.25)


def metadata(place: Place, chosen: random.Random) -> None:
    """Products, explanations, health, metrics."""
    served = place.served
    names = [one["product"] for one in served.ask("/v1/products").json["products"]]
    expect("departures" in names, True, "the products of nora")
    known = chosen.choice(place.known)
    told = served.ask("/v1/explain", {"sql": known.sql}, Authorization=basic(known.user))
    expect(told.status, 200, "an explanation")
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/"):
        expect(served.ask(path).status, 200, path)
    expect(within(1, lambda: served.ask("/v1/queries").status == 200), True, "queries")
