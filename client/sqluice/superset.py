"""What Apache Superset asks of a database engine.

Takes: nothing. Gives: the engine spec that Superset finds by the entry point group
`superset.db_engine_specs`. Importable inside Superset alone: nothing else of the client loads it.

A domain is a catalog, a product a schema. Who runs a query is told to the gateway where the
database says "impersonate logged in user"; policies then hold for that person.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sqlalchemy import types
from superset.constants import TimeGrain
from superset.db_engine_specs.base import BaseEngineSpec
from superset.sql.parse import SQLGLOT_DIALECTS
from superset.utils.core import GenericDataType

from sqluice.errors import Error

# Without it Superset writes statements anew in no database's dialect.
SQLGLOT_DIALECTS.setdefault("sqluice", SQLGLOT_DIALECTS["duckdb"])
_GRAINS = "second minute hour day week month quarter year".split()
_EVERY = (("FIVE_MINUTES", 5), ("TEN_MINUTES", 10), ("FIFTEEN_MINUTES", 15), ("THIRTY_MINUTES", 30))


def _grains() -> dict[str | None, str]:
    cut = {getattr(TimeGrain, one.upper()): f"DATE_TRUNC('{one}', {{col}})" for one in _GRAINS}
    hour, minute = "DATE_TRUNC('hour', {col})", "EXTRACT(minute FROM {col})"
    parts = {
        getattr(TimeGrain, name): f"{hour} + INTERVAL '{size} minutes' * ({minute} // {size})"
        for name, size in _EVERY
    }
    return {None: "{col}", **cut, **parts}


class SqluiceEngineSpec(BaseEngineSpec):  # type: ignore[misc]  # Superset is not there to be checked
    """The gateway, as Superset sees it."""

    engine = "sqluice"
    engine_name = "sqluice"
    default_driver = "adbc"
    sqlalchemy_uri_placeholder = "sqluice://user:password@host:7051/[domain]"
    supports_catalog = True
    supports_dynamic_catalog = True
    supports_cross_catalog_queries = True
    supports_dynamic_schema = False
    supports_file_upload = False
    allows_alias_to_source_column = True
    allow_dml = False
    _time_grain_expressions = _grains()
    column_type_mappings = (
        (re.compile(r"^(u?tinyint|usmallint)", re.I), types.Integer(), GenericDataType.NUMERIC),
        (re.compile(r"^(hugeint|u(big|)int)", re.I), types.BigInteger(), GenericDataType.NUMERIC),
        (re.compile(r"^uuid", re.I), types.String(), GenericDataType.STRING),
        (re.compile(r"^interval", re.I), types.Interval(), GenericDataType.TEMPORAL),
    )

    @classmethod
    def epoch_to_dttm(cls) -> str:
        """A moment from seconds."""
        return "to_timestamp({col})"

    @classmethod
    def convert_dttm(
        cls, target_type: str, dttm: datetime, db_extra: dict[str, Any] | None = None
    ) -> str | None:
        """A literal of a moment."""
        kind = target_type.upper()
        if kind.startswith("DATE") and not kind.startswith("DATETIME"):
            return f"DATE '{dttm.date().isoformat()}'"
        if kind.startswith("TIMESTAMP") or kind.startswith("DATETIME"):
            name = "TIMESTAMPTZ" if "ZONE" in kind or "TZ" in kind else "TIMESTAMP"
            return f"{name} '{dttm.isoformat(sep=' ', timespec='microseconds')}'"
        return None

    @classmethod
    def get_default_catalog(cls, database: Any) -> str | None:  # noqa: ANN401  # Superset's
        """The domain of the address."""
        return database.url_object.database or None

    @classmethod
    def get_catalog_names(cls, database: Any, inspector: Any) -> set[str]:  # noqa: ANN401
        """The domains that this person may know."""
        with inspector.engine.connect() as connection:
            return set(connection.dialect.get_domain_names(connection))

    @classmethod
    def adjust_engine_params(
        cls, uri: Any, connect_args: dict[str, Any], catalog: str | None = None,  # noqa: ANN401
        schema: str | None = None,
    ) -> tuple[Any, dict[str, Any]]:  # fmt: skip
        """Stand in the domain that was chosen."""
        return (uri.set(database=catalog) if catalog else uri), connect_args

    @classmethod
    def impersonate_user(
        cls, database: Any, username: str | None, user_token: str | None, url: Any,  # noqa: ANN401
        engine_kwargs: dict[str, Any],
    ) -> tuple[Any, dict[str, Any]]:  # fmt: skip
        """Tell the gateway for whom the database's user asks; he needs the right to."""
        if username is not None and username != url.username:
            url = url.update_query_dict({"acting_as": username})
        return url, engine_kwargs

    @classmethod
    def _extract_error_message(cls, ex: Exception) -> str:
        """All that is known: Superset itself would show the message alone."""
        found = getattr(ex, "orig", None) or ex
        return str(found if isinstance(found, Error) else super()._extract_error_message(ex))

    @classmethod
    def get_cancel_query_id(cls, cursor: Any, query: Any) -> str | None:  # noqa: ANN401
        """A key that is known before the statement runs."""
        return str(cursor.query_key)

    @classmethod
    def cancel_query(cls, cursor: Any, query: Any, cancel_query_id: str) -> bool:  # noqa: ANN401
        """Stop it, as the person who runs it."""
        if not re.fullmatch(r"[kq]_[0-9a-f]+", cancel_query_id):
            return False
        try:
            found = cursor.execute(f"KILL QUERY '{cancel_query_id}'").fetchone()
        except Error:
            return False
        return found is not None and found[1] == "cancelling"
