"""Fixtures that several rooms share.

Takes: a test run. Gives: the sample mesh, built when a test first asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sample import SampleMesh, close_sample, open_sample
from tests.served import Served, serving


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
