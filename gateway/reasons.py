"""Why a part of a query stayed where it is, in words, and what would let it go down.

Takes: the code of a reason. Gives: one line for whoever asked, and one for the owner of the source:
what he could declare, index or certify. Never names a value.
"""

from __future__ import annotations

_CERTIFY = "run sqluice certify on the source: what it proves of its columns goes down"
_TYPES = "declare the column's own type in the contract, as sqluice check --live reports it"
_CONNECTOR = "its kind of source declares no such ability; a newer version may"
# By reason: for whoever asked, and for the owner of the source.
_REASONS = {
    "aggregate": ("the source's aggregate is not proved to mean the same", _CONNECTOR),
    "barrier": (
        "may fail or read more than one row's clear values, so it stays behind the policy",
        "publish what is asked for as a column of its own: comparing it with constants goes down",
    ),
    "collation": ("the source does not compare text by bytes", _CERTIFY),
    "constant_not_exact": ("the constant has no exact form in the column's type", _TYPES),
    "construct": ("the source has no such construct", ""),
    "contradiction": ("the query's predicates let no row pass", ""),
    "cte": ("the source cannot run this form of WITH with the same meaning", ""),
    "derived": ("follows from other predicates, which are applied as well", ""),
    "distinct": ("the source cannot leave out duplicates of these types exactly", _CERTIFY),
    "duplicate_names": ("two columns of the block have one name", ""),
    "function_not_identical": (
        "the source's function is not proved to mean the same",
        "publish what it computes as a column of its own; " + _CONNECTOR,
    ),
    "group": ("the source cannot group by these types exactly", _CERTIFY),
    "groups_only": ("the table shows groups only, which the gateway makes", ""),
    "join": ("the source cannot run this kind of join exactly", _CONNECTOR),
    "joined_with_nothing": ("what it is joined with has no row", ""),
    "keys_stay": (
        "a contract or a policy keeps the keys of that column from other sources",
        "declare no keysStay in the contract, or ask the author of the policy (EXPLAIN POLICY "
        "names it)",
    ),
    "late": (
        "wanted for the first rows only, so they are found first, where the rest is much", ""
    ),
    "limit": ("the number of rows is no plain number", ""),
    "limit_zero": ("no row is asked for", ""),
    "list_too_long": (
        "the list is longer than the source takes",
        "run sqluice certify on the source: it measures how long lists may be",
    ),
    "masked": (
        "reads a masked column, whose visible value the source does not have",
        "no index helps: publish a clear column to filter by, such as a region or a year",
    ),
    "may_fail": (
        "could fail on a value that a source holds and its contract does not know", _TYPES
    ),
    "no_table": ("the block reads no table", ""),
    "not_combinable": (
        "its aggregates cannot be put together from parts, as sums of floats",
        "declare a decimal in the contract where the column holds one",
    ),
    "not_one_key": (
        "more than the key that it is joined by is read, or no group is made by it", ""
    ),
    "outer_join": ("stands at the side of an outer join that may be filled with NULL", ""),
    "outer_names": ("reads a name from outside the block", ""),
    "parameter": ("a parameter outside a plain comparison is evaluated by the gateway", ""),
    "policy_leaves_none": ("your grants and policies leave you no row", ""),
    "policy_not_exact": (
        "the source cannot evaluate the whole policy, so the gateway does",
        "write the policy with comparisons of columns with constants; " + _CERTIFY,
    ),
    "rarely_repeats": ("the key that it is joined by hardly repeats, so groups save little", ""),
    "recursive": ("recursion is the gateway's", ""),
    "reads_groups": ("reads groups, which the merge makes", ""),
    "reads_several": (
        "reads columns of more than one input",
        "where one source held both tables, it could join them",
    ),
    "restricted": ("a policy that the gateway applies comes before the merge", ""),
    "rows_cheaper": (
        "so many groups cost the source more than to hand over its rows",
        "where rows travel far, SET link_cost = 'dear' makes groups at the source",
    ),
    "set_operation": ("the source cannot run this set operation exactly", ""),
    "several_sources": (
        "the block reads more than one source",
        "where one source held both tables, it could run the block",
    ),
    "sort": ("the source cannot sort by these types exactly", _CERTIFY),
    "source_cannot_filter": ("the source takes no filters", _CONNECTOR),
    "subquery": ("holds a query of its own that its source cannot run", ""),
    "timezone": ("depends on the session's time zone, and sources keep to UTC", ""),
    "too_many_keys": (
        "more keys are expected than the source takes",
        "run sqluice certify on the source: it measures how many it takes",
    ),
    "type_mismatch": (
        "the two sides differ in type", "declare one type for both columns in their contracts"
    ),
    "type_not_comparable": ("the source does not compare this type exactly", _CERTIFY),
    "type_not_identical": ("the source's type is not proved to be the same", _TYPES),
    "type_not_kept": (
        "what it gives is lost on the way from a source, so the gateway makes it",
        "cast it to text in the statement",
    ),
    "type_unknown": (
        "the type of an expression is not certain",
        "publish what it computes as a column of its own, with its type in the contract",
    ),
    "untyped_null": ("a NULL without a type takes its type from outside the block", ""),
    "value": (
        "known when that has been read; bound where it leaves out enough rows, and applied again",
        "",
    ),
    "volatile": ("gives another value at each call", ""),
    "window": ("window functions are evaluated by the gateway", ""),
}  # fmt: skip
REASONS = frozenset(_REASONS)


def told(reason: str) -> str:
    """A reason as one line, its code first; empty where there is none."""
    if not reason:
        return ""
    why, _ = _REASONS.get(reason, (f"{reason.replace('_', ' ')} is not served there", ""))
    return f"{reason}: {why}"


def hint_for(reason: str, outcome: str) -> str:
    """What the owner of the source could do about what stayed."""
    return _REASONS.get(reason, ("", ""))[1] if outcome == "stayed" else ""
