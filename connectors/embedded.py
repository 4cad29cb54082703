"""A locked-down DuckDB instance, as the connectors of DuckDB files and of plain files use it.

Takes: an open instance. Gives: connections that run one SELECT at a time. Never lets a statement
change a setting, load an extension or write.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connectors.arrow import StreamingConnection, batch_rows
from connectors.base import ConnectorError, Fragment, SourceColumn, SourceSize
from connectors.duckdb_sizes import size_of

LOCKED = MappingProxyType(
    {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "threads": "2",
    }
)


class EmbeddedConnection(StreamingConnection):
    """One connection to an instance."""

    # The text of an error may quote bytes that are none: then it is no error of DuckDB's any more.
    errors = (duckdb.Error, OSError, UnicodeDecodeError)

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Take over an open, locked connection."""
        super().__init__()
        self._connection = connection

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The live table's columns; an empty sequence where there is no such table."""
        name = ".".join(quoted(part) for part in physical_name.split("."))
        return self.columns_of(name)

    def sizes(self, tables: Sequence[str]) -> Mapping[str, SourceSize]:
        """What storage knows of tables, without reading them."""
        found = {}
        for physical_name in tables:
            name = ".".join(quoted(part) for part in physical_name.split("."))
            columns = [one.name for one in self.columns_of(name)]
            if columns:
                with self.asking():
                    found[physical_name] = size_of(self._connection, name, columns)
        return found

    def close(self) -> None:
        """Give everything back; idempotent."""
        self._broken = True
        self._connection.close()

    def columns_of(self, name: str) -> tuple[SourceColumn, ...]:
        """The columns of a relation by its quoted name; none where there is no such relation."""
        try:
            found = self._connection.execute(f"DESCRIBE SELECT * FROM {name}").fetchall()
        except (duckdb.CatalogException, duckdb.BinderException):
            return ()
        except duckdb.Error as error:
            raise ConnectorError(str(error)) from error
        return tuple(
            SourceColumn(str(row[0]), str(row[1]), row[2] == "YES", frozenset({str(row[1])}))
            for row in found
        )

    def _batches(self, fragment: Fragment) -> Generator[pa.RecordBatch, None, None]:
        found = self._connection.extract_statements(fragment.sql)
        if [one.type for one in found] != [duckdb.StatementType.SELECT]:
            raise ConnectorError("a fragment is one SELECT")
        pairs = zip(fragment.parameters, fragment.parameter_types, strict=True)
        values = [_value(value, name) for value, name in pairs]
        relation = self._connection.sql(found[0], params=values)
        with relation.to_arrow_reader(batch_rows(len(fragment.columns))) as reader:
            for batch in reader:
                _require_digits(batch, fragment)
                yield batch

    def _interrupt(self) -> None:
        self._connection.interrupt()

    def _probe(self) -> None:
        self._connection.execute("SELECT 1").fetchall()


def lock(connection: duckdb.DuckDBPyConnection) -> None:
    """Set UTC and lock the settings, and see that both hold."""
    shown = "SELECT current_setting('TimeZone'), current_setting('lock_configuration')"
    if connection.execute(shown).fetchall() != [("UTC", True)]:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")
    if connection.execute(shown).fetchall() != [("UTC", True)]:
        connection.close()
        raise ConnectorError("the DuckDB instance cannot be locked")


def _require_digits(batch: pa.RecordBatch, fragment: Fragment) -> None:
    """Arrow has a sign where these numbers have a digit more: the largest would be -1."""
    for column, one in zip(fragment.columns, batch.columns[: len(fragment.columns)], strict=True):
        least = pc.min_max(one)["min"].as_py() if column.type == "UHUGEINT" else None
        if least is not None and least < 0:
            raise ConnectorError("a whole number has more digits than Arrow keeps")


def quoted(name: str) -> str:
    """An identifier as DuckDB reads it back."""
    return '"' + name.replace('"', '""') + '"'


def _value(value: object, type_name: str) -> object:
    if not type_name:
        return value
    # A Decimal would bring its own precision along; as text it takes the declared one.
    plain = str(value) if isinstance(value, Decimal) else value
    if isinstance(value, pa.Array):
        plain = value.to_pylist()
    try:
        return duckdb.Value(plain, duckdb.type(type_name))
    except duckdb.Error as error:
        raise ConnectorError(f"a parameter does not fit {type_name}: {error}") from error
