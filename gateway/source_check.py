"""Contracts compared with the live tables behind them.

Takes: a mesh and a way to open its sources. Gives: one problem for each table or column that is
missing, of another type, or nullable where the contract says required. Never reads a row, never
shows what a source said: a source that cannot be reached is one problem of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from catalog.model import Column, Mesh, Place, Product, Source, Table
from connectors.base import Connection, ConnectorError, ConnectorUnavailable, SourceColumn
from gateway.errors import SqluiceError

_SHOWN_TYPES = 8
# Files have no NOT NULL to add: a warning that nobody can heed is noise.
_NEVER_SAY_NOT_NULL = frozenset({"files", "objects"})

_UNSAYABLE = (
    "No type of a contract has its values: offer a view that casts the column, such as "
    "CAST(x AS text), or leave it out."
)

OpenConnection = Callable[[Source], Connection]


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """Where a contract and its source differ. `code` is stable; `source` an identity.

    What cannot make an answer wrong (`nullable`: many sources cannot say NOT NULL at all) is a
    warning.
    """

    place: Place
    source: str
    code: str
    message: str
    remedy: str

    @property
    def is_warning(self) -> bool:
        """It is to be told, and is no reason to stop."""
        return self.code == "nullable"

    def __str__(self) -> str:
        """`place: message; remedy`."""
        return f"{self.place}: {self.message} {self.remedy}"


def check_sources(mesh: Mesh, open_connection: OpenConnection) -> tuple[SourceProblem, ...]:
    """Every difference between the contracts of a mesh and its live sources."""
    problems: list[SourceProblem] = []
    for source in mesh.sources.values():
        products = [one for one in mesh.products if one.source == source.identity]
        problems.extend(_check_source(source, products, open_connection))
    return tuple(problems)


def _check_source(
    source: Source, products: Sequence[Product], open_connection: OpenConnection
) -> Iterator[SourceProblem]:
    place = source.place or Place(f"domains/{source.domain}/domain.yaml", source.name)
    try:
        connection = open_connection(source)
    except SqluiceError as error:
        yield SourceProblem(place, source.identity, error.code, error.message, error.remedy)
        return
    except ConnectorError as error:
        yield _unusable(place, source, error)
        return
    try:
        for product in products:
            for table in product.tables:
                yield from _check_table(connection, source.kind, product, table)
    except ConnectorError as error:
        yield _unusable(place, source, error)
    finally:
        connection.close()


def _unusable(place: Place, source: Source, error: ConnectorError) -> SourceProblem:
    if isinstance(error, ConnectorUnavailable):
        code, message = "source_unavailable", f"Source {source.identity} cannot be reached."
        remedy = "Start it, or correct its settings and secrets."
    else:
        code, message = "source_error", f"Source {source.identity} refuses its settings."
        remedy = "Correct its settings in domain.yaml, and the rights of its user."
    return SourceProblem(place, source.identity, code, message, remedy)


def _check_table(
    connection: Connection, kind: str, product: Product, table: Table
) -> Iterator[SourceProblem]:
    place = table.place or product.place or Place(f"domains/{product.domain}")
    live = connection.columns(table.physical_name)
    name = f"{product.address}.{table.name}"
    if not live:
        yield SourceProblem(
            place,
            product.source,
            "missing_table",
            f"{name}: the source has no table {table.physical_name!r}.",
            "Correct physicalName, or create the table and let the gateway's user read it.",
        )
        return
    by_name = {one.name: one for one in live}
    for column in table.columns:
        found = by_name.get(column.physical_name)
        at = Place(place.file, f"{place.path}.{column.name}".lstrip("."), place.line)
        for code, message, remedy in _differences(column, found):
            text = f"{name}.{column.name}: {message}"
            yield SourceProblem(at, product.source, code, text, remedy)
    if kind in _NEVER_SAY_NOT_NULL:
        return
    loose = [
        one.name
        for one in table.columns
        if one.required and one.physical_name in by_name and by_name[one.physical_name].nullable
    ]
    if loose:
        yield SourceProblem(
            place,
            product.source,
            "nullable",
            f"{name}: the contract says required, the source allows NULL: {', '.join(loose)}.",
            "Add NOT NULL at the source, or take `required` out of the contract.",
        )


def _differences(column: Column, live: SourceColumn | None) -> Iterator[tuple[str, str, str]]:
    if live is None:
        yield (
            "missing_column",
            f"the source has no column {column.physical_name!r}.",
            "Correct physicalName, or take the column out of the contract (a breaking change).",
        )
    elif column.type not in live.contract_types:
        allowed = _few(sorted(live.contract_types))
        yield (
            "type_mismatch",
            f"the contract says {column.type}, the source has {live.type}.",
            f"The source's type maps to {allowed}." if allowed else _UNSAYABLE,
        )


def _few(names: Sequence[str]) -> str:
    """The first names: a text column of a loose source may stand for hundreds of decimals."""
    return ", ".join(names[:_SHOWN_TYPES]) + (", ..." if len(names) > _SHOWN_TYPES else "")
