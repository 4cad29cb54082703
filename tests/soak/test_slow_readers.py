"""64 clients that read large answers slowly hold little memory and nobody else up.

Together they may hold 1.5 GiB of the gateway's, 24 MiB each: a batch of the answer (up to 5 MiB),
what DuckDB has ready behind it, a MiB in each of the pieces that wait between the thread that makes
them and the socket, and as much again of what Arrow's allocator keeps for each thread that has
written text. An answer is some GB, and what is held does not grow while it is read: whoever held
it, or read ahead, would be found.
"""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.serve.http.answers import ARROW, CSV, JSON
from tests.flight.raw import RawClient
from tests.pgwire.wire import Wire, query
from tests.served import MANY, basic, within
from tests.soak.counts import counts, memory
from tests.soak.judging import growth
from tests.soak.over_flight import adbc
from tests.soak.over_http import formats
from tests.soak.over_postgres import forms
from tests.soak.place import Place, opened

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
LARGE = (
    "select i, 'some text of row ' || i as t from range(0, 10000000) as r(i), range(0, 9) as s(j)"
)
USERS = ("nora", "carl", "mara")
# More of HTTP than it once had threads.
OVER_HTTP, OVER_FLIGHT, OVER_POSTGRES = 36, 14, 14
MOST_EACH = 24 << 20
SECONDS = 15
Read = Callable[[], object]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with opened(tmp_path_factory.mktemp("slow")) as made:
        yield made


def over_http(place: Place, stack: ExitStack, number: int) -> Read:
    media = (ARROW, CSV, JSON)[number % 3]
    user = USERS[number % 3]
    asked = place.served.asking(
        "/v1/query", {"sql": _sql(number)}, Accept=media, Authorization=basic(_able(number, user))
    )
    response = stack.enter_context(asked)
    assert response.status == 200, response.read(500)
    return lambda: len(response.read(2000)) == 2000


def over_flight(place: Place, stack: ExitStack, number: int) -> Read:
    raw = stack.enter_context(RawClient(place.served.flight, _able(number, USERS[number % 3])))
    reader = raw.reader(raw.start(_sql(number)))
    read = [0]

    def chunk() -> bool:
        # A chunk is a batch: one in five times is a few hundred KB a second.
        read[0] += 1
        return read[0] % 5 != 1 or reader.read_chunk().data.num_rows > 0

    stack.callback(reader.cancel)
    return chunk


def over_postgres(place: Place, stack: ExitStack, number: int) -> Read:
    made = stack.enter_context(Wire(place.served.pgwire))
    made.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    made.sign_in(_able(number, USERS[number % 3]))
    made.send(query(_sql(number)))
    return lambda: len(made.exactly(2000)) == 2000


def _sql(number: int) -> str:
    """One in sixteen reads from PostgreSQL: each holds one of the six connections she may have."""
    return MANY if number % 16 == 0 else LARGE


def _able(number: int, user: str) -> str:
    return "nora" if number % 16 == 0 else user


def test_slow_readers(place: Place) -> None:
    for turn in (formats, adbc, forms):
        turn(place, random.Random(1))
    before = counts(place).memory
    kinds = {over_http: OVER_HTTP, over_flight: OVER_FLIGHT, over_postgres: OVER_POSTGRES}
    assert sum(kinds.values()) == 64
    done: Counter[str] = Counter()
    failed: list[BaseException] = []
    stop = threading.Event()

    def slowly(read: Read) -> None:
        while not stop.wait(0.5):
            if not read():
                failed.append(EOFError("a slow reader meets an end"))
                return

    def briefly(name: str, turn: Callable[[Place, random.Random], None]) -> None:
        chosen = random.Random(name)
        while not stop.is_set():
            try:
                turn(place, chosen)
            except Exception as error:  # noqa: BLE001 - told below
                failed.append(error)
            done[name] += 1

    with ExitStack() as stack:
        readers = [kind(place, stack, at) for kind, count in kinds.items() for at in range(count)]
        threads = [threading.Thread(target=slowly, args=(one,)) for one in readers]
        threads += [
            threading.Thread(target=briefly, args=each)
            for each in (("http", formats), ("flight", adbc), ("postgres", forms))
        ]
        for one in threads:
            one.start()
        seen, began = list[int](), time.monotonic()
        while time.monotonic() - began < SECONDS:
            seen.append(memory(place.served.pid))
            time.sleep(0.2)
        held = counts(place)
        stop.set()
        for one in threads:
            one.join(60)
    assert not failed
    assert held.running >= 64
    assert min(done[name] for name in ("http", "flight", "postgres")) >= 2, done
    assert max(seen) - before <= 64 * MOST_EACH, (max(seen) - before) >> 20
    third = len(seen) // 3
    assert not growth(seen[third : 2 * third], seen[2 * third :], "of slow readers")
    assert within(60, lambda: not counts(place).running)
    assert not counts(place).active and Path(f"/proc/{place.served.pid}").is_dir()
