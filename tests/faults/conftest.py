"""Planning waits for no source that has broken.

Takes: a test. Gives: the gateway's own patience with sources that do not tell their sizes.
"""

from __future__ import annotations

import pytest

from gateway import statistics

PATIENCE = statistics._WAIT_SECONDS


@pytest.fixture(autouse=True)
def _gateways_own_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_WAIT_SECONDS", PATIENCE)
