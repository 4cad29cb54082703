"""Which sets of entities were answered, kept for the differencing guard.

Takes: the groups of an answer, before it leaves. Gives: a record of them, or a refusal. One
ledger for each principal, purpose and table; checked and written in one transaction, so that two
answers at once cannot both be new. Never keeps an entity: only salted digests.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Mapping
from datetime import timedelta

from sqlalchemy import Connection, Engine, Row, insert, select
from sqlalchemy.exc import IntegrityError

from gateway.decision import AggregateRule
from gateway.differencing import AnsweredSet, Asked, Atom, bitmap, reveals_few
from gateway.errors import AccessDenied, LimitExceeded
from gateway.state.engine import moment_text, writing
from gateway.state.tables import AGGREGATE_ANSWERS, AGGREGATE_ATOMS, AGGREGATE_LEDGERS

_DIGEST = 16

class Answers:
    """The ledgers of one state."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def admit(self, asked: Asked, rule: AggregateRule, atoms: Iterable[Atom]) -> None:
        """Record the groups of an answer, or refuse it; see `Ledgers`."""
        ledger = self._ledger(asked)
        with writing(self._engine) as connection:
            # Where several gateways share the state, the ledger's row is the lock.
            held = connection.execute(
                select(AGGREGATE_LEDGERS)
                .where(AGGREGATE_LEDGERS.c.ledger == ledger)
                .with_for_update()
            ).one()
            known = _Known.read(connection, held)
            groups: dict[int, list[int]] = {}
            for group, entity, dimensions in atoms:
                groups.setdefault(group, []).append(known.position(entity, dimensions))
            if len(known.entity_of) > rule.atoms:
                too_many = LimitExceeded(
                    f"{asked.table} shows groups only, and your answers would be about more than "
                    f"the {rule.atoms} entities with their dimensions that are kept apart.",
                    hint="Ask for fewer, or ask the owner of the product for a higher limit.",
                )
                too_many.policy = rule.policy
                raise too_many
            sets = {bitmap(one) for one in groups.values()}
            sets.add(bitmap(place for one in groups.values() for place in one))
            new = [AnsweredSet(bits, asked.shape) for bits in sorted(sets - {0})]
            answered = list(_answered(connection, asked, rule, ledger))
            if any(reveals_few(one, answered, known.entity_of, rule.minimum) for one in new):
                too_few = AccessDenied(
                    f"{asked.table} shows groups only, and beside an earlier answer of yours this "
                    f"one would show fewer than {rule.minimum} entities.",
                    hint="Repeat the earlier question, or group by other dimensions; EXPLAIN "
                    "POLICY before the query tells the policy, and the exception that would help.",
                )
                too_few.policy = rule.policy
                raise too_few
            known.write(connection)
            for one in new:
                _write(connection, asked, ledger, one)

    def _ledger(self, asked: Asked) -> str:
        named = "\0".join((asked.user, asked.purpose or "", asked.table))
        ledger = hashlib.sha256(named.encode()).hexdigest()
        values = {
            "ledger": ledger, "user_name": asked.user, "purpose": asked.purpose or "",
            "table_name": asked.table, "salt": os.urandom(16),
        }  # fmt: skip
        with writing(self._engine) as connection:
            found = connection.execute(
                select(AGGREGATE_LEDGERS.c.ledger).where(AGGREGATE_LEDGERS.c.ledger == ledger)
            ).first()
            if found is None:
                try:
                    with connection.begin_nested():
                        connection.execute(insert(AGGREGATE_LEDGERS).values(values))
                except IntegrityError:
                    # Another gateway was first.
                    return ledger
        return ledger


class _Known:
    """The atoms of a ledger by their digests, and those that an answer adds."""

    def __init__(self, ledger: str, salt: bytes) -> None:
        self._ledger = ledger
        self._salt = salt
        self._positions: dict[bytes, int] = {}
        self._entities: dict[bytes, int] = {}
        self._digests: list[bytes] = []
        self._stored = 0
        self.entity_of: list[int] = []

    @classmethod
    def read(cls, connection: Connection, held: Row[tuple[object, ...]]) -> _Known:
        """What the ledger holds."""
        made = cls(str(held.ledger), bytes(held.salt))
        rows = connection.execute(
            select(AGGREGATE_ATOMS)
            .where(AGGREGATE_ATOMS.c.ledger == held.ledger)
            .order_by(AGGREGATE_ATOMS.c.first)
        )
        for row in rows:
            content = zlib.decompress(row.content)
            for start in range(0, len(content), 2 * _DIGEST):
                made._take(
                    content[start : start + _DIGEST], content[start + _DIGEST : start + 2 * _DIGEST]
                )
        made._stored = len(made.entity_of)
        return made

    def position(self, entity: str, dimensions: str) -> int:
        """Where the atom stands; new ones come last."""
        whom = self._digest(entity)
        atom = self._digest(f"{len(entity)} {entity}{dimensions}")
        found = self._positions.get(atom)
        return self._take(atom, whom) if found is None else found

    def _take(self, atom: bytes, whom: bytes) -> int:
        position = len(self.entity_of)
        self._positions[atom] = position
        self.entity_of.append(self._entities.setdefault(whom, len(self._entities)))
        self._digests.append(atom + whom)
        return position

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode(), digest_size=_DIGEST, key=self._salt).digest()

    def write(self, connection: Connection) -> None:
        """Add what is new."""
        added = self._digests[self._stored :]
        if added:
            connection.execute(
                insert(AGGREGATE_ATOMS).values(
                    ledger=self._ledger, first=self._stored, content=zlib.compress(b"".join(added))
                )
            )


def _answered(
    connection: Connection, asked: Asked, rule: AggregateRule, ledger: str
) -> Iterable[AnsweredSet]:
    query = select(AGGREGATE_ANSWERS.c.bits, AGGREGATE_ANSWERS.c.shape).where(
        AGGREGATE_ANSWERS.c.ledger == ledger
    )
    if rule.remember is not None:
        since = moment_text(asked.now - timedelta(days=rule.remember))
        query = query.where(AGGREGATE_ANSWERS.c.at >= since)
    for bits, shape in connection.execute(query):
        yield AnsweredSet(int.from_bytes(zlib.decompress(bits), "little"), str(shape))


def _write(connection: Connection, asked: Asked, ledger: str, one: AnsweredSet) -> None:
    """Each set once: a repeated question only renews its date."""
    content = one.bits.to_bytes((one.bits.bit_length() + 7) // 8, "little")
    values: Mapping[str, object] = {
        "ledger": ledger,
        "digest": hashlib.sha256(one.shape.encode() + b"\0" + content).hexdigest(),
        "at": moment_text(asked.now), "query_id": asked.query_id, "shape": one.shape,
        "bits": zlib.compress(content),
    }  # fmt: skip
    same = (AGGREGATE_ANSWERS.c.ledger == ledger) & (
        AGGREGATE_ANSWERS.c.digest == values["digest"]
    )
    renewed = connection.execute(AGGREGATE_ANSWERS.update().where(same).values(at=values["at"]))
    if renewed.rowcount == 0:
        connection.execute(insert(AGGREGATE_ANSWERS).values(values))
