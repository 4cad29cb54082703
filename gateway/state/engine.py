"""The gateway's own database: SQLite (WAL) by default, PostgreSQL for several gateways.

Takes: a SQLAlchemy URL. Gives: an engine whose schema is migrated to the newest form, and the
two ways to use it, `writing` and `reading`. Never holds rows of a product.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.errors import InvalidConfig, SourceUnavailable

HEAD = "0009"
_MIGRATIONS = Path(__file__).parent / "migrations"
# Any number will do, as long as every gateway takes the same one while it migrates.
_MIGRATION_LOCK = 7_080_705_170_32
_BUSY_SECONDS = 15


def open_state(url: str, *, durable: bool = False) -> Engine:
    """Open state and migrate it. `durable`: SQLite waits for the disk at each commit.

    Without `durable` a crash of the gateway loses nothing; a crash of the machine may lose the
    last commits, never the order or the form of those before.
    """
    try:
        engine = _create(_parsed(url), durable)
    except OSError as error:
        raise _unopened(error) from error
    try:
        migrate(engine)
    except InvalidConfig:
        engine.dispose()
        raise
    except SQLAlchemyError as error:
        engine.dispose()
        raise _unopened(error) from error
    return engine


def _unopened(error: Exception) -> SourceUnavailable:
    return SourceUnavailable(
        "The gateway's state cannot be opened.",
        hint="Check SQLUICE_STATE, and that its database or folder is there and may be written.",
        private=str(error),
    )


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes; committed at the end, rolled back by an exception."""
    with engine.connect() as connection:
        prepared = connection.execution_options(sqluice_write=True)
        with prepared.begin():
            yield prepared


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads one consistent state."""
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with engine.connect() as connection:
        prepared = connection.execution_options(**options)
        with prepared.begin():
            yield prepared


def migrate(engine: Engine) -> None:
    """Bring the schema to `HEAD`; one gateway at a time, the others wait."""
    with reading(engine) as connection:
        if _version(connection) == HEAD:
            return
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        found = _version(connection)
        if found == HEAD:
            return
        if found is not None and found > HEAD:
            raise InvalidConfig(
                f"State is of version {found}, this gateway knows {HEAD} at most.",
                hint="Start the newer version of the gateway again, or use another state.",
            )
        settings = AlembicConfig()
        settings.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        settings.attributes["connection"] = connection
        command.upgrade(settings, HEAD)


def moment_text(moment: datetime) -> str:
    """An aware time as UTC text that sorts as time does; so every database keeps it exactly."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidConfig(
            "SQLUICE_STATE is no SQLAlchemy URL.",
            hint="Write it as sqlite:////folder/state.sqlite or postgresql://user@host/database.",
        ) from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    kind = parsed.get_backend_name()
    if kind not in ("sqlite", "postgresql") or (kind == "sqlite" and not parsed.database):
        raise InvalidConfig(
            f"State cannot live in {parsed.drivername}.",
            hint="Use a SQLite file (sqlite:////folder/state.sqlite) or PostgreSQL.",
        )
    return parsed


def _create(url: URL, durable: bool) -> Engine:
    if url.get_backend_name() == "sqlite":
        assert url.database is not None
        path = Path(url.database)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, pool_size=8)
        _tune_sqlite(engine, "FULL" if durable else "NORMAL")
        return engine
    try:
        return create_engine(url, pool_pre_ping=True, pool_size=8)
    except (NoSuchModuleError, ModuleNotFoundError):
        raise InvalidConfig(
            "The driver for state in PostgreSQL is not installed.",
            hint="Install it: pip install 'sqluice-gateway[postgres-state]'.",
        ) from None


def _tune_sqlite(engine: Engine, synchronous: str) -> None:
    """WAL, and transactions that take the write lock when they begin, so that none must retry."""

    @event.listens_for(engine, "connect")
    def _on_connect(dbapi_connection: object, _entry: ConnectionPoolEntry) -> None:
        # The driver's own BEGIN comes too late for a consistent read; ours is sent on "begin".
        dbapi_connection.isolation_level = None  # type: ignore[attr-defined]  # sqlite3.Connection
        cursor = dbapi_connection.cursor()  # type: ignore[attr-defined]  # sqlite3.Connection
        for setting in ("journal_mode=WAL", f"synchronous={synchronous}", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("sqluice_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
