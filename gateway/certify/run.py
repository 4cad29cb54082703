"""A source is certified.

Takes: a source's identity and kind, an open connection, the mesh's tables in it. Gives: its
`Certificate`. Never writes to the source, never reads a row of it: all statements are over rows of
our own. It ends within its deadline or raises.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Protocol, cast

from catalog.model import Mesh, Source
from connectors.base import (
    Abilities,
    Connection,
    ConnectorError,
    ConnectorUnavailable,
    Fragment,
    FragmentColumn,
)
from gateway.certify.ask import Asker, Outcome, outcome
from gateway.certify.barrier import Verdict, barrier
from gateway.certify.certificate import Certificate, Disproof
from gateway.certify.collations import bytewise, collated, columns_of
from gateway.certify.facts import Fact, facts
from gateway.certify.keyed import disproved_keys
from gateway.certify.measure import bounds, prices
from gateway.certify.patience import Patient
from gateway.certify.probes import Probe, all_probes
from gateway.certify.rows import Dialect, dialect_of, reference, written
from gateway.pseudonyms import key_block

SECONDS = 300.0
# Where DuckDB is itself: that statements run and values travel is enough.
_NOT_ITSELF = ("functions", "casts", "sortable", "aggregates")
_SHOWN = 200
_HASHED = ("a", "p_", "x" * 65, "a\\b", "é漢😀")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is certified: a source of a kind with its declared row, and the mesh's columns in it.

    `tables` map physical names of tables to those of columns.
    """

    source: str
    kind: str
    declared: Abilities
    tables: Mapping[str, Iterable[str]]


class Telling(Connection, Protocol):
    """A connection to a source that says by its protocol what no statement of its says."""

    def about(self) -> Mapping[str, str]:
        """Its `version`, and settings."""
        ...


def settings_of(connection: Connection, dialect: Dialect) -> Mapping[str, str]:
    """The source's version and the settings on which its meaning hangs; one cheap question."""
    if "version" not in dialect.asks:
        return MappingProxyType(dict(cast(Telling, connection).about()))
    found = outcome(connection, dialect.asks["version"], ["VARCHAR", "VARCHAR"])
    if found.rows is None:
        raise ConnectorError(found.error)
    return MappingProxyType({str(name): str(value) for name, value in found.rows})


def certify(
    subject: Subject,
    live: Connection,
    progress: Callable[[str], None] = lambda _: None,
    seconds: float = SECONDS,
) -> Certificate:
    """Ask a live source everything; raises ConnectorError where it cannot be asked."""
    abilities, until = subject.declared, time.monotonic() + seconds
    dialect = dialect_of(subject.kind, abilities.dialect)
    held, connection = reference(dialect), Patient(live, until)
    try:
        found = settings_of(live, dialect)
        progress("traps")
        told = tuple(facts(connection, dialect.name, held, dialect.asks.get("unasked", "")))
        progress("abilities")
        asker = Asker(abilities, connection, held, written(dialect, held))
        verdicts = list(_asked(asker, until))
        progress("barrier")
        verdict = barrier(connection, abilities, dialect)
        progress("collations, bounds and prices")
        columns = collated(connection, dialect, columns_of(subject.tables), held)
        disproved = [one for _, one in verdicts if one is not None]
        disproved += _by_facts(told, abilities) + _by_barrier(verdict, abilities)
        disproved += _by_hash(connection, abilities) + disproved_keys(asker)
        kept = bounds(connection, abilities)
        connection.rest()
        return Certificate(
            source=subject.source, kind=subject.kind,
            at=datetime.now(UTC).isoformat(timespec="seconds"), settings=found, facts=told,
            proved=tuple(name for name, one in verdicts if one is None),
            disproved=tuple({one.ability: one for one in reversed(disproved)}.values())[::-1],
            barrier=verdict, bounds=kept, collations=columns,
            bytewise=tuple(sorted(bytewise(columns, dialect)))
            if "bytewise_columns" in abilities.if_certified else (),
            prices=prices(connection, dialect, abilities),
            can_stage=_can_stage(connection, dialect),
        )  # fmt: skip
    finally:
        held.close()


