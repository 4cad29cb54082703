"""Why a part of a query stayed where it is, in words.

Takes: the code of a reason. Gives: one line for whoever asked; what the owner of the source could
do is in `gateway/hints.py`. Never names a value.
"""

from __future__ import annotations

_REASONS = {
    "aggregate": "the source's aggregate is not proved to mean the same",
    "barrier": "may fail or read more than one row's clear values, so it stays behind the policy",
    "collation": "the source does not compare text by bytes",
    "constant_not_exact": "the constant has no exact form in the column's type",
    "construct": "the gateway keeps this construct to itself",
    "contradiction": "the query's predicates let no row pass",
    "cte": "the source cannot run this form of WITH with the same meaning",
    "derived": "follows from other predicates, which are applied as well",
    "distinct": "the source cannot leave out duplicates of these types exactly",
    "duplicate_names": "two columns of the block have one name",
    "function_not_identical": "the source's function is not proved to mean the same",
    "group": "the source cannot group by these types exactly",
    "groups_only": "the table shows groups only, which the gateway makes",
    "join": "the source cannot run this kind of join exactly",
    "joined_with_nothing": "what it is joined with has no row",
    "keys_stay": "a contract or a policy keeps the keys of that column from other sources",
    "late": "wanted for the first rows only, so they are found first, where the rest is much",
    "limit": "the number of rows is no plain number",
    "limit_zero": "no row is asked for",
    "list_too_long": "the list is longer than the source takes",
    "masked": "reads a masked column, whose visible value the source does not have",
    "may_fail": "could fail on a value that a source holds and its contract does not know",
    "no_table": "the block reads no table",
    "not_combinable": "its aggregates cannot be put together from parts, as sums of floats",
    "not_one_key": "more than the key that it is joined by is read, or no group is made by it",
    "outer_join": "stands at the side of an outer join that may be filled with NULL",
    "outer_names": "reads a name from outside the block",
    "parameter": "a parameter outside a plain comparison is evaluated by the gateway",
    "policy_leaves_none": "your grants and policies leave you no row",
    "policy_not_exact": "the source cannot evaluate the whole policy, so the gateway does",
    "rarely_repeats": "the key that it is joined by hardly repeats, so groups save little",
    "recursive": "recursion is the gateway's",
    "reads_groups": "reads groups, which the merge makes",
    "reads_several": "reads columns of more than one input",
    "restricted": "a policy that the gateway applies comes before the merge",
    "rows_cheaper": "so many groups cost the source more than to hand over its rows",
    "set_operation": "the source cannot run this set operation exactly",
    "several_sources": "the block reads more than one source",
    "sort": "the source cannot sort by these types exactly",
    "source_cannot_filter": "the source takes no filters",
    "subquery": "holds a query of its own that its source cannot run",
    "timezone": "depends on the session's time zone, and sources keep to UTC",
    "too_many_keys": "more keys are expected than the source takes",
    "type_mismatch": "the two sides differ in type",
    "type_not_comparable": "the source does not compare this type exactly",
    "type_not_identical": "the source's type is not proved to be the same",
    "type_not_kept": "what it gives is lost on the way from a source, so the gateway makes it",
    "type_unknown": "the type of an expression is not certain",
    "untyped_null": "a NULL without a type takes its type from outside the block",
    "value": (
        "known when that has been read; bound where it leaves out enough rows, and applied again"
    ),
    "volatile": "gives another value at each call",
    "window": "window functions are evaluated by the gateway",
}  # fmt: skip
REASONS = frozenset(_REASONS)


def told(reason: str) -> str:
    """A reason as one line, its code first; empty where there is none."""
    if not reason:
        return ""
    why = _REASONS.get(reason, f"{reason.replace('_', ' ')} is not served there")
    return f"{reason}: {why}"
