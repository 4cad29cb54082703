"""Fixtures that several rooms share.

Takes: a test run. Gives: the sample mesh, built when a test first asks for it; empty states.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway import visible_rows
from tests.fresh_state import written_down
from tests.sample import SampleMesh, close_sample, open_sample
from tests.served import Served, serving


@pytest.fixture(scope="session", autouse=True)
def _empty_states_are_written_down() -> Iterator[None]:
    """Migrations of nothing are made once a worker."""
    with written_down():
        yield


@pytest.fixture(scope="session", autouse=True)
def _counts_are_waited_for() -> Iterator[None]:
    """What plans know, and tests compare, must not depend on how busy the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visible_rows, "_WAIT_SECONDS", 60.0)
        yield


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleMesh]:
    """The sample mesh, small, over real databases."""
    made = open_sample(tmp_path_factory.mktemp("sample"))
    yield made
    close_sample(made)


@pytest.fixture(scope="session")
def gateway(sample: SampleMesh) -> Iterator[Served]:
    """A gateway in a process of its own, over the sample mesh."""
    with serving(sample) as made:
        yield made
