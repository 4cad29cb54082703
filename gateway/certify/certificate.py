"""What certifying a source found: its ability file.

Takes: findings. Gives: a `Certificate`, its JSON form and back, and the abilities that a source has
by its declared row and its certificate: the declared ones less what the probe disproved, and of
what the row says `if_certified` only what was proved. Never more than the row declares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from connectors.base import Abilities
from gateway.ability_names import without
from gateway.certify.barrier import Verdict
from gateway.certify.collations import Collated
from gateway.certify.facts import Fact

FORMAT = 1
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Disproof:
    """A declared ability that does not hold: the first statement that shows it, over our rows."""

    ability: str
    statement: str
    duckdb: str
    source: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is known of one source at one time.

    settings: its version and the settings on which its meaning hangs. facts: what it says to each
    trap. proved, disproved: of what is declared. bounds: declared ones that it does not keep.
    bytewise: columns of text that may be sent as they are. prices: milliseconds per statement,
    row, byte and key. can_stage: whether it would let us make a temporary table; None: not asked.
    """

    source: str
    kind: str
    at: str
    settings: Mapping[str, str]
    facts: tuple[Fact, ...] = ()
    proved: tuple[str, ...] = ()
    disproved: tuple[Disproof, ...] = ()
    barrier: Verdict | None = None
    bounds: Mapping[str, int] = field(default_factory=lambda: _NONE)
    collations: tuple[Collated, ...] = ()
    bytewise: tuple[tuple[str, str], ...] = ()
    prices: Mapping[str, float] = field(default_factory=lambda: _NONE)
    can_stage: bool | None = None

    @property
    def version(self) -> str:
        """The server's version, in its own words."""
        return self.settings.get("version", "")

    @property
    def fingerprint(self) -> str:
        """Equal as long as version and settings are."""
        return fingerprint_of(self.settings)

    @property
    def differs(self) -> tuple[str, ...]:
        """What does not hold of what is declared, one line each."""
        lines = [f"{one.ability}: {one.statement}" for one in self.disproved]
        return (*lines, *(f"{name}: at most {most}" for name, most in self.bounds.items()))

    def as_json(self) -> dict[str, Any]:
        """The ability file."""
        made = {one.name: _plain(getattr(self, one.name)) for one in fields(self)}
        known = {key: value for key, value in made.items() if value not in (None, [], {})}
        about = {"format": FORMAT, "version": self.version, "fingerprint": self.fingerprint}
        return about | known


def _plain(value: object) -> Any:  # noqa: ANN401 - any value of JSON
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Fact | Disproof | Verdict | Collated):
        return _plain({one.name: getattr(value, one.name) for one in fields(value)})
    return value


def fingerprint_of(settings: Mapping[str, str]) -> str:
    """A hash of a source's version and settings."""
    text = "\0".join(f"{name}={value}" for name, value in sorted(settings.items()))
    return sha256(text.encode()).hexdigest()


def certificate_of(held: Mapping[str, Any]) -> Certificate:
    """The certificate of an ability file; what it lacks is not known."""
    given = {key: held[key] for key in ("source", "kind", "at")}
    barrier = held.get("barrier")
    return Certificate(
        **given,
        settings=MappingProxyType(dict(held.get("settings", {}))),
        facts=tuple(
            Fact(**{**one, "disproves": tuple(one.get("disproves", ()))})
            for one in held.get("facts", ())
        ),
        proved=tuple(held.get("proved", ())),
        disproved=tuple(Disproof(**one) for one in held.get("disproved", ())),
        barrier=Verdict(**barrier) if barrier else None,
        bounds=MappingProxyType(dict(held.get("bounds", {}))),
        collations=tuple(Collated(**one) for one in held.get("collations", ())),
        bytewise=tuple((table, column) for table, column in held.get("bytewise", ())),
        prices=MappingProxyType(dict(held.get("prices", {}))),
        can_stage=held.get("can_stage"),
    )


def certified(declared: Abilities, certificate: Certificate, is_current: bool) -> Abilities:
    """The abilities of a source by its certificate.

    One that is not current, since version or settings changed, still takes away what it disproved
    and no longer gives what holds only if certified.
    """
    made = without(declared, (one.ability for one in certificate.disproved))
    held = {name: min(most, getattr(made, name)) for name, most in certificate.bounds.items()}
    made = replace(made, **held)
    if is_current and "bytewise_columns" in declared.if_certified:
        made = replace(made, bytewise_columns=frozenset(certificate.bytewise))
    return made
