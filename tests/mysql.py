"""A MariaDB server for a test, or a loud skip.

Takes: further options of the server. Gives: it running, until the block ends. Never skips where
`SQLUICE_REQUIRE_MYSQL` or `CI` says that there must be one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest

from gateway.demo.mysql import HOME, NoMysql, Server, find_server

REQUIRE = "SQLUICE_REQUIRE_MYSQL"
_MEMORY, _ROOM = "/dev/shm", 4 << 30


def no_mysql(reason: str = "no MariaDB server") -> NoReturn:
    """Skip, or fail where there must be one."""
    if os.environ.get(REQUIRE) or os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _home() -> str:
    """In memory where there is room: on a disk it takes seconds to make a server's own tables."""
    try:
        has_room = shutil.disk_usage(_MEMORY).free > _ROOM and os.access(_MEMORY, os.W_OK)
    except OSError:
        has_room = False
    return _MEMORY if has_room else HOME


@contextmanager
def running_mysql(*more: str) -> Iterator[Server]:
    """A server for the block, with its data gone after it."""
    try:
        found = find_server(*more, home=_home())
    except NoMysql as error:
        no_mysql(str(error))
    try:
        with found:
            yield found
    finally:
        found.discard()


@contextmanager
def mysql_or_none() -> Iterator[Server | None]:
    """A server for the block; None where there is none, and a test has to say so aloud."""
    try:
        found = find_server(home=_home())
    except NoMysql:
        yield None
        return
    try:
        with found:
            yield found
    finally:
        found.discard()
