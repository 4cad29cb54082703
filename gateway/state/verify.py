"""The proof of the audit: recompute every chain.

Takes: state and, where they were exported, heads. Gives: what was checked and every problem:
a changed row, a missing row, a chain nobody declared, a text that is not the committed one, a
redaction nobody recorded, a tail that was cut. Never writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine

from gateway.errors import InvalidConfig
from gateway.state import audit as rows
from gateway.state.engine import reading


@dataclass(frozen=True, slots=True)
class Head:
    """The newest record of a chain: with it a cut tail can be found."""

    chain: str
    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Flaw:
    """Where a chain does not hold, and how."""

    chain: str
    sequence: int
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked: chains, records, heads, how many were redacted; and every flaw."""

    chains: int
    records: int
    heads: int
    redacted: int
    unknown: int
    flaws: tuple[Flaw, ...]

    @property
    def holds(self) -> bool:
        """Nothing is wrong."""
        return not self.flaws


@dataclass(slots=True)
class _Findings:
    records: int = 0
    redacted: set[tuple[str, int]] = field(default_factory=set)
    declared_redactions: set[tuple[str, int]] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    flaws: list[Flaw] = field(default_factory=list)


def verify(engine: Engine, heads: tuple[Head, ...] = ()) -> Verification:
    """Recompute every chain and look for every exported head."""
    findings = _Findings()
    with reading(engine) as connection:
        declared = rows.chains(connection)
        for chain in declared:
            _check_chain(connection, chain, findings)
        findings.flaws.extend(
            Flaw(one, 0, "the chain has records but no declaration")
            for one in rows.undeclared_chains(connection)
        )
        findings.flaws.extend(_check_heads(connection, heads))
    findings.flaws.extend(
        Flaw(chain, sequence, "its text is gone and no record says that it was redacted")
        for chain, sequence in sorted(findings.redacted - findings.declared_redactions)
    )
    return Verification(
        chains=len(declared),
        records=findings.records,
        heads=len(heads),
        redacted=len(findings.redacted),
        unknown=len(findings.open),
        flaws=tuple(findings.flaws),
    )


def read_heads(path: Path) -> tuple[Head, ...]:
    """The newest exported head of each chain, from a file of JSON lines."""
    newest: dict[str, Head] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            raw = json.loads(line)
            head = Head(str(raw["chain"]), int(raw["sequence"]), str(raw["hash"]))
        except (ValueError, KeyError, TypeError):
            raise InvalidConfig(
                f"{path.name}:{number} is no exported head of an audit chain.",
                hint="Name a file that the gateway wrote (see [audit] heads in gateway.toml).",
            ) from None
        if head.chain not in newest or newest[head.chain].sequence < head.sequence:
            newest[head.chain] = head
    return tuple(newest.values())


def _check_chain(
    connection: Connection, declaration: Mapping[str, object], findings: _Findings
) -> None:
    chain = str(declaration["chain"])
    process = int(str(declaration["process"]))
    started_at, host = str(declaration["started_at"]), str(declaration["host"])
    previous = rows.genesis_hash(chain, started_at, host, process)
    if previous != declaration["genesis"]:
        findings.flaws.append(Flaw(chain, 0, "the declaration of the chain was changed"))
    expected = 1
    for row in rows.records(connection, chain):
        sequence = int(str(row["sequence"]))
        findings.records += 1
        if sequence != expected:
            missing = f"records {expected} to {sequence - 1} are missing"
            findings.flaws.append(Flaw(chain, expected, missing))
        elif row["previous"] != previous:
            findings.flaws.append(Flaw(chain, sequence, "it does not follow the record before"))
        findings.flaws.extend(Flaw(chain, sequence, what) for what in _flaws_of(row))
        _note(row, findings)
        expected, previous = sequence + 1, str(row["hash"])


def _flaws_of(row: Mapping[str, object]) -> Iterator[str]:
    if rows.record_hash(row) != row["hash"]:
        yield "the record was changed"
    if row["redactable"] is not None:
        salt = row["salt"]
        if salt is None or rows.commitment(str(salt), str(row["redactable"])) != row["commitment"]:
            yield "its text is not the one that was committed"


def _note(row: Mapping[str, object], findings: _Findings) -> None:
    """Redactions, and requests without a finish."""
    query = f"{row['chain']} {row['query_id']}"
    if row["kind"] == "started":
        findings.open.add(query)
        if row["redactable"] is None:
            findings.redacted.add((str(row["chain"]), int(str(row["sequence"]))))
    elif row["kind"] == "finished":
        findings.open.discard(query)
    elif row["kind"] == "redacted":
        chain, sequence = json.loads(str(row["normalised"]))
        findings.declared_redactions.add((chain, sequence))


def _check_heads(connection: Connection, heads: tuple[Head, ...]) -> Iterator[Flaw]:
    for head in heads:
        row = rows.record_at(connection, head.chain, head.sequence)
        if row is None:
            yield Flaw(head.chain, head.sequence, "the chain ends before its exported head")
        elif row["hash"] != head.hash:
            yield Flaw(head.chain, head.sequence, "the record is not the one that was exported")
