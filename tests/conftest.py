"""Fixtures that several rooms share.

Takes: a test run. Gives: the sample mesh, built when a test first asks for it; empty states.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from gateway import statistics, visible_rows
from gateway.learning import Learning
from tests.fresh_state import written_down
from tests.sample import SampleMesh, close_sample, open_sample
from tests.served import Served, serving


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Thousands of tests stay until the end: the collector need not look at them every time.

    As in a gateway that serves, trees of statements are hundreds of objects each.
    """
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(scope="session", autouse=True)
def _empty_states_are_written_down() -> Iterator[None]:
    """Migrations of nothing are made once a worker."""
    with written_down():
        yield


@pytest.fixture(scope="session", autouse=True)
def _nobody_is_signed_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Profiles of whoever runs the tests are not looked at, and none of theirs are left to him."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
        patch.delenv("SQLUICE_PROFILE", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _plans_are_those_of_a_machine_at_rest() -> Iterator[None]:
    """A source that tells its sizes late, and the time that runs take, would change plans.

    What was learned holds where a test says so; a file of tests that needs its patience says it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "_WAIT_SECONDS", 30.0)
        patch.setattr(visible_rows, "_WAIT_SECONDS", 30.0)
        patch.setattr(Learning, "_run", lambda self: self._closed.wait())
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
