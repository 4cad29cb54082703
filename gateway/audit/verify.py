"""The proof of the audit: recompute every chain.

Takes: state and, where they were exported, heads. Gives: what was checked and every problem, in
the order of the chains: a record changed, removed or moved, a chain nobody declared, a literal
that is not the committed one, a redaction or a drop nobody recorded, a tail that was cut, a chain
rewritten from some record on. Never writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine

from gateway.audit.heads import Head
from gateway.audit.writer import settle
from gateway.state import audit as rows
from gateway.state.engine import reading
from gateway.state.segments import Segment, seal_of, segments


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
    segments: int = 0
    dropped: int = 0

    @property
    def holds(self) -> bool:
        """Nothing is wrong."""
        return not self.flaws


@dataclass(slots=True)
class _Findings:
    records: int = 0
    # (chain, sequence, place of the literal; -1 for all of a record of format 1).
    redacted: set[tuple[str, int, int]] = field(default_factory=set)
    declared_redactions: set[tuple[str, int, int]] = field(default_factory=set)
    seals: dict[tuple[str, int], str] = field(default_factory=dict)
    drops: set[tuple[str, int, str, str]] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    flaws: list[Flaw] = field(default_factory=list)

    def flaw(self, chain: str, sequence: int, what: str) -> None:
        """Note what does not hold."""
        self.flaws.append(Flaw(chain, sequence, what))


def verify(engine: Engine, heads: tuple[Head, ...] = ()) -> Verification:
    """Recompute every chain and look for every exported head."""
    findings = _Findings()
    settle(engine)
    with reading(engine) as connection:
        declared = rows.chains(connection)
        known = segments(connection)
        for chain in declared:
            of_chain = [one for one in known if one.chain == chain["chain"]]
            _Walk(connection, chain, of_chain, findings).run()
        for name in rows.undeclared_chains(connection):
            findings.flaw(name, 0, "the chain has records but no declaration")
        findings.flaws.extend(_check_heads(connection, heads, known))
    _check_upkeep(known, findings)
    return Verification(
        chains=len(declared),
        records=findings.records,
        heads=len(heads),
        redacted=len({(chain, sequence) for chain, sequence, _ in findings.redacted}),
        unknown=len(findings.open),
        flaws=tuple(findings.flaws),
        segments=len(known),
        dropped=sum(one.dropped_at is not None for one in known),
    )


class _Walk:
    """One chain from its declaration to its newest record."""

    def __init__(
        self,
        connection: Connection,
        declaration: rows.Row,
        found: Sequence[Segment],
        findings: _Findings,
    ) -> None:
        self._connection = connection
        self._declaration = declaration
        self._chain = str(declaration["chain"])
        self._format = int(str(declaration["format"]))
        self._segments = list(found)
        self._findings = findings
        self._expected = 1
        self._previous = ""

    def run(self) -> None:
        """Check declaration, seals and records."""
        if self._format not in rows.HASHED:
            self._flaw(0, "the declaration of the chain was changed")
            return
        self._previous = rows.genesis_hash(self._declaration)
        if self._previous != self._declaration["genesis"]:
            self._flaw(0, "the declaration of the chain was changed")
        self._check_seals()
        for row in rows.records(self._connection, self._chain):
            self._skip_dropped()
            self._check(row)
        self._skip_dropped()
        if self._segments:
            last = self._segments[-1].last
            self._flaw(self._expected, f"records {self._expected} to {last} are missing")

    def _flaw(self, sequence: int, what: str) -> None:
        self._findings.flaw(self._chain, sequence, what)

    def _check_seals(self) -> None:
        before, last = "", 0
        for number, one in enumerate(self._segments, start=1):
            place = (one.chain, one.number, one.first, one.last, one.ended_at, one.head)
            in_order = (one.number, one.first) == (number, last + 1)
            if not in_order or one.seal != seal_of(before, place):
                self._flaw(one.first, f"the seal of segment {one.number} was changed")
            before, last = one.seal, one.last

    def _skip_dropped(self) -> None:
        """Go on from the seals of segments whose records were exported and dropped."""
        while self._segments and self._segments[0].dropped_at is not None:
            dropped = self._segments[0]
            if self._expected != dropped.first:
                return
            self._expected, self._previous = dropped.last + 1, dropped.head
            self._segments.pop(0)

    def _check(self, row: rows.Row) -> None:
        sequence = int(str(row["sequence"]))
        self._findings.records += 1
        if sequence < self._expected:
            self._flaw(sequence, "it stands in a segment that was dropped")
            return
        if sequence > self._expected:
            missing = f"records {self._expected} to {sequence - 1} are missing"
            self._flaw(self._expected, missing)
        elif row["previous"] != self._previous:
            self._flaw(sequence, self._moved(row) or "it does not follow the record before")
        flaws = list(_flaws_of(row, self._format))
        for what in flaws:
            self._flaw(sequence, what)
        if not flaws:
            _note(row, self._findings)
        if self._segments and self._segments[0].last == sequence:
            if self._segments[0].head != row["hash"]:
                self._flaw(sequence, f"segment {self._segments[0].number} was sealed otherwise")
            self._segments.pop(0)
        self._expected, self._previous = sequence + 1, str(row["hash"])

    def _moved(self, row: rows.Row) -> str | None:
        """Where an unchanged record stood before records changed places."""
        before = rows.record_of_hash(self._connection, self._chain, str(row["previous"]))
        origin = int(str(before["sequence"])) + 1 if before is not None else 1
        for sequence in {origin, *self._near(origin)}:
            if rows.record_hash({**row, "sequence": sequence}, self._format) == row["hash"]:
                return f"it does not follow the record before: it is record {sequence}, re-ordered"
        return None

    @staticmethod
    def _near(origin: int) -> range:
        """The record before may itself have moved a little."""
        return range(max(1, origin - 64), origin + 65)


def _flaws_of(row: rows.Row, form: int) -> Iterator[str]:
    if rows.record_hash(row, form) != row["hash"]:
        yield "the record was changed"
    if form == 1:
        if row["redactable"] is not None and not _is_committed(
            row["salt"], row["redactable"], row["commitment"]
        ):
            yield "its text is not the one that was committed"
    elif row["commitments"] is not None and not _literals_hold(row):
        yield "a literal is not the one that was committed"


def _is_committed(salt: object, text: object, wanted: object) -> bool:
    try:
        return salt is not None and rows.commitment(str(salt), str(text)) == wanted
    except ValueError:
        return False


def _literals_hold(row: rows.Row) -> bool:
    try:
        wanted = json.loads(str(row["commitments"]))
        kept = rows.kept_literals(row)
        return len(wanted) == len(kept) and all(
            one is None or _is_committed(one[0], one[1], place[-1])
            for one, place in zip(kept, wanted, strict=True)
        )
    except (ValueError, TypeError, IndexError):
        return False


def _note(row: rows.Row, findings: _Findings) -> None:
    """What an unchanged record says: redactions, seals and drops; requests without a finish."""
    query = str(row["query_id"])
    _note_redacted(row, findings)
    match row["kind"]:
        case "started":
            findings.open.add(query)
        case "finished":
            findings.open.discard(query)
        case "redacted":
            _note_redaction(row, findings)
        case "sealed":
            one = _content(row)
            findings.seals[str(one["chain"]), int(str(one["number"]))] = str(one["seal"])
        case "dropped":
            one = _content(row)
            place = (str(one["chain"]), int(str(one["number"])))
            findings.drops.add((*place, str(one["seal"]), str(one["file_hash"])))


def _note_redacted(row: rows.Row, findings: _Findings) -> None:
    place = (str(row["chain"]), int(str(row["sequence"])))
    if row["commitments"] is None:
        if row["kind"] == "started" and row["redactable"] is None:
            findings.redacted.add((*place, -1))
        return
    for at, one in enumerate(rows.kept_literals(row)):
        if one is None:
            findings.redacted.add((*place, at))


def _note_redaction(row: rows.Row, findings: _Findings) -> None:
    if row["content"] is None:
        chain, sequence = json.loads(str(row["normalised"]))
        findings.declared_redactions.add((chain, sequence, -1))
        return
    one = _content(row)
    places = one["literals"]
    assert isinstance(places, list)
    for at in places:
        findings.declared_redactions.add((str(one["chain"]), int(str(one["sequence"])), at))


def _content(row: rows.Row) -> Mapping[str, object]:
    found: Mapping[str, object] = json.loads(str(row["content"]))
    return found


def _check_upkeep(known: Sequence[Segment], findings: _Findings) -> None:
    """What is gone was recorded as gone, and what was sealed is there."""
    silent = {one[:2] for one in findings.redacted - findings.declared_redactions}
    for chain, sequence in sorted(silent):
        findings.flaw(chain, sequence, "its text is gone and no record says that it was redacted")
    seals = {(one.chain, one.number): one.seal for one in known}
    for (chain, number), seal in findings.seals.items():
        if seals.get((chain, number)) != seal:
            findings.flaw(chain, 0, f"segment {number} is not the one that was sealed")
    for one in known:
        place = (one.chain, one.number, one.seal, str(one.file_hash))
        if one.dropped_at is not None and place not in findings.drops:
            what = f"segment {one.number} is gone and no record says that it was dropped"
            findings.flaw(one.chain, one.first, what)


def _check_heads(
    connection: Connection, heads: Sequence[Head], known: Sequence[Segment]
) -> Iterator[Flaw]:
    """For each chain the first exported head that it no longer has."""
    by_chain: dict[str, list[Head]] = {}
    for one in heads:
        by_chain.setdefault(one.chain, []).append(one)
    for chain, found in by_chain.items():
        good = 0
        for head in sorted(found, key=lambda one: one.sequence):
            what = _flaw_of_head(connection, head, known)
            if what is not None:
                since = f"; what was exported up to record {good} still holds" if good else ""
                yield Flaw(chain, head.sequence, what + since)
                break
            good = head.sequence


def _flaw_of_head(
    connection: Connection, head: Head, known: Sequence[Segment]
) -> str | None:
    row = rows.record_at(connection, head.chain, head.sequence)
    if row is not None:
        same = row["hash"] == head.hash
        return None if same else "the record is not the one that was exported"
    for one in known:
        if one.chain == head.chain and one.dropped_at and one.first <= head.sequence <= one.last:
            if head.sequence < one.last or head.hash == one.head:
                return None
            return f"segment {one.number} does not end with the head that was exported"
    return "the chain ends before its exported head"
