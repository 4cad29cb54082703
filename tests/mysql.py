"""A MariaDB server for a test, or a loud skip.

Takes: further options of the server. Gives: it running, until the block ends. Never skips where
`SQLUICE_REQUIRE_MYSQL` or `CI` says that there must be one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from gateway.demo.mysql import NoMysql, Server, find_server

REQUIRE = "SQLUICE_REQUIRE_MYSQL"


def no_mysql(reason: str = "no MariaDB server") -> NoReturn:
    """Skip, or fail where there must be one."""
    if os.environ.get(REQUIRE) or os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def running_mysql(*more: str) -> Iterator[Server]:
    """A server for the block, with its data gone after it."""
    try:
        found = find_server(*more)
    except NoMysql as error:
        no_mysql(str(error))
    try:
        with found:
            yield found
    finally:
        found.discard()
