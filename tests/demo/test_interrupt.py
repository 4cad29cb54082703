"""Ctrl-C ends the waiting of `sqluice demo --serve`, whoever of its processes gets the signal."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.served import within

# What building the sample does in the main thread, then a wait like that for the gateway.
WAITING = """
import signal, subprocess, sys
from adbc_driver_sqlite import dbapi
from gateway.demo.showcase import until_ended
with dbapi.connect() as connection, connection.cursor() as cursor:
    cursor.execute("SELECT 1")
    cursor.fetchall()
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
sleep = [sys.executable, "-c", "import time; time.sleep(900)"]
other = subprocess.Popen(sleep, stdout=subprocess.DEVNULL)
try:
    print("waits", flush=True)
    {wait}
except KeyboardInterrupt:
    print("interrupted")
finally:
    other.kill()
"""


@pytest.mark.parametrize(
    ("wait", "ends"), [("until_ended(other)", True), ("other.wait()", False)]
)
def test_ctrl_c_to_the_parent_alone(wait: str, ends: bool) -> None:
    """The second is the control: a plain wait hears nothing of it."""
    command = [sys.executable, "-c", WAITING.format(wait=wait)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        assert within(60, lambda: _sleeps(process.pid))
        process.send_signal(signal.SIGINT)
        assert within(60 if ends else 2, lambda: process.poll() is not None) is ends
        if not ends:
            process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == ("interrupted\n" if ends else "")


def _sleeps(pid: int) -> bool:
    """Whether a process waits for something, twice in a row."""
    seen = []
    for _ in range(2):
        time.sleep(0.2)
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        seen.append(status.rsplit(")", 1)[1].split()[0])
    return seen == ["S", "S"]
