"""What a connector is.

Takes: nothing of the mesh. Gives: the protocol of a connector, its declared `Abilities`, the
`Fragment` it is asked to run and the errors it may raise. Never knows products or policies.

A connector is one file of at most 200 lines with a `connect` function, registered under the
entry-point group `sqluice.connectors`, and an ability file `<kind>.toml` beside it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, cast

import pyarrow as pa


class ConnectorError(Exception):
    """A source answered with an error. The text is the owner's, never a caller's."""


class ConnectorUnavailable(ConnectorError):
    """A source cannot be reached, or the connection to it broke."""


class ConnectorCancelled(ConnectorError):
    """The statement was cancelled from our side."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a kind of source can do with *identical meaning* to DuckDB over the contract's types.

    dialect: sqlglot's name of its SQL.
    barrier: text that ends a sub-query so that nothing from outside is evaluated before it, such
      as `OFFSET 0`; None: only a statement of its own is a barrier (DESIGN 5, barrier rule 3).
    qualified_names: physical names are split at dots.
    parameter_style: `dollar` ($1), `question` (?).
    text_cast, text_collation: what makes a text column compare by bytes, such as `TEXT`, `"C"`.
    comparable: types whose = <> < <= > >= IN BETWEEN and IS [NOT] DISTINCT FROM are identical.
    sortable: types whose ORDER BY (with an explicit null order) is identical.
    groupable: types whose GROUP BY, DISTINCT and equality join are identical.
    functions: sqlglot node class name -> types its arguments may have (empty: any known type).
    aggregates: sqlglot node class name -> types its argument may have.
    casts: `FROM>TO` pairs that mean the same.
    can_...: the operator as a whole.
    maximum_parameters, maximum_list: bounds of one statement.
    is_reference: the source is DuckDB itself, so that every deterministic expression means the
      same there; the lists above are then not consulted.
    """

    kind: str
    dialect: str
    barrier: str | None = None
    qualified_names: bool = False
    parameter_style: str = "question"
    text_cast: str | None = None
    text_collation: str | None = None
    comparable: frozenset[str] = frozenset()
    sortable: frozenset[str] = frozenset()
    groupable: frozenset[str] = frozenset()
    functions: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    aggregates: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    casts: frozenset[str] = frozenset()
    can_filter: bool = False
    can_limit: bool = False
    can_sort: bool = False
    can_join: bool = False
    can_outer_join: bool = False
    can_group: bool = False
    can_distinct: bool = False
    can_set_operation: bool = False
    can_window: bool = False
    can_subquery: bool = False
    can_cte: bool = False
    maximum_parameters: int = 100
    maximum_list: int = 1000
    is_reference: bool = False


@dataclass(frozen=True, slots=True)
class FragmentColumn:
    """A column that a fragment delivers: its name and its type as a DuckDB type name."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one source runs: SQL in its own dialect, bound parameters, the columns it delivers.

    `tables` are the physical names it reads. `parameter_types` are DuckDB type names, one for
    each parameter.
    """

    sql: str
    columns: tuple[FragmentColumn, ...]
    tables: tuple[str, ...]
    parameters: tuple[object, ...] = ()
    parameter_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A live column as the source itself describes it; `type` is the source's own type name.

    `matches` tells whether a contract column of a DuckDB type may be mapped to it.
    """

    name: str
    type: str
    nullable: bool
    contract_types: frozenset[str]


class Connection(Protocol):
    """One open connection; used by one statement at a time, cancelled from any thread."""

    def stream(self, fragment: Fragment) -> Iterator[pa.RecordBatch]:
        """Batches with exactly the fragment's columns, cast to `arrow_schema(fragment)`.

        A value that does not fit its type exactly raises ConnectorError. Closing the iterator
        stops the statement.
        """
        ...

    def columns(self, physical_name: str) -> Sequence[SourceColumn]:
        """The live table's columns; an empty sequence where there is no such table."""
        ...

    def ping(self) -> None:
        """A cheap statement; raises ConnectorUnavailable where the source is gone."""
        ...

    def cancel(self) -> None:
        """Stop what runs now, from another thread; nothing where nothing runs."""
        ...

    def close(self) -> None:
        """Give everything back; idempotent."""
        ...


class Connector(Protocol):
    """A kind of source."""

    def connect(self, settings: Mapping[str, str]) -> Connection:
        """Open a connection. `settings` come with secrets resolved.

        Session settings (UTC, date style, search path, read-only) are set and asserted. Raises
        ConnectorUnavailable; ConnectorError for settings that make no sense.
        """
        ...


def load_connector(kind: str) -> Connector:
    """The connector of a kind, by its entry point; ConnectorError where there is none.

    The import is late on purpose: a driver that nobody uses is never loaded.
    """
    found = entry_points(group="sqluice.connectors", name=kind)
    for entry in found:
        return cast(Connector, entry.load())
    known = ", ".join(sorted(one.name for one in entry_points(group="sqluice.connectors")))
    raise ConnectorError(f"no connector of kind {kind!r} is installed; there are: {known}")


def load_abilities(kind: str, folder: Path | None = None) -> Abilities:
    """The abilities of a kind from `<kind>.toml` beside this file (or in `folder`)."""
    path = (folder or Path(__file__).parent) / f"{kind}.toml"
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    sets = ("comparable", "sortable", "groupable", "casts")
    maps = ("functions", "aggregates")
    values = {key: value for key, value in raw.items() if key not in sets + maps}
    values |= {key: frozenset(raw.get(key, ())) for key in sets}
    values |= {
        key: MappingProxyType({name: tuple(types) for name, types in raw.get(key, {}).items()})
        for key in maps
    }
    return Abilities(kind=kind, **values)
