"""What a statement asks for: the one place where each is sent its way.

Takes: a text. Gives: commands. What a session answers by itself (settings, transactions, cursors,
probes), what a catalog answers, and all else, which is a query for the pipeline. Never runs
anything, never decides what may run.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gateway.errors import UnsupportedSql
from gateway.serve.pgwire.catalog.known import asks_catalog
from gateway.serve.pgwire.copying import CopyOut, is_copy_in, read_copy
from gateway.serve.pgwire.cursors import (
    CloseCursor,
    Declare,
    Fetch,
    read_close,
    read_declare,
    read_fetch,
)
from gateway.serve.pgwire.probes import Probe, read_probe
from gateway.serve.pgwire.words import Word, statements, text_of

_WRITES = frozenset(
    "insert update delete merge create drop alter truncate grant revoke comment vacuum analyze "
    "reindex cluster refresh import lock call do replace upsert attach detach load install".split()
)
# Shown by the pipeline, under policy.
_LISTINGS = frozenset("tables schemas catalogs databases domains products purposes".split())
_TAGS = {"show": "SHOW", "explain": "EXPLAIN", "describe": "SHOW", "desc": "SHOW"}


@dataclass(frozen=True, slots=True)
class Query:
    """For the pipeline. `tag` is the first word of CommandComplete."""

    sql: str
    tag: str = "SELECT"


@dataclass(frozen=True, slots=True)
class Catalog:
    """A question to PostgreSQL's own catalog: pg_catalog or information_schema."""

    sql: str


@dataclass(frozen=True, slots=True)
class Setting:
    """SET and RESET. No value sets back; the name `all` with no value sets everything back."""

    name: str
    value: str | None
    is_local: bool = False
    tag: str = "SET"


@dataclass(frozen=True, slots=True)
class Show:
    """SHOW of a setting, or of all."""

    name: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """verb: begin, commit, rollback, savepoint, release, rollback to."""

    verb: str
    tag: str


