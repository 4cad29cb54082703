"""Any database with an ADBC driver, in a process of its own for each connection.

Takes: `driver` (of an installed package `adbc_driver_<name>`, or of a driver manifest), `dialect`
(as sqlglot names it), `option.<name>` for each of the driver's own options (`path` and `uri` for
short), and optionally `abilities`: TOML, what the owner says that the source does as DuckDB would.
Gives: connections that push nothing but columns unless that says more. Never loads a library by its
path: whoever runs the gateway says by packages and manifests which drivers there are.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from connectors.arrow import cast_exactly, decimals, parameters_of
from connectors.base import (
    ConnectorError,
    Fragment,
    SourceColumn,
    arrow_type,
    load_tables,
)
from connectors.driver_process import ProcessConnection, declared, with_marks

TABLES = load_tables("adbc")
_SHORT = frozenset({"path", "uri"})
_OWN = frozenset({"driver", "dialect", "abilities"})
_PREFIX = "option."
_CONTRACT_TYPES = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "VARCHAR",
    "BLOB", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "UUID", "JSON",
)  # fmt: skip
# Beyond these years lie the infinities of databases that have them.
_FIRST_DAY, _LAST_DAY, _DAY = -719_162, 2_932_896, 86_400
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class AdbcConnection(ProcessConnection):
    """One connection of a driver's."""

    def __init__(self, opening: Mapping[str, object], dialect: str, marks: str) -> None:
        """`marks` is how parameters are written: `question` or `dollar`."""
        super().__init__(opening, TABLES["probes"].get(dialect, "SELECT 1"))
        self._dialect = dialect
        self._is_positional = marks == "question"

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The live table's columns; an empty sequence where there is no such table."""
        table, schema, catalog, *_ = [*reversed(physical_name.split(".")), None, None]
        try:
            with self.asking():
                (batch,) = self.ask("columns", catalog=catalog, schema=schema, table=table)
        except ConnectorError:
            self.ping()  # the drivers have no common word for a table that is not there
            return ()
        return tuple(
            SourceColumn(one.name, str(one.type), one.nullable, _contract_types(one.type))
            for one in batch.schema
        )

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        sql = with_marks(fragment.sql, self._dialect, "?") if self._is_positional else fragment.sql
        yield from self.ask("run", parameters_of(fragment), sql=sql)

    def _fit(self, array: pa.Array, source: pa.Field, target: pa.Field) -> pa.Array:
        """An exact cast; ConnectorError for what the driver gives as something else than it is."""
        for name, held in (source.metadata or {}).items():
            if held.decode() in TABLES["refused"].get(name.decode(), "").split():
                raise ConnectorError(f"values of the source's type {held.decode()} are not exact")
        _refuse_infinity(array)
        return cast_exactly(array, target.type)


class AdbcConnector:
    """Opens connections. `secret_settings` may only come from secrets."""

    secret_settings = frozenset({"option.password"})

    def connect(self, settings: Mapping[str, str]) -> AdbcConnection:
        """Open a connection; its process reads what the driver gives."""
        options = {
            name.removeprefix(_PREFIX): value
            for name, value in settings.items()
            if name.startswith(_PREFIX) or name in _SHORT
        }
        unknown = [n for n in settings if not n.startswith(_PREFIX) and n not in _SHORT | _OWN]
        if unknown or not re.fullmatch(r"[a-z][a-z0-9_]*", settings.get("driver", "")):
            raise ConnectorError(
                "adbc takes driver (a name), dialect, abilities, path, uri and option.<name>"
            )
        if {"driver", "entrypoint", "profile"} & set(options):
            raise ConnectorError("which library is loaded is for packages and manifests to say")
        abilities, driver = declared(settings, "adbc"), settings["driver"]
        opening = {
            "kind": "adbc", "driver": driver, "options": options,
            "entrypoint": TABLES["entrypoints"].get(driver, ""),
            "session": {},
        }  # fmt: skip
        opened = AdbcConnection(opening, settings["dialect"], abilities.parameter_style)
        opened.open()
        return opened


CONNECTOR = AdbcConnector()


def _contract_types(kind: pa.DataType) -> frozenset[str]:
    """The contract's types that values of an Arrow type may fit."""
    if pa.types.is_decimal(kind):
        return decimals(kind.precision, kind.scale)
    if isinstance(kind, pa.OpaqueType) and kind.type_name == "numeric":
        return decimals(0, 0)
    return frozenset(name for name in _CONTRACT_TYPES if _fits(kind, arrow_type(name)))


def _fits(kind: pa.DataType, target: pa.DataType) -> bool:
    try:
        cast_exactly(pa.nulls(0, kind), target)
    except pa.ArrowException:
        return False
    return True


def _refuse_infinity(array: pa.Array) -> None:
    if pa.types.is_list(array.type):
        _refuse_infinity(array.flatten())
    if not (pa.types.is_date(array.type) or pa.types.is_timestamp(array.type)):
        return
    if array.type == pa.date64():
        array = pc.cast(array, pa.date32())
    is_day = pa.types.is_date(array.type)
    numbers = array.view(pa.int32() if is_day else pa.int64())
    found = pc.min_max(numbers).as_py()
    size = 1 if is_day else _DAY * _UNITS[array.type.unit]
    if found["min"] is not None and (
        found["min"] < _FIRST_DAY * size or found["max"] >= (_LAST_DAY + 1) * size
    ):
        raise ConnectorError("an infinite or too distant date")
