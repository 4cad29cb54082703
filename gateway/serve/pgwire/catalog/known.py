"""Which names are those of PostgreSQL's catalogs.

Takes: the lists beside it. Gives: functions with what they are in DuckDB, whether a statement asks
the catalog. Never reads more of a statement than its words.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from gateway.functions import is_allowed
from gateway.serve.pgwire.catalog.relations import relations
from gateway.serve.pgwire.words import Word

_CATALOGS = ("pg_catalog", "information_schema")
_REGISTERED = frozenset(
    "regclass regtype regproc regprocedure regnamespace regrole regoper regoperator".split()
)
# Functions that only a session knows.
_SESSION = frozenset(
    "current_setting set_config json_build_object json_build_array pg_show_all_settings age "
    "pg_available_extensions pg_available_extension_versions".split()
)


@cache
def templates() -> Mapping[str, tuple[str, str]]:
    """What each function gives and how DuckDB says it, by `name/count`."""
    text = Path(__file__).with_name("functions.toml").read_text(encoding="utf-8")
    return {name: (one[0], one[1]) for name, one in tomllib.loads(text).items()}


@cache
def _functions() -> frozenset[str]:
    """Functions by which a statement is known to ask the catalog: the pipeline has none of them."""
    names = {one.partition("/")[0] for one in templates()} | _SESSION
    return frozenset(one for one in names if not is_allowed(one))


def asks_catalog(words: Sequence[Word]) -> bool:
    """Whether a statement names a relation, a function or a type of PostgreSQL's catalog."""
    calls = reads = False
    for place, word in enumerate(words):
        if word.kind not in ("word", "quoted"):
            continue
        before = words[place - 1] if place else None
        after = words[place + 1] if place + 1 < len(words) else None
        is_path = after is not None and after.is_word(".")
        if word.value in _CATALOGS and is_path:
            return True
        if before is not None and before.is_word("from", "join"):
            if word.value.startswith("pg_") and not is_path:
                return True
            reads = reads or not (after is not None and after.is_word("("))
        is_listed = before is not None and before.is_word(",") and not is_path
        if is_listed and ("pg_catalog", word.value) in relations():
            return True
        if before is not None and before.is_word(":") and word.value in _REGISTERED:
            return True
        is_call = after is not None and after.is_word("(")
        is_pg = word.value.startswith("pg_") and not is_allowed(word.value)
        is_known = word.value in _functions() or is_pg
        is_part = before is not None and before.is_word(".")
        calls = calls or (is_call and is_known and not is_part)
    return calls and not reads
