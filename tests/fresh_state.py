"""Empty state databases whose schema is written down rather than made again.

Takes: a test run. Gives: what Alembic made of the first empty SQLite file of a worker, for all that
follow: most tests open a gateway over a state of their own, and half of that was migrating nothing
to the newest form. Never used for a file that holds a table, for PostgreSQL, in processes of their
own, or in tests/state, where migrations are what is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import Engine, create_engine, text

from gateway.state import engine as state

migrated = state.migrate
_DUMPED = ("BEGIN TRANSACTION;", "COMMIT;")


@contextmanager
def written_down() -> Iterator[None]:
    """For as long as it lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "migrate", _migrate)
        yield


def _migrate(engine: Engine) -> None:
    if engine.dialect.name != "sqlite":
        migrated(engine)
        return
    with state.writing(engine) as connection:
        if connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar() == 0:
            for statement in statements():
                connection.exec_driver_sql(statement)
    migrated(engine)


@cache
def statements() -> tuple[str, ...]:
    """What makes the schema, and the rows that migrations leave."""
    with TemporaryDirectory() as folder:
        engine = create_engine(f"sqlite:///{Path(folder) / 'state.sqlite'}")
        try:
            migrated(engine)
            with engine.connect() as connection:
                raw = connection.connection.driver_connection
                assert raw is not None
                return tuple(one for one in raw.iterdump() if one not in _DUMPED)
        finally:
            engine.dispose()
