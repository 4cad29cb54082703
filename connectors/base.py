"""What a connector is.

Takes: nothing of the mesh. Gives: the protocol of a connector, its declared `Abilities`, the
`Fragment` it is asked to run and the errors it may raise. Never knows products or policies.

A connector is one file of at most 200 lines with a `connect` function, registered under the
entry-point group `sqluice.connectors`, and an ability file `<kind>.toml` beside it.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

import pyarrow as pa
from sqlglot.dialects import DIALECTS


class ConnectorError(Exception):
    """A source answered with an error. The text is the owner's, never a caller's."""


class ConnectorUnavailable(ConnectorError):
    """A source cannot be reached, or the connection to it broke."""


class ConnectorCancelled(ConnectorError):
    """The statement was cancelled from our side."""


class ConnectorRefused(ConnectorError):
    """A source that governs itself refused the caller. `code` is a wire code that tells no row."""

    def __init__(self, text: str, code: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.code, self.retry_after = code, retry_after


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a kind of source can do with *identical meaning* to DuckDB over the contract's types.

    dialect: sqlglot's name of its SQL.
    barrier: text that ends a sub-query so that nothing from outside is evaluated before it, such
      as `OFFSET 0`; None: only a statement of its own is a barrier (DESIGN 5, barrier rule 3).
    qualified_names: physical names are split at dots.
    schema: what stands before a physical name without one, so that no name that a query defines
      can stand in the table's place.
    parameter_style: `dollar` ($1), `question` (?).
    cast_parameters: types whose bound values arrive as text and are cast in the statement.
    text_cast, text_collation: what makes a text column compare by bytes, such as `TEXT`, `"C"`.
    comparable: types whose = <> < <= > >= IN BETWEEN and IS [NOT] DISTINCT FROM are identical.
    sortable: types whose ORDER BY (with an explicit null order) is identical.
    groupable: types whose GROUP BY, DISTINCT and equality join are identical.
    functions, aggregates: sqlglot node class name -> types of its arguments (empty: any known).
    casts: `FROM>TO` pairs that mean the same.
    can_...: the operator as a whole.
    derives_arms: its planner derives from an OR what that says of each table; told so, it errs.
    maximum_parameters, maximum_list: bounds of one statement.
    keys: the predicate that {column} is among the bound values {keys} of the source's {type};
      empty: it takes no keys. key_types: the types that it compares so, with its own names.
    maximum_keys: so many at most in one statement.
    row_ranges: the predicate that a row of the one table in FROM lies from {low} to before {high}.
    prices: milliseconds a statement, microseconds a row, a key and a grouped row, till runs tell.
    in_place: settings under which the merge engine may read the tables itself; empty: none.
    keyed_hash: SQL of the hex digest of HMAC-SHA-256 over the text of {value}, from the blocks
      {inner} and {outer} of a key, which are bound; None: the gateway computes it.
    is_reference: it is DuckDB itself, which means the same by all; the lists are not consulted.
    if_certified: abilities that hold only where a probe of the live source has proved them.
    bytewise_columns: (physical table, physical column) of text that compares by bytes as it is,
      so that no cast and no collation keeps the source from an index.
    is_unproven: what a source's own settings declare (`dialect`, `abilities`), and nobody proved.
      Policies stay with the gateway, and nothing of the user's meets a row that one hides.
    taken: names of what it was seen to do otherwise than declared; certifying may give it back.
    """

    kind: str
    dialect: str
    barrier: str | None = None
    qualified_names: bool = False
    schema: str | None = None
    parameter_style: str = "question"
    cast_parameters: frozenset[str] = frozenset()
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
    can_full_join: bool = False
    can_group: bool = False
    can_distinct: bool = False
    can_set_operation: bool = False
    can_window: bool = False
    can_subquery: bool = False
    can_cte: bool = False
    can_lateral: bool = False
    derives_arms: bool = False
    maximum_parameters: int = 100
    maximum_list: int = 1000
    keys: str = ""
    key_types: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    maximum_keys: int = 0
    row_ranges: str = ""
    prices: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    in_place: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    keyed_hash: str | None = None
    is_reference: bool = False
    if_certified: frozenset[str] = frozenset()
    bytewise_columns: frozenset[tuple[str, str]] = frozenset()
    is_unproven: bool = False
    taken: frozenset[str] = frozenset()

    def under(self, settings: Mapping[str, str]) -> Abilities:
        """The abilities of a source of this kind with its settings.

        What an unproven kind's settings declare wrongly, its connector refuses. What was taken away
        from an unproven source since does not come back.
        """
        if self.is_unproven and self == load_abilities(self.kind):
            try:
                return declared_abilities(self.kind, settings.get("dialect", self.dialect),
                                          settings.get("abilities", ""))  # fmt: skip
            except ConnectorError:
                return self
        is_met = all(settings.get(name) == value for name, value in self.in_place.items())
        return self if is_met else replace(self, in_place=MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class FragmentColumn:
    """A column that a fragment delivers: its name and its type as a DuckDB type name."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Fragment:
    """What one source runs: SQL in its own dialect, bound parameters, the columns it delivers.

    `tables` are the physical names it reads. `parameter_types` are DuckDB type names, one for
    each parameter; '' (only for sources that are DuckDB) means the type of the value itself. Keys
    are one parameter, an Arrow array without NULLs, of a type such as BIGINT[]. With
    `tells_misfits` a value that does not fit its type is NULL and no error, and after the columns
    comes a boolean one for each of them that is true where that happened. How rows travel, never
    what arrives: `expected_rows`, None where nobody can tell; `is_by_row`, each is made of one row
    of the one table, and their order is nobody's; `ranged`, the same statement over a range of the
    table's rows, whose ends are two more parameters, '' where there is none.
    """

    sql: str
    columns: tuple[FragmentColumn, ...]
    tables: tuple[str, ...]
    parameters: tuple[object, ...] = ()
    parameter_types: tuple[str, ...] = ()
    tells_misfits: bool = False
    expected_rows: int | None = field(default=None, compare=False)
    is_by_row: bool = field(default=False, compare=False)
    ranged: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class InPlace:
    """How the merge engine may read tables: views by physical name, files of a folder as found."""

    folder: str
    views: tuple[tuple[str, str], ...]
    states: tuple[tuple[str, tuple[int, int, int, int]], ...] = ()


@dataclass(frozen=True, slots=True)
class SourceSize:
    """About how many rows a table has, and of columns by physical name: values, lowest, highest.

    The bounds are numbers; dates count as days since 1970. indexed: columns that an index finds.
    rows None: nobody has counted them, and `bytes` are those of its text.
    """

    rows: float | None
    columns: Mapping[str, tuple[float | None, float | None, float | None]] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    indexed: frozenset[str] = frozenset()
    bytes: float | None = None


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A live column as the source itself describes it; `type` is the source's own type name.

    `matches` tells whether a contract column of a DuckDB type may be mapped to it.
    """

    name: str
    type: str
    nullable: bool
    contract_types: frozenset[str]


_SIMPLE = MappingProxyType(
    {
        "BOOLEAN": pa.bool_(),
        "TINYINT": pa.int8(),
        "SMALLINT": pa.int16(),
        "INTEGER": pa.int32(),
        "BIGINT": pa.int64(),
        "HUGEINT": pa.decimal128(38, 0),
        "UTINYINT": pa.uint8(),
        "USMALLINT": pa.uint16(),
        "UINTEGER": pa.uint32(),
        "UBIGINT": pa.uint64(),
        "UHUGEINT": pa.decimal128(38, 0),
        "FLOAT": pa.float32(),
        "DOUBLE": pa.float64(),
        "DECIMAL": pa.decimal128(18, 3),
        "VARCHAR": pa.string(),
        "BLOB": pa.binary(),
        "BIT": pa.binary(),
        "DATE": pa.date32(),
        "TIME": pa.time64("us"),
        "TIME WITH TIME ZONE": pa.time64("us"),
        "TIMESTAMP": pa.timestamp("us"),
        "TIMESTAMP_S": pa.timestamp("s"),
        "TIMESTAMP_MS": pa.timestamp("ms"),
        "TIMESTAMP_NS": pa.timestamp("ns"),
        "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "UTC"),
        "INTERVAL": pa.month_day_nano_interval(),
        "UUID": pa.string(),
        "JSON": pa.string(),
        "NULL": pa.null(),
        '"NULL"': pa.null(),
    }
)
_ALIASES = MappingProxyType(
    {
        "BOOL": "BOOLEAN",
        "INT": "INTEGER",
        "REAL": "FLOAT",
        "TEXT": "VARCHAR",
        "STRING": "VARCHAR",
        "NUMERIC": "DECIMAL",
        "TIMETZ": "TIME WITH TIME ZONE",
        "DATETIME": "TIMESTAMP",
        "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE",
    }
)


@functools.lru_cache(maxsize=4096)
def arrow_type(duckdb_type: str) -> pa.DataType:
    """The Arrow type that DuckDB 2 itself exports for one of its types.

    ConnectorError for a name that is no such type.
    """
    name = duckdb_type.strip()
    if (simple := _SIMPLE.get(_ALIASES.get(name.upper(), name.upper()))) is not None:
        return simple
    listed = re.fullmatch(r"(?s)(.*)\[(\d*)\]", name)
    if listed is not None:
        value = arrow_type(listed[1])
        size = int(listed[2]) if listed[2] else None
        return pa.list_(pa.field("l", value)) if size is None else pa.list_(value, size)
    built = re.fullmatch(r"(?s)(\w+)\s*\((.*)\)", name)
    if built is None:
        raise ConnectorError(f"no type of the contract's: {duckdb_type!r}")
    return _built_type(built[1].upper(), built[2], duckdb_type)


def _built_type(name: str, inside: str, shown: str) -> pa.DataType:
    parts = _split_at_commas(inside)
    match _ALIASES.get(name, name):
        case "DECIMAL" if all(part.isdigit() for part in parts) and len(parts) in (1, 2):
            return pa.decimal128(int(parts[0]), int(parts[1]) if len(parts) > 1 else 0)
        case "VARCHAR":
            return pa.string()
        case "MAP" if len(parts) == 2:
            return pa.map_(arrow_type(parts[0]), arrow_type(parts[1]))
        case "STRUCT":
            return pa.struct([_struct_field(part) for part in parts])
        case "ENUM":
            return pa.dictionary(_enum_index(len(parts)), pa.string())
    raise ConnectorError(f"no type of the contract's: {shown!r}")


def _struct_field(text: str) -> pa.Field:
    found = re.fullmatch(r'(?s)(?:"((?:[^"]|"")+)"|(\w+))\s+(.+)', text)
    if found is None:
        raise ConnectorError(f"no field of a STRUCT: {text!r}")
    return pa.field(found[1].replace('""', '"') if found[1] else found[2], arrow_type(found[3]))


def _enum_index(values: int) -> pa.DataType:
    narrow = pa.uint8() if values <= 0xFF else pa.uint16()
    return narrow if values <= 0xFFFF else pa.uint32()


def _split_at_commas(text: str) -> list[str]:
    """Parts between commas that stand outside brackets and quotes."""
    parts, start, depth = [], 0, 0
    for found in re.finditer(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[(),\[\]]""", text):
        mark = found[0]
        depth += (mark in "([") - (mark in ")]")
        if mark == "," and depth == 0:
            parts.append(text[start : found.start()].strip())
            start = found.end()
    return [*parts, text[start:].strip()]


def arrow_schema(columns: Sequence[FragmentColumn]) -> pa.Schema:
    """The schema of columns."""
    return pa.schema([pa.field(one.name, arrow_type(one.type)) for one in columns])


def misfit_of(name: str) -> str:
    """The name of the column that tells where another's values do not fit."""
    return f"misfit of {name}"


def stream_schema(fragment: Fragment) -> pa.Schema:
    """The schema of a fragment's batches, with the columns that tell of misfits."""
    return _stream_schema(fragment.columns, fragment.tells_misfits)


@functools.lru_cache(maxsize=1024)
def _stream_schema(columns: tuple[FragmentColumn, ...], tells_misfits: bool) -> pa.Schema:
    schema = arrow_schema(columns)
    for one in columns if tells_misfits else ():
        schema = schema.append(pa.field(misfit_of(one.name), pa.bool_()))
    return schema


class Connection(Protocol):
    """One open connection; used by one statement at a time, cancelled from any thread."""

    def stream(self, fragment: Fragment) -> Iterator[pa.RecordBatch]:
        """Batches with exactly the fragment's columns, cast to `stream_schema(fragment)`.

        A value that does not fit its type exactly raises ConnectorError, or is told. Closing the
        iterator stops the statement.
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


class Sizing(Connection, Protocol):
    """A connection to a source that knows how large its tables are."""

    def sizes(self, tables: Sequence[str]) -> Mapping[str, SourceSize]:
        """What it knows of tables by physical name, soon and about."""
        ...


class Opening(Connection, Protocol):
    """A connection to a source whose tables the merge engine may read where they lie."""

    def in_place(self, tables: Sequence[str]) -> InPlace:
        """How; ConnectorError where one of the tables cannot be read."""
        ...


class Connector(Protocol):
    """A kind of source.

    One that would have to guess types from rows says `takes_tables = True` and gets a setting
    `tables`: JSON, the contracts' types of the columns of each physical name. One whose source
    may know the caller says `takes_caller = True` and gets settings `caller` (only where the
    source's setting `identity` is `caller`) and `purpose`; the connection is then his alone.
    `secret_settings` names settings that may only come from secrets.
    """

    def connect(self, settings: Mapping[str, str]) -> Connection:
        """Open a connection. `settings` come with secrets resolved.

        Session settings (UTC, date style, search path, read-only) are set and asserted. Raises
        ConnectorUnavailable; ConnectorError for settings that make no sense.
        """
        ...


@functools.lru_cache
def load_connector(kind: str) -> Connector:
    """The connector of a kind, by its entry point; ConnectorError where there is none.

    The import is late on purpose: a driver that nobody uses is never loaded. What was found is
    remembered: to look for it reads a file of each package that is installed.
    """
    found = entry_points(group="sqluice.connectors", name=kind)
    for entry in found:
        return cast(Connector, entry.load())
    known = ", ".join(sorted(one.name for one in entry_points(group="sqluice.connectors")))
    raise ConnectorError(f"no connector of kind {kind!r} is installed; there are: {known}")


@functools.lru_cache
def load_abilities(kind: str, folder: Path | None = None) -> Abilities:
    """The abilities of a kind from `<kind>.toml` beside this file (or in `folder`)."""
    return _abilities(kind, _read(kind, folder))


# What a source's settings may declare: nothing that a policy or a secret would rest upon.
_DECLARABLE = frozenset(
    """
    qualified_names schema parameter_style cast_parameters text_cast text_collation comparable
    sortable groupable functions aggregates casts maximum_parameters maximum_list can_filter
    can_limit can_sort can_join can_outer_join can_full_join can_group can_distinct
    can_set_operation can_window can_subquery can_cte
    """.split()
)
_DIALECTS = frozenset(one.lower() for one in DIALECTS)


@functools.lru_cache
def declared_abilities(kind: str, dialect: str, text: str) -> Abilities:
    """The abilities of an unproven kind with what a source's settings say, as TOML.

    ConnectorError for text that is none, and for what cannot be declared.
    """
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConnectorError(f"abilities: {error}") from None
    if unknown := sorted(set(said) - _DECLARABLE):
        raise ConnectorError(f"abilities: {', '.join(unknown)} cannot be declared by a source")
    if dialect not in _DIALECTS:
        raise ConnectorError(f"dialect: one of {', '.join(sorted(_DIALECTS))}")
    for name, value in said.items():
        if not _is_shaped(value, getattr(Abilities(kind, dialect), name)):
            raise ConnectorError(f"abilities: {name} is of another type")
    return _abilities(kind, {**_read(kind, None), **said, "dialect": dialect})


def _is_shaped(value: object, wanted: object) -> bool:
    """Whether a declared value is of the type that the row wants."""
    match wanted:
        case Mapping():
            return isinstance(value, dict) and all(map(_is_words, value.values()))
        case frozenset():
            return _is_words(value)
        case None:
            return isinstance(value, str)
    return type(value) is type(wanted)


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _abilities(kind: str, raw: dict[str, Any]) -> Abilities:
    raw.pop("tables", None)
    sets = ("comparable", "sortable", "groupable", "casts", "cast_parameters", "if_certified")
    maps = ("functions", "aggregates")
    for name in ("in_place", "key_types", "prices"):
        raw[name] = MappingProxyType(dict(raw.get(name, {})))
    values = {key: value for key, value in raw.items() if key not in sets + maps}
    values |= {key: frozenset(raw.get(key, ())) for key in sets}
    values |= {
        key: MappingProxyType({name: tuple(types) for name, types in raw.get(key, {}).items()})
        for key in maps
    }
    return Abilities(kind=kind, **values)


def load_tables(kind: str) -> Mapping[str, Mapping[str, str]]:
    """The data tables of a kind's own connector: `[tables.<name>]` of its ability file."""
    return MappingProxyType(_read(kind, None)["tables"])


def _read(kind: str, folder: Path | None) -> dict[str, Any]:
    path = (folder or Path(__file__).parent) / f"{kind}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))