@dataclass(frozen=True, slots=True)
class Deallocate:
    """Forget a prepared statement; None: all."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Discard:
    """DISCARD; `all` is the session as it began."""

    what: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """Accepted, and nothing to do."""

    tag: str


Command: TypeAlias = (
    Query | Catalog | Setting | Show | Transaction | Deallocate | Discard | Nothing | Probe
    | Declare | Fetch | CloseCursor | CopyOut
)  # fmt: skip
TRIVIAL = (Setting, Show, Transaction, Deallocate, Discard, Nothing, Probe, CloseCursor)
_TOGETHER = (*TRIVIAL, Catalog)
_REMEMBERED = 512


def route(sql: str) -> tuple[Command, ...]:
    """The commands of a text, in order; none for an empty one.

    UnsupportedSql where more than one of them reads products; drivers ask the catalogs in one go.
    """
    return (_remembered if len(sql) <= 10_000 else _routed)(sql)


def _routed(sql: str) -> tuple[Command, ...]:
    parts = statements(sql)
    # A single statement stays as it was written, so that places in it are right.
    made = tuple(
        _command(sql if len(parts) == 1 else text_of(sql, words), words, sql) for words in parts
    )
    if len(made) > 1 and sum(not isinstance(one, _TOGETHER) for one in made) > 1:
        raise UnsupportedSql(
            "One statement a request, please.",
            hint="Send them one by one; only SET, BEGIN, COMMIT and their like, and questions to "
            "PostgreSQL's catalogs, may go together.",
        )
    return made


_remembered = functools.lru_cache(maxsize=_REMEMBERED)(_routed)


def _command(text: str, words: Sequence[Word], whole: str) -> Command:
    first = words[0].value if words[0].kind == "word" else ""
    special = _SPECIAL.get(first)
    if special is not None:
        found = special(words, whole)
        if found is not None:
            return found
    if first == "select":
        probe = read_probe(words)
        if probe is not None:
            return probe
    if asks_catalog(words):
        return Catalog(text)
    return Query(text, _TAGS.get(first, "SELECT"))


def writes(sql: str) -> bool:
    """Whether a statement that was refused would have written or locked."""
    for words in statements(sql):
        first = words[0]
        if first.kind == "word" and (first.value in _WRITES or is_copy_in(words)):
            return True
        for place in range(1, len(words)):
            before, word = words[place - 1], words[place]
            if word.is_word("into") and not before.is_word("insert"):
                return True
            if before.is_word("(") and word.is_word("insert", "update", "delete", "merge"):
                return True
            if before.is_word("for") and word.is_word("update", "share", "no", "key"):
                return True
            if before.is_word("explain", "analyze", ")") and word.value in _WRITES - {"analyze"}:
                return word.kind == "word"
    return False


def _set(words: Sequence[Word], whole: str) -> Command | None:
    rest = list(words[1:])
    is_local = bool(rest) and rest[0].is_word("local")
    if rest and rest[0].is_word("session", "local") and len(rest) > 1:
        if rest[1].is_word("characteristics"):
            return Nothing("SET")
        if rest[1].is_word("authorization"):
            return None
        rest = rest[1:]
    if rest and rest[0].is_word("transaction"):
        return Nothing("SET")
    if len(rest) == 2 and rest[0].is_word("role") and rest[1].is_word("none", "default"):
        return Nothing("SET")
    if len(rest) == 2 and rest[0].is_word("names"):
        return Setting("client_encoding", rest[1].value, is_local)
    if len(rest) > 2 and rest[0].is_word("time") and rest[1].is_word("zone"):
        return _setting("timezone", rest[2:], whole, is_local)
    name, used = _name(rest)
    if not name or len(rest) < used + 2 or not rest[used].is_word("=", "to"):
        return None
    return _setting(name, rest[used + 1 :], whole, is_local)


def _name(words: Sequence[Word]) -> tuple[str, int]:
    """The name of a setting, which may have a point, and how many words it takes."""
    if not words or words[0].kind not in ("word", "quoted"):
        return "", 0
    if len(words) > 2 and words[1].is_word("."):
        return f"{words[0].value}.{words[2].value}", 3
    return words[0].value, 1


def _setting(name: str, words: Sequence[Word], whole: str, is_local: bool) -> Setting:
    if len(words) == 1:
        value = words[0].value
        is_default = words[0].is_word("default") or (
            name == "timezone" and words[0].is_word("local")
        )
        # Small letters are the lexer's: a word keeps the client's own.
        shown = whole[words[0].start : words[0].end] if words[0].kind == "word" else value
        return Setting(name, None if is_default else shown, is_local)
    if any(one.is_word(",") for one in words):
        values = (one.value for one in words if not one.is_word(","))
        return Setting(name, ", ".join(values), is_local)
    return Setting(name, text_of(whole, words).replace(" ", ""), is_local)


def _reset(words: Sequence[Word], whole: str) -> Command | None:
    if len(words) > 2 and words[1].is_word("time") and words[2].is_word("zone"):
        return Setting("timezone", None, tag="RESET")
    if len(words) > 2 and words[1].is_word("session") and words[2].is_word("authorization"):
        return Nothing("RESET")
    name, used = _name(words[1:])
    return Setting(name, None, tag="RESET") if name and len(words) == used + 1 else None


def _show(words: Sequence[Word], whole: str) -> Command | None:
    rest = words[1:]
    if len(rest) == 2 and rest[0].is_word("time") and rest[1].is_word("zone"):
        return Show("timezone")
    if len(rest) == 3 and [one.value for one in rest] == ["transaction", "isolation", "level"]:
        return Show("transaction_isolation")
    name, used = _name(rest)
    if not name or used != len(rest) or name in _LISTINGS:
        return None
    return Show(name)


def _begin(words: Sequence[Word], whole: str) -> Command | None:
    if words[0].value == "start" and (len(words) < 2 or not words[1].is_word("transaction")):
        return None
    # Nothing is written whatever a transaction says of itself: a write is refused when it comes.
    return Transaction("begin", "START TRANSACTION" if words[0].value == "start" else "BEGIN")


def _commit(words: Sequence[Word], whole: str) -> Command | None:
    is_plain = len(words) == 1 or words[1].is_word("work", "transaction", "and")
    return Transaction("commit", "COMMIT") if is_plain else None


def _rollback(words: Sequence[Word], whole: str) -> Command | None:
    if any(one.is_word("to") for one in words):
        return Transaction("rollback to", "ROLLBACK")
    is_plain = len(words) == 1 or words[1].is_word("work", "transaction", "and")
    return Transaction("rollback", "ROLLBACK") if is_plain else None


def _deallocate(words: Sequence[Word], whole: str) -> Command | None:
    rest = [one for one in words[1:] if not one.is_word("prepare")]
    if len(rest) != 1:
        return None
    return Deallocate(None if rest[0].is_word("all") else rest[0].value)


def _discard(words: Sequence[Word], whole: str) -> Command | None:
    return Discard(words[1].value) if len(words) == 2 else None


_SPECIAL = {
    "set": _set,
    "reset": _reset,
    "show": _show,
    "begin": _begin,
    "start": _begin,
    "commit": _commit,
    "end": _commit,
    "rollback": _rollback,
    "abort": _rollback,
    "savepoint": lambda words, whole: Transaction("savepoint", "SAVEPOINT"),
    "release": lambda words, whole: Transaction("release", "RELEASE"),
    "deallocate": _deallocate,
    "discard": _discard,
    "unlisten": lambda words, whole: Nothing("UNLISTEN"),
    "declare": read_declare,
    "fetch": read_fetch,
    "move": read_fetch,
    "close": read_close,
    "copy": read_copy,
}
