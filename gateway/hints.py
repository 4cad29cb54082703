"""What the owner of a source could do so that more goes down: only what can work at his source.

Takes: the code of a reason, the abilities of the source in force. Gives: one line, or none where
there is nothing that he could do. Certifying adds no ability to what a kind declares, so it is told
only where something was taken away, or where it lets an index serve. Never names a value.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.base import Abilities

_CONNECTOR = "its kind of source declares no such ability; a newer version may"
_DECLARE = "where it does that exactly as DuckDB does, declare it among the source's abilities"
_TAKEN = (
    "it was seen to do that otherwise than DuckDB (sqluice certify --evidence): once that is "
    "mended, sqluice certify gives it back"
)
_TYPES = "declare the column's own type in the contract, as sqluice check --live reports it"
_COLUMN = "publish what it computes as a column of its own"
_COMPARE = "publish what is compared as a column of a type that the source compares"
_POLICIES = (
    "policies over its kind of source are always the gateway's: a kind that knows the database "
    "takes them over"
)
_CONDITIONS = (
    "write the policy with comparisons of columns with constants; pseudonyms are always the "
    "gateway's"
)
# Those that hold for every kind of source.
_ALWAYS = {
    "barrier": "publish what is asked for as a column of its own: comparing it with constants goes "
    "down",
    "constant_not_exact": _TYPES,
    "keys_stay": "declare no keysStay in the contract, or ask the author of the policy (EXPLAIN "
    "POLICY names it)",
    "masked": "no index helps: publish a clear column to filter by, such as a region or a year",
    "may_fail": _TYPES,
    "not_combinable": "declare a decimal in the contract where the column holds one",
    "reads_several": "where one source held both tables, it could join them",
    "rows_cheaper": "where rows travel far, SET link_cost = 'dear' makes groups at the source",
    "several_sources": "where one source held both tables, it could run the block",
    "type_mismatch": "declare one type for both columns in their contracts",
    "type_not_identical": _TYPES,
    "type_not_kept": "cast it to text in the statement",
    "type_unknown": f"{_COLUMN}, with its type in the contract",
}


@dataclass(frozen=True, slots=True)
class _Remedy:
    """abilities: by the beginnings of their names, those without which a part stays for a reason.

    plain, unproven: what helps where the kind's row is proved, and where the source declares its
    own. types: the list of the row that `plain` speaks of.
    """

    abilities: tuple[str, ...]
    plain: str = _CONNECTOR
    types: str = ""
    unproven: str = _DECLARE


_BY_ABILITY = {
    "aggregate": _Remedy(("aggregates.", "can_group")),
    "collation": _Remedy(
        ("comparable.VARCHAR", "sortable.VARCHAR", "groupable.VARCHAR"), "",
        unproven="declare VARCHAR among the source's abilities, with the text_collation under "
        "which it compares bytes",
    ),
    "cte": _Remedy(("can_cte",), ""),
    "distinct": _Remedy(
        ("groupable.", "can_distinct"),
        "publish it as a column of a type of which the source leaves out duplicates", "groupable",
    ),
    "function_not_identical": _Remedy(("functions.",), f"{_COLUMN}; {_CONNECTOR}"),
    "group": _Remedy(
        ("groupable.", "can_group"),
        "publish what is grouped by as a column of a type by which the source groups", "groupable",
    ),
    "join": _Remedy(("can_join", "can_outer_join", "can_full_join")),
    "set_operation": _Remedy(("can_set_operation", "groupable."), ""),
    "sort": _Remedy(
        ("sortable.", "can_sort"),
        "publish what is sorted by as a column of a type by which the source sorts", "sortable",
    ),
    "source_cannot_filter": _Remedy(("can_filter",), ""),
    "subquery": _Remedy(("can_subquery", "can_lateral"), ""),
    "type_not_comparable": _Remedy(("comparable.",), _COMPARE, "comparable"),
    "window": _Remedy(("can_window",), ""),
}  # fmt: skip


def hint_for(reason: str, outcome: str, abilities: Abilities) -> str:
    """What the owner of the source could do about what stayed."""
    if outcome != "stayed":
        return ""
    text, types = remedy(reason, abilities)
    return f"{text}: {', '.join(types)}" if types else text


def remedy(reason: str, abilities: Abilities) -> tuple[str, tuple[str, ...]]:
    """The same in two parts: the words, and the types or the number of which they speak."""
    match reason:
        case "policy_not_exact":
            return _of_policy(abilities), ()
        case "list_too_long":
            return _of_list(abilities)
        case "too_many_keys":
            return _of_keys(abilities)
    found = _BY_ABILITY.get(reason)
    if found is None:
        return _ALWAYS.get(reason, ""), ()
    if any(name.startswith(found.abilities) for name in abilities.taken):
        return _TAKEN, ()
    if abilities.is_unproven:
        return found.unproven, ()
    if abilities.is_reference:
        # It means the same by all: what stays for one of these reasons the statement itself says.
        return "", ()
    types = sorted(getattr(abilities, found.types)) if found.types else ()
    return found.plain, tuple(types)


def _of_policy(abilities: Abilities) -> str:
    if abilities.is_unproven or not abilities.can_filter:
        return _POLICIES
    return _CONDITIONS


def _of_list(abilities: Abilities) -> tuple[str, tuple[str, ...]]:
    if abilities.is_reference:
        return "", ()  # it takes lists of any length
    more = "declare a larger maximum_list among the source's abilities, " * abilities.is_unproven
    text = f"{more}ask for a range, or for no more values than it takes"
    return text, (str(abilities.maximum_list),)


def _of_keys(abilities: Abilities) -> tuple[str, tuple[str, ...]]:
    if not abilities.keys:
        return "", ()
    return "filter what gives them, so that they are no more than it takes", (
        str(abilities.maximum_keys),
    )


def index_hint(table: str, column: str, kind: str, abilities: Abilities) -> str:
    """The index by which the source would find rows by keys; none where no index of its would."""
    if abilities.is_reference or abilities.is_unproven or not abilities.keys:
        return ""
    by_bytes = kind == "VARCHAR" and (table, column) not in abilities.bytewise_columns
    if not by_bytes:
        return _INDEX.format(table, column)
    hint = _INDEX.format(table, f"{column} COLLATE {abilities.text_collation}")
    if "bytewise_columns" in abilities.if_certified:
        hint += "; sqluice certify lets a plain one serve where the column compares by bytes"
    return hint


_INDEX = "an index on {} ({}) lets the source find these rows"