def _asked(asker: Asker, until: float) -> Iterator[tuple[str, Disproof | None]]:
    """Every declared ability with what disproves it."""
    for probe in all_probes():
        if time.monotonic() > until:
            raise ConnectorUnavailable("certifying took longer than its deadline")
        if not _is_declared(probe, asker.abilities):
            continue
        found = asker.difference(probe)
        if found is not None and found[2].rows is None:
            # A source that went away proves nothing about its abilities.
            asker.connection.ping()
        yield probe.name, None if found is None else _disproof(probe.name, *found)


def _is_declared(probe: Probe, abilities: Abilities) -> bool:
    if abilities.is_reference:
        return probe.ability.partition(".")[0] not in _NOT_ITSELF
    return probe.declared(abilities)


def _disproof(name: str, sql: str, wanted: Outcome, got: Outcome) -> Disproof:
    return Disproof(name, sql, *_apart(wanted, got))


def _apart(wanted: Outcome, got: Outcome) -> tuple[str, str]:
    """What each side gave that the other did not, shortened."""
    if wanted.rows is None or got.rows is None:
        return tuple("fails" if one.rows is None else "answers" for one in (wanted, got))  # type: ignore[return-value]  # two
    ours, theirs = ([repr(row) for row in one.rows or ()] for one in (wanted, got))
    if sorted(ours) == sorted(theirs):
        return "in this order", "in another order"
    first = ", ".join(one for one in ours if one not in theirs)
    other = ", ".join(one for one in theirs if one not in ours)
    return first[:_SHOWN], other[:_SHOWN]


def _by_facts(told: Iterable[Fact], abilities: Abilities) -> list[Disproof]:
    return [
        Disproof(name, f"trap {one.trap}, {one.name}", one.duckdb, one.source)
        for one in told
        for name in one.disproves
        if _holds(abilities, name)
    ]


def _holds(abilities: Abilities, name: str) -> bool:
    group, _, rest = name.partition(".")
    key, _, kind = rest.partition(".")
    held = getattr(abilities, group)
    return kind in held.get(key, ()) if isinstance(held, Mapping) else rest in held


def _by_barrier(verdict: Verdict | None, abilities: Abilities) -> list[Disproof]:
    if verdict is None or not verdict.broken:
        return []
    text = f"an attack got through {abilities.barrier!r}: {verdict.broken}"
    return [Disproof("barrier", text, "nothing is seen", "a hidden row is seen")]


def _by_hash(connection: Connection, abilities: Abilities) -> list[Disproof]:
    """Whether the keyed hash is the HMAC, byte for byte."""
    template = abilities.keyed_hash
    if template is None:
        return []
    key = b"a key that is no key"
    value = template.format(value="v", inner="$1", outer="$2")
    rows = " UNION ALL ".join(
        f"SELECT {place} AS n, '{text}' AS v" for place, text in enumerate(_HASHED)
    )
    sql = f"SELECT {value} AS h FROM ({rows}) AS given ORDER BY n"
    blocks = (key_block(key, False), key_block(key, True))
    column = (FragmentColumn("h", "VARCHAR"),)
    try:
        batches = connection.stream(Fragment(sql, column, (), blocks, ("BLOB", "BLOB")))
        found = [value for batch in batches for value in batch.column(0).to_pylist()]
    except ConnectorError:
        found = []
    wanted = [hmac.new(key, text.encode(), sha256).hexdigest() for text in _HASHED]
    if found == wanted:
        return []
    return [Disproof("keyed_hash", "HMAC-SHA-256 of texts", "the hash", "another text")]


def _can_stage(connection: Connection, dialect: Dialect) -> bool | None:
    sql = dialect.asks.get("stage")
    found = outcome(connection, sql, ["BOOLEAN"]) if sql is not None else Outcome(None)
    return bool(found.rows[0][0]) if found.rows else None


def subject_of(source: Source, mesh: Mesh, declared: Abilities) -> Subject:
    """A source as the mesh knows it, with the columns that its contracts name."""
    tables: dict[str, set[str]] = {}
    for product in mesh.products:
        for table in product.tables if product.source == source.identity else ():
            names = tables.setdefault(table.physical_name, set())
            names.update(one.physical_name for one in table.columns)
    return Subject(source.identity, source.kind, declared, MappingProxyType(tables))
