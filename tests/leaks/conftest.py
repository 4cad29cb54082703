"""The two worlds, built once for all that ask them.

Takes: the sample's PostgreSQL. Gives: open gateways over the calm and the wild world.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.leaks.worlds import World, open_world
from tests.mysql import mysql_or_none
from tests.sample import SampleMesh


@pytest.fixture(scope="session")
def worlds(sample: SampleMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[World]]:
    folder = tmp_path_factory.mktemp("leaks")
    with mysql_or_none() as mariadb:
        made = [open_world(name, folder, sample.server, mariadb) for name in ("calm", "wild")]
        yield made
        for one in made:
            one.opened.close()
