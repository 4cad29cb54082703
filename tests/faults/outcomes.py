"""How statements end over a mesh of which one source breaks.

Takes: a mesh, a statement, a fault. Gives: the code, and that an answer is whole or an error. Never
lets a source's own text pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gateway.errors import SqluiceError
from gateway.request import Limits
from tests.plain_mesh import PlainMesh
from tests.served import within

WHOLE = ("sqlite", "duckdb", "files")
ENDED = ("source_unavailable", "source_error")
# What only a server or its driver would say.
_OWN_TEXT = re.compile(r"(postgres|mariadb|mysql)(?!\.(large|small|slow)\b)", re.IGNORECASE)


def code_of(mesh: PlainMesh, sql: str, seconds: float = 30) -> str:
    """How a statement ends; an answer must be whole."""
    try:
        mesh.ask(sql, limits=Limits(seconds=seconds))
    except SqluiceError as error:
        assert not _OWN_TEXT.search(error.message), "a source's own text"
        return error.code
    return "ok"


def midway(
    mesh: PlainMesh, sql: str, fault: Callable[[], object], seconds: float = 30
) -> tuple[str, int]:
    """How a large answer ends whose source breaks after the first batch, and rows until then."""
    result = mesh.start(sql, limits=Limits(seconds=seconds))
    batches = result.batches()
    rows = next(batches).num_rows
    fault()
    try:
        rows += sum(batch.num_rows for batch in batches)
    except SqluiceError as error:
        return error.code, rows
    return "ok", rows


def leased(mesh: PlainMesh) -> int:
    """How many connections are out of their pools."""
    pools = mesh.opened.pools
    return sum(one.slots.held for one in pools._pools.values())


def check_rest(mesh: PlainMesh) -> None:
    """The others answer, and nothing is left."""
    for domain in WHOLE:
        assert code_of(mesh, f"select count(*) n from {domain}.small") == "ok"
    assert within(60, lambda: leased(mesh) == 0), leased(mesh)
