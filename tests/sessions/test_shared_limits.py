"""One budget for several gateways: counted in a real Redis; in each alone while that is away."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway import shared_limits
from gateway.config import LimitSettings
from gateway.errors import InvalidConfig, RateLimited
from gateway.limits import Limiter
from gateway.request import Principal
from gateway.shared_limits import SharedRate
from tests.identity.mesh import basic, open_shop

NORA, CARL = Principal("nora"), Principal("carl")
RATE = 50.0
# What a moving window of two seconds lets through before the first refusal.
MOST = 100


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def redis(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server on loopback that keeps nothing, until the end of the block."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("NOT TESTED: there is no redis-server (Debian: apt install redis-server)")
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while _refuses(port):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def _refuses(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


def limiter(uri: str) -> Limiter:
    settings = LimitSettings(concurrency=0, requests_per_second=RATE)
    return Limiter(settings, shared=SharedRate(uri, RATE))


def passed(one: Limiter, who: Principal, tries: int) -> int:
    """How many of so many requests, one after the other, are let through."""
    found = 0
    for _ in range(tries):
        try:
            one.enter(who)
        except RateLimited as error:
            assert 0 < error.retry_after <= 2.1
        else:
            one.leave(who)
            found += 1
    return found


def test_gateways_count_together_within_a_twentieth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A store that is late is no store that is away.
    monkeypatch.setattr(shared_limits, "_WAIT_SECONDS", 60.0)
    port = _free_port()
    with redis(tmp_path, port):
        gateways = [limiter(f"redis://127.0.0.1:{port}/0") for _ in range(3)]
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda one=one: found.append(passed(one, NORA, 60)))
            for one in gateways
        ]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        seconds = time.monotonic() - began
        # One window's worth, and once more for each that began meanwhile on a busy machine.
        assert MOST * 0.95 <= sum(found) <= MOST * (1 + seconds // 2) * 1.05
        # Another person has a budget of his own, and one gateway alone would let more through.
        assert passed(gateways[0], CARL, 10) == 10
        alone = Limiter(LimitSettings(concurrency=0, requests_per_second=RATE))
        assert passed(alone, NORA, 60) == 60


def test_while_the_store_is_away_each_counts_for_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = LimitSettings(concurrency=0, requests_per_second=RATE)
    uri = f"redis://127.0.0.1:{_free_port()}/0"
    made = Limiter(settings, lambda: 0.0, SharedRate(uri, RATE, lambda: 0.0))
    assert passed(made, NORA, MOST + 20) == MOST
    with pytest.raises(RateLimited):
        made.enter(NORA)
    told = caplog.text.count("counts for itself")
    assert told == 1, "each request asked a store that is away"


@pytest.mark.parametrize("uri", ["nonsense", "ftp://127.0.0.1", "redis://[::1"])
def test_a_store_that_is_none(uri: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        SharedRate(uri, RATE)
    assert "storage" in caught.value.message and "redis://" in caught.value.remedy


@pytest.mark.parametrize("is_shared", [True, False])
def test_two_gateways_over_http_name_one_store(is_shared: bool, tmp_path: Path) -> None:
    """Once in twenty seconds: by both together, or, which is the control, by each."""
    port = _free_port()
    limits: dict[str, object] = {"requests_per_second": 0.05}
    if is_shared:
        limits["storage"] = f"redis://127.0.0.1:{port}/0"
    with (
        redis(tmp_path, port),
        open_shop(tmp_path, {"limits": limits}) as one,
        open_shop(tmp_path) as other,
    ):
        assert one.ask(basic("amy"), "select 1") == [[1]]
        response = other.client.post(
            "/v1/query", json={"sql": "select 1"}, headers={"Authorization": basic("amy")}
        )
        assert response.status_code == (429 if is_shared else 200)
        assert not is_shared or 1 <= int(response.headers["Retry-After"]) <= 20
        assert other.ask(basic("ben"), "select 1") == [[1]]
