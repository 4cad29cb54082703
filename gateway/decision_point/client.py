"""Calls to a decision point over HTTP: side by side, kept alive, with one deadline.

Takes: questions. Gives: the JSON of their answers, in the same order. Never follows a redirect,
never waits longer than the deadline, never reads more than a bound, never takes anything but
status 200 with JSON; raises `Unanswered` otherwise, whose text names no host and no secret.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Lock
from urllib.parse import SplitResult, urlsplit

from gateway.config import DecisionPointSettings
from gateway.decision_point.wire import Question

_AT_ONCE = 16
_KEPT_CONNECTIONS = 16
_KEPT_ANSWERS = 10_000
_MOST_BYTES = 8_000_000
_PIECE = 65_536
_OK = 200
# What a connection that was kept may meet when the other side has closed it meanwhile.
_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
_FAILED = (OSError, http.client.HTTPException, ValueError)


class Unanswered(Exception):
    """A question without an answer; the text says why, without a host."""


@dataclass(slots=True)
class _Round:
    """Calls with one deadline. Whoever ends it wakes those that still wait for the other side."""

    deadline: float
    sockets: set[socket.socket] = field(default_factory=set)
    is_over: bool = False
    lock: Lock = field(default_factory=Lock)

    def left(self, now: float) -> float:
        if self.is_over or now >= self.deadline:
            raise TimeoutError
        return self.deadline - now

    def watch(self, one: socket.socket) -> None:
        with self.lock:
            self.sockets.add(one)

    def release(self, one: socket.socket) -> None:
        with self.lock:
            self.sockets.discard(one)

    def end(self) -> None:
        with self.lock:
            self.is_over = True
            for one in self.sockets:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue


class Client:
    """Asks. Thread-safe. `token_of` gives the secret that goes along, '' for none."""

    def __init__(
        self,
        settings: DecisionPointSettings,
        token_of: Callable[[], str],
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask at the addresses of the settings; nothing is connected yet."""
        self._urls = {key: urlsplit(url) for key, url in settings.urls.items()}
        self._seconds = settings.timeout_seconds
        self._kept_for = settings.cache_seconds
        self._token_of = token_of
        self._tls = tls or ssl.create_default_context()
        self._clock = clock
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="decision-point")
        self._lock = Lock()
        self._idle: list[tuple[tuple[str, str], http.client.HTTPConnection]] = []
        self._known: OrderedDict[Question, tuple[object, float]] = OrderedDict()

    def close(self) -> None:
        """Close all connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for _, one in self._idle:
                one.close()
            self._idle.clear()

    def ask(self, questions: Sequence[Question]) -> list[object]:
        """The answers, in the order of the questions."""
        known = self._remembered(questions)
        missing = [one for one in dict.fromkeys(questions) if one not in known]
        if missing:
            found = self._asked(missing)
            known.update(found)
            self._remember(found)
        return [known[one] for one in questions]

    def _asked(self, questions: Sequence[Question]) -> Mapping[Question, object]:
        token = self._token_of()
        began = _Round(self._clock() + self._seconds)
        futures = {one: self._pool.submit(self._one, one, token, began) for one in questions}
        done, waiting = wait(futures.values(), self._seconds, FIRST_EXCEPTION)
        if waiting:
            # One has failed, or the time is over: nobody waits for the others.
            for future in waiting:
                future.cancel()
            began.end()
        failed = next((one for one in done if one.exception() is not None), None)
        if failed is not None or waiting:
            raise Unanswered(_reason(failed))
        return {question: future.result() for question, future in futures.items()}

    def _one(self, question: Question, token: str, began: _Round) -> object:
        url = self._urls[question.key]
        kept = self._take(url)
        if kept is not None:
            try:
                return self._exchange(kept, question, token, began)
            except _CLOSED:
                # To ask twice does no harm.
                kept.close()
        return self._exchange(self._fresh(url, began), question, token, began)

    def _exchange(
        self, connection: http.client.HTTPConnection, question: Question, token: str, began: _Round
    ) -> object:
        url = self._urls[question.key]
        is_kept = False
        if connection.sock is None:
            connection.connect()
        held = connection.sock
        began.watch(held)
        try:
            held.settimeout(began.left(self._clock()))
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            headers = {"Content-Type": "application/json", "Accept": "application/json"}
            if token:
                headers["Authorization"] = f"Bearer {token}"
            connection.request("POST", target, question.body, headers)
            response = connection.getresponse()
            content = self._content(response, held, began)
            if response.status != _OK:
                raise Unanswered(f"status {response.status} at {question.key}")
            answer = _json(content, question.key)
            is_kept = not response.will_close
            return answer
        finally:
            began.release(held)
            self._give_back(url, connection, is_kept)

    def _content(
        self, response: http.client.HTTPResponse, held: socket.socket, began: _Round
    ) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            held.settimeout(began.left(self._clock()))
            piece = response.read(_PIECE)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            size += len(piece)
            if size > _MOST_BYTES:
                raise Unanswered("an answer is longer than any should be")

    def _take(self, url: SplitResult) -> http.client.HTTPConnection | None:
        with self._lock:
            # The one that was used last is the likeliest to be open still.
            for number in reversed(range(len(self._idle))):
                if self._idle[number][0] == (url.scheme, url.netloc):
                    return self._idle.pop(number)[1]
        return None

    def _fresh(self, url: SplitResult, began: _Round) -> http.client.HTTPConnection:
        left = began.left(self._clock())
        host = url.hostname or ""
        if url.scheme == "https":
            return http.client.HTTPSConnection(host, url.port, timeout=left, context=self._tls)
        return http.client.HTTPConnection(host, url.port, timeout=left)

    def _give_back(
        self, url: SplitResult, connection: http.client.HTTPConnection, is_kept: bool
    ) -> None:
        with self._lock:
            if is_kept and len(self._idle) < _KEPT_CONNECTIONS:
                self._idle.append(((url.scheme, url.netloc), connection))
                return
        connection.close()

    def _remembered(self, questions: Sequence[Question]) -> dict[Question, object]:
        if not self._kept_for:
            return {}
        now = self._clock()
        with self._lock:
            found = {one: self._known.get(one) for one in questions}
        return {one: kept[0] for one, kept in found.items() if kept is not None and now < kept[1]}

    def _remember(self, answers: Mapping[Question, object]) -> None:
        if not self._kept_for:
            return
        until = self._clock() + self._kept_for
        with self._lock:
            for question, answer in answers.items():
                self._known[question] = (answer, until)
                self._known.move_to_end(question)
            while len(self._known) > _KEPT_ANSWERS:
                self._known.popitem(last=False)


def _reason(failed: Future[object] | None) -> str:
    error = failed.exception() if failed is not None else TimeoutError()
    match error:
        case Unanswered():
            return str(error)
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLError():
            return f"TLS: {error.reason}"
        case _ if isinstance(error, _FAILED):
            return f"not reached: {type(error).__name__}"
        case _:
            # A defect of ours: closed as well, with its kind for whoever mends it.
            return f"a defect: {error!r}"


def _json(content: bytes, key: str) -> object:
    try:
        made: object = json.loads(
            content, object_pairs_hook=_once, parse_constant=_no_constant
        )
    except (ValueError, RecursionError):
        raise Unanswered(f"the answer at {key} is no JSON") from None
    return made


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object that says a name twice says two things."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name twice")
    return made


def _no_constant(name: str) -> object:
    raise ValueError(name)
