"""What drivers ask to see whether anybody is there, answered without an engine.

Takes: the words of a SELECT without FROM. Gives: what it asks of the session itself. Never reads
anything of the mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.serve.pgwire.words import Word

# Each of them by the words without schema and parentheses; the value is what the column is called.
_KNOWN = {
    "version": "version",
    "current_database": "current_database",
    "current_catalog": "current_catalog",
    "current_schema": "current_schema",
    "current_user": "current_user",
    "session_user": "session_user",
    "user": "user",
    "pg_backend_pid": "pg_backend_pid",
    "pg_is_in_recovery": "pg_is_in_recovery",
    "pg_advisory_unlock_all": "pg_advisory_unlock_all",
}
_PLACES = frozenset({"current_database", "current_catalog", "current_schema"})
_BARE = frozenset({"current_user", "session_user", "user", "current_catalog", "current_schema"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One column: its name ('': none was given), what it asks, and with which argument."""

    name: str
    what: str
    argument: str = ""

    @property
    def is_name(self) -> bool:
        """Whether it is of PostgreSQL's type `name`."""
        return "user" in self.what or self.what in _PLACES


@dataclass(frozen=True, slots=True)
class Probe:
    """A row of such columns."""

    columns: tuple[Asked, ...]


def read_probe(words: Sequence[Word]) -> Probe | None:
    """The probe; None where anything else is asked."""
    if len(words) > 40:
        return None
    items: list[list[Word]] = [[]]
    for word in words[1:]:
        if word.is_word(","):
            items.append([])
        else:
            items[-1].append(word)
    columns = [_asked(one) for one in items]
    found = tuple(one for one in columns if one is not None)
    return Probe(found) if len(found) == len(columns) else None


def _asked(words: Sequence[Word]) -> Asked | None:
    name = ""
    if len(words) > 2 and words[-2].is_word("as") and words[-1].kind in ("word", "quoted"):
        name, words = words[-1].value, words[:-2]
    if len(words) == 1 and words[0].kind == "number" and words[0].value.isdigit():
        value = words[0].value
        return Asked(name, "number", value) if len(value) < 10 else None
    values = [one.value for one in words if one.kind in ("word", "mark", "string")]
    if len(values) != len(words):
        return None
    if values[:2] == ["pg_catalog", "."]:
        values = values[2:]
    if len(values) == 4 and values[0] == "current_setting" and words[-2].kind == "string":
        return Asked(name or "current_setting", "setting", values[2])
    known = _KNOWN.get(values[0]) if values else None
    if known is None:
        return None
    if values[1:] == ["(", ")"] or (len(values) == 1 and known in _BARE):
        return Asked(name or known, known)
    return None
