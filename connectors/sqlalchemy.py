"""Any database with a SQLAlchemy dialect, in a process of its own for each connection.

Takes: `url` as SQLAlchemy writes it, `dialect` (as sqlglot names it), and optionally `session`, one
statement a line for each new connection, `abilities` (TOML, what the owner says that the source
does as DuckDB would) and `tls = "false"` where a URL to another machine says nothing of encryption.
Gives: connections that push nothing but columns unless that says more; rows come by a cursor at the
server where the driver has one. Never rounds a value and never guesses what a text means.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Generator, Mapping, Sequence
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from connectors.arrow import cast_exactly, decimals, parameters_of
from connectors.base import (
    ConnectorError,
    Fragment,
    SourceColumn,
    load_tables,
)
from connectors.driver_process import ProcessConnection, declared, with_marks

TABLES = load_tables("sqlalchemy")
_KNOWN = frozenset({"url", "dialect", "session", "abilities", "tls"})
_ENCRYPTED = re.compile(r"ssl|tls|encrypt", re.IGNORECASE)


class SqlalchemyConnection(ProcessConnection):
    """One connection of a dialect's driver."""

    def __init__(self, opening: Mapping[str, object], dialect: str) -> None:
        """Nothing is started yet."""
        super().__init__(opening, TABLES["probes"].get(dialect, "SELECT 1"))
        self._dialect = dialect

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The live table's columns; an empty sequence where there is no such table."""
        schema, _, table = physical_name.rpartition(".")
        with self.asking():
            found = self.ask("columns", catalog=None, schema=schema or None, table=table)
            rows = [row for batch in found for row in batch.to_pylist()]
        return tuple(
            SourceColumn(row["name"], row["type"], row["nullable"], _contract_types(row))
            for row in rows
        )

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        # SQLAlchemy takes every colon for a parameter, inside of texts too.
        plain = fragment.sql.replace(":", "\\:")
        sql = with_marks(plain, self._dialect, ":p{}")
        yield from self.ask("run", parameters_of(fragment), sql=sql)

    def _fit(self, array: pa.Array, source: pa.Field, target: pa.Field) -> pa.Array:
        """What drivers of databases with few types give; an exact cast for all else."""
        kind, wanted = array.type, target.type
        if pa.types.is_boolean(wanted) and pa.types.is_integer(kind):
            if not pc.all(pc.is_in(array, pa.array([0, 1, None], kind))).as_py():
                raise ConnectorError("a number that is neither 0 nor 1")
            return pc.cast(array, wanted)
        if pa.types.is_float32(wanted) and pa.types.is_float64(kind):
            return _single(array)
        if pa.types.is_string(kind) and pa.types.is_temporal(wanted):
            return _moments(array, wanted)
        return cast_exactly(array, wanted)


class SqlalchemyConnector:
    """Opens connections. `secret_settings` may only come from secrets: a URL holds a password."""

    secret_settings = frozenset({"url"})

    def connect(self, settings: Mapping[str, str]) -> SqlalchemyConnection:
        """Open a connection; its process reads what the driver gives."""
        if set(settings) - _KNOWN or "url" not in settings:
            raise ConnectorError("sqlalchemy takes url, dialect, session, abilities and tls")
        declared(settings, "sqlalchemy")
        _require_tls(settings)
        opening = {
            "kind": "sqlalchemy", "url": settings["url"],
            "session": [one for one in settings.get("session", "").splitlines() if one.strip()],
        }  # fmt: skip
        opened = SqlalchemyConnection(opening, settings["dialect"])
        opened.open()
        return opened


CONNECTOR = SqlalchemyConnector()


def _require_tls(settings: Mapping[str, str]) -> None:
    """A URL to another machine says how it is encrypted, or the settings say that it is not."""
    try:
        parts = urlsplit(settings["url"])
        host = parts.hostname
    except ValueError:
        raise ConnectorError("url is no URL of SQLAlchemy's") from None
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if not host or host == "localhost" or any(map(_ENCRYPTED.search, names)):
        return
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        is_here = False
    if not is_here and settings.get("tls", "true") != "false":
        raise ConnectorError("the url says nothing of encryption: add the driver's own option")


def _contract_types(row: Mapping[str, object]) -> frozenset[str]:
    """The contract's types that values of a column may fit."""
    kind = str(row["kind"])
    if kind in ("NUMERIC", "DECIMAL"):
        precision, scale = row["precision"], row["scale"]
        known = isinstance(precision, int) and isinstance(scale, int)
        return decimals(precision, scale) if known else decimals(0, 0)  # type: ignore[arg-type]
    if kind in ("TIMESTAMP", "DATETIME"):
        zoned = {"TIMESTAMP WITH TIME ZONE"} if row["timezone"] else {"TIMESTAMP"}
        return frozenset(zoned)
    return frozenset(TABLES["types"].get(kind, "").split())


def _single(array: pa.Array) -> pa.Array:
    """Numbers of single precision, which Python writes as double ones."""
    made = pc.cast(array, pa.float32())
    texts = [pc.cast(one, pa.string()) for one in (array, made)]
    if not texts[0].equals(texts[1]) and not pc.cast(made, array.type).equals(array):
        raise ConnectorError("a number of more than single precision")
    return made


def _moments(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Days and times that a database keeps as text, in ISO 8601 and nothing else."""
    if not pa.types.is_time(wanted):
        return pc.cast(array, wanted)
    try:
        values = [None if one is None else datetime.time.fromisoformat(one)
                  for one in array.to_pylist()]  # fmt: skip
    except ValueError:
        raise ConnectorError("a text that is no time") from None
    if any(one is not None and one.tzinfo for one in values):
        raise ConnectorError("a time with a zone")
    return pa.array(values, wanted)
