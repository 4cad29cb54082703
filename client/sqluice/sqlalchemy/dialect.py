"""The dialect: what SQLAlchemy asks of a database.

Takes: URLs, connections, names. Gives: what `DefaultDialect` leaves open for a gateway that only
reads. Never emulates another database; runs on SQLAlchemy 1.4.54 and later.
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

from sqlalchemy import text, types
from sqlalchemy.engine import default, interfaces

import sqluice
from sqluice.sqlalchemy import reflection as known
from sqluice.sqlalchemy.address import arguments_of
from sqluice.sqlalchemy.compiler import (
    SqluiceCompiler,
    SqluiceIdentifierPreparer,
    SqluiceTypeCompiler,
)
from sqluice.sqlalchemy.types import COLSPECS

_LEVEL = "AUTOCOMMIT"
# The option of a statement that says after how many seconds the gateway stops it.
TIMEOUT = "sqluice_timeout"
# From 2.0 on a type may ask for a cast of its parameters.
_RENDER_CASTS: Any = getattr(getattr(interfaces, "BindTyping", None), "RENDER_CASTS", None)
_NUMBERS = re.compile(r"\d+")


class SqluiceDialect(default.DefaultDialect):
    """The gateway, as SQLAlchemy sees it."""

    name = "sqluice"
    driver = "adbc"
    paramstyle = default_paramstyle = "qmark"
    supports_statement_cache = True
    statement_compiler = SqluiceCompiler
    type_compiler = type_compiler_cls = SqluiceTypeCompiler
    preparer = SqluiceIdentifierPreparer
    colspecs = COLSPECS
    max_identifier_length = 255
    supports_native_boolean = True
    supports_native_decimal = True
    supports_native_enum = False
    supports_native_uuid = True
    supports_alter = False
    supports_comments = False
    supports_constraint_comments = False
    supports_schemas = True
    supports_views = False
    supports_sequences = False
    sequences_optional = True
    supports_default_values = False
    supports_default_metavalue = False
    supports_empty_insert = False
    supports_multivalues_insert = False
    supports_sane_rowcount = False
    supports_sane_multi_rowcount = False
    supports_is_distinct_from = True
    supports_unicode_statements = True
    supports_unicode_binds = True
    returns_unicode_strings = getattr(types.String, "RETURNS_UNICODE", True)
    postfetch_lastrowid = False
    insert_returning = update_returning = delete_returning = False
    use_insertmanyvalues = False
    div_is_floordiv = False
    bind_typing = _RENDER_CASTS
    tuple_in_values = True
    default_schema_name = None
    # How JSON is read and written may be given to create_engine.
    _json_serializer = None
    _json_deserializer = None

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """The module of PEP 249."""
        return sqluice

    @classmethod
    def dbapi(cls) -> ModuleType:  # type: ignore[override]  # 1.4's name
        """The module of PEP 249."""
        return sqluice

    def create_connect_args(self, url: Any) -> tuple[list[str], dict[str, Any]]:
        """What `connect` is called with; remembers the domain."""
        target, named = arguments_of(url)
        self._domain: str | None = named.get("domain")
        return [target], named

    @property
    def domain(self) -> str | None:
        """The domain that stands before what has none."""
        return getattr(self, "_domain", None)

    def initialize(self, connection: Any) -> None:
        """Nothing is asked of the gateway but its version."""
        self.server_version_info = self._get_server_version_info(connection)
        self.default_isolation_level: Any = _LEVEL

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:
        version = connection.connection.server_version
        return tuple(int(one) for one in _NUMBERS.findall(version))

    def do_ping(self, dbapi_connection: Any) -> bool:
        """One call that runs no statement."""
        dbapi_connection.ping()
        return True

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """Whether the gateway does not answer or has forgotten who this is.

        A source that is down has a query, and leaves the connection as it was.
        """
        if getattr(connection, "is_closed", False):
            return True
        if not isinstance(e, sqluice.OperationalError) or e.query_id:
            return False
        return e.code in ("source_unavailable", "unauthenticated")

    def do_execute(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
        """Run a statement, with what its execution options say."""
        options = {} if context is None else context.execution_options
        cursor.query_timeout = options.get(TIMEOUT)
        cursor.execute(statement, parameters)

    def do_execute_no_params(self, cursor: Any, statement: Any, context: Any = None) -> None:
        """The same without parameters."""
        self.do_execute(cursor, statement, None, context)

    def do_begin(self, dbapi_connection: Any) -> None:
        """Nothing."""

    def do_commit(self, dbapi_connection: Any) -> None:
        """Nothing."""

    def do_rollback(self, dbapi_connection: Any) -> None:
        """Nothing."""

    def get_isolation_level(self, dbapi_connection: Any) -> Any:
        """There is one."""
        return _LEVEL

    def get_default_isolation_level(self, dbapi_conn: Any) -> Any:
        """There is one."""
        return _LEVEL

    def get_isolation_level_values(self, dbapi_conn: Any) -> Any:
        """There is one."""
        return (_LEVEL,)

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        """Accept the only one."""
        if str(level).replace("_", " ").upper() != _LEVEL:
            raise self._not_served(level)

    def _not_served(self, level: object) -> sqluice.NotSupportedError:
        return sqluice.NotSupportedError(f"The gateway only reads: {level} is not served.")

    def get_domain_names(self, connection: Any) -> list[str]:
        """The domains that the caller may know."""
        return [one[0] for one in connection.execute(text("SHOW CATALOGS"))]

    def get_schema_names(self, connection: Any, **kw: Any) -> list[str]:
        """The products of the domain, or `domain.product` of all."""
        found = self._products(connection, **kw)
        if self.domain is None:
            return [f"{domain}.{product}" for domain, product in found]
        own = self.domain.casefold()
        return [product for domain, product in found if domain.casefold() == own]

    def has_schema(self, connection: Any, schema_name: str, **kw: Any) -> bool:
        """Whether a schema is one of those."""
        place = known.place_of(schema_name, self.domain)
        wanted = tuple(one.casefold() for one in place.parts) if place else ()
        found = self._products(connection, **kw)
        return any(
            (domain.casefold(), product.casefold())[: len(wanted)] == wanted
            for domain, product in found
        )

    def has_table(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> bool:
        """Whether the caller may know of a table."""
        return bool(self._rows(connection, table_name, schema, **kw))

    def get_table_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        """The tables of a schema."""
        place = known.place_of(schema, self.domain)
        found = known.rows_of(connection, place, None, kw.get("info_cache"))
        return list(dict.fromkeys(place.name_in(one) for one in found)) if place else []

    def get_view_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        """None: whatever a product is made from, it is a table."""
        return []

    get_materialized_view_names = get_temp_table_names = get_temp_view_names = get_view_names
    get_sequence_names = get_view_names

    def get_view_definition(
        self, connection: Any, view_name: str, schema: str | None = None, **kw: Any
    ) -> str:
        """There is none to show."""
        known.existing((), view_name)
        return ""

    def get_columns(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> Any:
        """Columns with types, comments and nullability."""
        return known.columns(self._existing(connection, table_name, schema, **kw))

    def get_pk_constraint(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> Any:
        """The key that the contract declares."""
        return known.primary_key(self._existing(connection, table_name, schema, **kw))

    def get_foreign_keys(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> Any:
        """The relationships that the contract declares."""
        rows = self._existing(connection, table_name, schema, **kw)
        place = known.place_of(schema, self.domain)
        assert place is not None
        return known.foreign_keys(rows, place, self.domain)

    def get_table_comment(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> Any:
        """The description of a table or its product."""
        rows = self._existing(connection, table_name, schema, **kw)
        return {"text": rows[0]["table_description"] or None}

    def get_indexes(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> Any:
        """None that a caller could know of."""
        self._existing(connection, table_name, schema, **kw)
        return []

    get_unique_constraints = get_check_constraints = get_indexes

    def _default_multi_reflect(  # noqa: PLR0913, PLR0917  # SQLAlchemy's own
        self, single_tbl_method: Any, connection: Any, kind: Any, schema: Any, filter_names: Any,
        scope: Any, **kw: Any,
    ) -> Any:  # fmt: skip
        """All tables of a schema from one statement."""
        place = known.place_of(schema, self.domain)
        if not filter_names or len(filter_names) > 1:
            known.rows_of(connection, place, None, kw.get("info_cache"))
        return super()._default_multi_reflect(  # type: ignore[no-untyped-call]  # SQLAlchemy's own
            single_tbl_method, connection, kind, schema, filter_names, scope, **kw
        )

    def _products(self, connection: Any, **kw: Any) -> list[tuple[str, str]]:
        held = kw.get("info_cache", {})
        if "sqluice products" not in held:
            found = connection.execute(text("SHOW SCHEMAS"))
            held["sqluice products"] = [(domain, product) for domain, product in found]
        products: list[tuple[str, str]] = held["sqluice products"]
        return products

    def _rows(
        self, connection: Any, table_name: str, schema: str | None, **kw: Any
    ) -> tuple[known.Row, ...]:
        place = known.place_of(schema, self.domain)
        return known.rows_of(connection, place, table_name, kw.get("info_cache"))

    def _existing(
        self, connection: Any, table_name: str, schema: str | None, **kw: Any
    ) -> tuple[known.Row, ...]:
        name = f"{schema}.{table_name}" if schema else table_name
        return known.existing(self._rows(connection, table_name, schema, **kw), name)
