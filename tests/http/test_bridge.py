"""The bridge between ASGI and Flask's threads: what is sent when, and who waits for whom."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from flask import Flask, request

from gateway.serve.http.bridge import Bridge, Message
from gateway.serve.http.leaving import behind_asgi, when_gone

Pieces = Callable[[dict[str, Any]], Iterator[bytes]]
SCOPE = {
    "type": "http", "method": "POST", "path": "/", "query_string": b"", "http_version": "1.1",
    "headers": [(b"content-length", b"5")],
}  # fmt: skip
SECONDS = 30


def _sent(
    pieces: Pieces,
    body: tuple[bytes, ...] = (b"hello",),
    seen: Callable[[Message], None] = lambda _: None,
) -> list[Message]:
    """What a server is told to send for an answer of these pieces."""
    told: list[Message] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:  # noqa: ANN401
        start_response("200 OK", [("X-Kind", "test")])
        return pieces(environ)

    async def answered() -> None:
        left = list(body)

        async def receive() -> Message:
            part = left.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(left)}

        async def send(message: Message) -> None:
            told.append(message)
            seen(message)

        bridge = Bridge(application, 1)
        await asyncio.wait_for(bridge.answer(SCOPE, receive, send), SECONDS)

    asyncio.run(answered())
    return told


def _body(told: list[Message]) -> bytes:
    return b"".join(cast(bytes, one["body"]) for one in told[1:])


def test_a_short_answer_is_a_head_and_one_body() -> None:
    told = _sent(lambda environ: iter([b"<", environ["wsgi.input"].read(), b"", b">"]))
    assert told == [
        {"type": "http.response.start", "status": 200, "headers": [(b"x-kind", b"test")]},
        {"type": "http.response.body", "body": b"<hello>", "more_body": False},
    ]


def test_a_body_in_parts_arrives_whole() -> None:
    told = _sent(lambda environ: iter([environ["wsgi.input"].read()]), (b"he", b"l", b"lo"))
    assert _body(told) == b"hello"


@pytest.mark.parametrize(("most", "read"), [(100, b"HELLO"), (4, b"HELL")])
def test_a_body_in_chunks_is_read_to_its_end_and_no_further_than_it_may(
    most: int, read: bytes
) -> None:
    """It tells no length; without either there is no body."""
    application = Flask(__name__)
    application.config["MAX_CONTENT_LENGTH"] = most
    application.add_url_rule(
        "/", view_func=lambda: request.get_data().upper(), methods=["POST"], endpoint="echo"
    )
    for headers, body in (([(b"transfer-encoding", b"chunked")], read), ([], b"")):
        told: list[Message] = []
        left = [b"he", b"llo"]

        async def receive(left: list[bytes] = left) -> Message:
            part = left.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(left)}

        async def send(message: Message, told: list[Message] = told) -> None:
            told.append(message)

        scope = {**SCOPE, "headers": headers, "server": ("127.0.0.1", 80)}
        bridge = Bridge(application, 1)
        asyncio.run(asyncio.wait_for(bridge.answer(scope, receive, send), SECONDS))
        assert _body(told) == body


def test_an_empty_answer_ends() -> None:
    told = _sent(lambda _: iter(()))
    assert told[1:] == [{"type": "http.response.body", "body": b"", "more_body": False}]


def test_what_is_there_leaves_while_the_rest_is_waited_for() -> None:
    arrived = threading.Event()

    def pieces(_: dict[str, Any]) -> Iterator[bytes]:
        yield b"first"
        assert arrived.wait(SECONDS), "the first piece waits for the second"
        yield b"second"

    told = _sent(pieces, seen=lambda one: arrived.set() if one.get("body") else None)
    # The end may come with the last piece or after it, as the thread was done by then or not.
    assert [one["body"] for one in told[1:] if one["body"]] == [b"first", b"second"]
    assert [one["more_body"] for one in told[1:]][-2:] == [True, False]


def test_whoever_makes_pieces_waits_until_they_are_sent() -> None:
    made: list[int] = []
    ahead: list[int] = []
    sent = [0]

    def pieces(_: dict[str, Any]) -> Iterator[bytes]:
        for number in range(20):
            made.append(number)
            yield bytes(200_000)

    def seen(message: Message) -> None:
        if message.get("body"):
            sent[0] += 1
            ahead.append(len(made) - sent[0])

    told = _sent(pieces, seen=seen)
    assert len(_body(told)) == 20 * 200_000
    # One waits to be taken, one is being made.
    assert max(ahead) <= 2


def test_an_error_before_the_head_reaches_the_server() -> None:
    def fails(_: dict[str, Any]) -> Iterator[bytes]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        _sent(fails)


def test_a_maker_is_let_go_when_nobody_sends_any_more() -> None:
    closed = threading.Event()

    def pieces(_: dict[str, Any]) -> Iterator[bytes]:
        try:
            while True:
                yield bytes(200_000)
        finally:
            closed.set()

    def seen(message: Message) -> None:
        if message.get("body"):
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        _sent(pieces, seen=seen)
    assert closed.wait(SECONDS)


@pytest.mark.parametrize("leaves", [True, False])
def test_who_leaves_while_all_threads_are_busy_is_not_answered(leaves: bool) -> None:
    asked: list[str] = []
    is_busy, is_free = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:  # noqa: ANN401
        asked.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/first":
            is_busy.set()
            assert is_free.wait(SECONDS)
        start_response("200 OK", [])
        return iter([b"done"])

    async def served() -> None:
        answering = behind_asgi(application, 1)
        has_left = asyncio.Event()

        def receiving(waits: asyncio.Event) -> Callable[[], Any]:
            parts: list[Message] = [{"type": "http.request", "body": b"hello", "more_body": False}]

            async def receive() -> Message:
                if parts:
                    return parts.pop()
                await waits.wait()
                return {"type": "http.disconnect"}

            return receive

        async def send(message: Message) -> None:
            pass

        first = asyncio.ensure_future(
            answering({**SCOPE, "path": "/first"}, receiving(asyncio.Event()), send)
        )
        await asyncio.to_thread(is_busy.wait, SECONDS)
        second = asyncio.ensure_future(
            answering({**SCOPE, "path": "/second"}, receiving(has_left), send)
        )
        await asyncio.sleep(0.1)
        if leaves:
            has_left.set()
        await asyncio.sleep(0.1)
        is_free.set()
        await asyncio.wait_for(asyncio.gather(first, second), SECONDS)

    asyncio.run(served())
    assert asked == (["/first"] if leaves else ["/first", "/second"])


def test_what_a_client_left_is_stopped_though_it_begins_later() -> None:
    """Stopped once, between the request and its statement, nothing would stop it any more."""
    has_heard, has_begun, is_stopped = (threading.Event() for _ in range(3))
    calls: list[bool] = []

    def leave() -> None:
        calls.append(has_begun.is_set())
        has_heard.set()
        if has_begun.is_set():
            is_stopped.set()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:  # noqa: ANN401
        when_gone(environ, leave)
        assert has_heard.wait(SECONDS)
        has_begun.set()
        assert is_stopped.wait(SECONDS)
        start_response("200 OK", [])
        return iter([b"done"])

    async def served() -> None:
        parts: list[Message] = [{"type": "http.request", "body": b"hello", "more_body": False}]

        async def receive() -> Message:
            if parts:
                return parts.pop()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            pass

        await asyncio.wait_for(behind_asgi(application, 1)(SCOPE, receive, send), 2 * SECONDS)

    asyncio.run(served())
    assert calls[0] is False
    count = len(calls)
    # The request has ended: nothing is called back any more.
    assert not threading.Event().wait(0.5)
    assert len(calls) == count
