"""A plan, an explanation or a shape as rows that a caller may read.

Takes: a plan, the lines of an explanation, visible tables. Gives: Arrow tables. Never shows a
policy's literal, a key, a hidden name, a host, or a count from before the policy (DESIGN 5,
barrier rule 5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from gateway.draft import Note, Plan, PlannedFragment
from gateway.metadata import VisibleTable
from gateway.result import Result
from gateway.why import Line

HINTS = {
    "groups_only": "the table shows groups only, which the gateway makes",
    "barrier": "may fail or read more than one row's clear values, so it stays behind the policy",
    "masked": "reads a masked column, whose visible value the source does not have",
    "collation": "the source does not compare text by bytes",
    "constant_not_exact": "the constant has no exact form in the column's type",
    "contradiction": "the query's predicates let no row pass",
    "derived": "follows from other predicates, which are applied as well",
    "function_not_identical": "the source's function is not proved to mean the same",
    "joined_with_nothing": "what it is joined with has no row",
    "limit_zero": "no row is asked for",
    "may_fail": "could fail on a value that a source holds and its contract does not know",
    "outer_join": "stands at the side of an outer join that may be filled with NULL",
    "parameter": "a parameter outside a plain comparison is evaluated by the gateway",
    "policy_leaves_none": "your grants and policies leave you no row",
    "policy_not_exact": "the source cannot evaluate the whole policy, so the gateway does",
    "several_sources": "the block reads more than one source",
    "source_cannot_filter": "the source takes no filters",
    "timezone": "depends on the session's time zone, and sources keep to UTC",
    "untyped_null": "a NULL without a type takes its type from outside the block",
    "type_unknown": "the type of an expression is not certain",
    "type_mismatch": "the two sides differ in type",
    "volatile": "gives another value at each call",
    "window": "window functions are evaluated by the gateway",
}
_ALL_COLUMNS = (
    "domain", "product", "table", "is_default", "table_description", "column", "position", "type",
    "null", "key", "references", "reference", "reference_position", "masked", "description",
)  # fmt: skip


def plan_table(plan: Plan) -> pa.Table:
    """EXPLAIN: one row a line: step, fragment, source, what, detail, why."""
    rows: list[tuple[str, str, str, str, str]] = []
    for one in plan.fragments:
        rows += _fragment_rows(one)
    if plan.merge is not None:
        rows.append(("merge", "gateway", "sql", plan.merge, ""))
    else:
        rows.append(("merge", "gateway", "none", "the fragment is the answer", ""))
    rows += [("merge", "gateway", one.outcome, one.part, _why(one)) for one in plan.notes]
    rows += [("answer", "gateway", "masked", name, "") for name in plan.masked]
    names = ("step", "where", "what", "detail", "why")
    return _table(names, rows)


def analyzed_table(plan: Plan, result: Result, shown: frozenset[str]) -> pa.Table:
    """EXPLAIN ANALYZE: the plan, and what its run took.

    What was fetched of a source, before the policy that the gateway applies, and how long that took
    is for who may know it: `shown` are those sources.
    """
    rows: list[tuple[str, str, str, str, str]] = []
    for one in plan.fragments:
        took = result.took.get(one.name)
        if took is None or one.source not in shown:
            continue
        told = {
            "fetched rows": str(result.fetched.get(one.name, 0)), "fetched bytes": str(took.bytes),
            "keys sent": str(took.keys), "milliseconds": f"{took.seconds * 1000:.1f}",
            "expected rows": f"{one.rows:.0f}",
        }  # fmt: skip
        rows += [(one.name, one.source, what, detail, "") for what, detail in told.items()]
    rows.append(("answer", "gateway", "rows", str(result.rows), ""))
    rows.append(("answer", "gateway", "bytes", str(result.bytes), ""))
    return pa.concat_tables(
        [plan_table(plan), _table(("step", "where", "what", "detail", "why"), rows)]
    )


def _fragment_rows(one: PlannedFragment) -> list[tuple[str, str, str, str, str]]:
    rows = [(one.name, one.source, "sql", one.shown, "")]
    for note in one.notes:
        rows.append((one.name, one.source, note.outcome, note.part, _why(note)))
    if one.in_place is not None:
        detail = "a view: the merge reads the files" if one.in_place.is_view else "a table at once"
        rows.append((one.name, "gateway", "in place", detail, "nothing is copied from the files"))
    for slot in one.keyed.slots if one.keyed is not None else ():
        detail = f"{slot.target} by keys of {slot.provider}.{slot.column}"
        rows.append((one.name, one.source, "keys", detail, "sent where they leave out enough rows"))
    for pseudonym in one.pseudonyms:
        detail = f"pseudonym of {pseudonym.source_column} (join group {pseudonym.join_group})"
        why = "computed by the gateway: raw values travel from the source to it and no further"
        if pseudonym.is_hashed:
            why = "hashed at the source under a bound key, as every domain agreed: raw values stay"
        rows.append((one.name, "gateway", "pseudonym", detail, why))
    if one.groups is not None:
        detail = f"keys: {', '.join(sorted(one.groups.keys)) or 'none'}"
        why = f"<{one.groups.rule.policy}>: shows groups only, and none that is about few"
        rows.append((one.name, "gateway", "groups", detail, why))
    if one.gate_shown is not None:
        rows.append((one.name, "gateway", "gate", one.gate_shown, "a statement of its own"))
    return rows


def _why(note: Note) -> str:
    why = HINTS.get(note.reason, note.reason.replace("_", " "))
    return f"{note.reason}: {why}" if note.reason else ""


def policy_table(lines: Sequence[Line], revision: str) -> pa.Table:
    """EXPLAIN POLICY: one row a line, the verdict first."""
    rows = [
        (one.what, one.object, one.outcome, one.policy, one.file, revision[:12] if one.file else "",
         one.detail, one.request)
        for one in lines
    ]  # fmt: skip
    names = ("what", "object", "outcome", "policy", "file", "revision", "detail", "request")
    return _table(names, rows)


def tables_table(tables: Sequence[VisibleTable]) -> pa.Table:
    """SHOW TABLES."""
    rows = [
        (
            str(one.address.domain),
            one.address.product,
            one.address.table,
            one.table.description or one.product.description,
        )
        for one in tables
    ]
    return _table(("domain", "product", "table", "description"), rows)


def columns_table(table: VisibleTable) -> pa.Table:
    """DESCRIBE a table."""
    key = table.primary_key
    rows = [
        (
            one.name,
            one.type,
            "NO" if one.required else "YES",
            "PRI" if one.name in key else "",
            one.masked,
            one.description,
        )
        for one in table.columns
    ]
    return _table(("column_name", "column_type", "null", "key", "masked", "description"), rows)


def all_columns_table(tables: Sequence[VisibleTable], path: str | None) -> pa.Table:
    """SHOW COLUMNS: everything that tools ask of tables, of all that lie below `path`."""
    wanted = [one.casefold() for one in path.split(".")] if path else []
    shown = {str(one.address): one for one in tables}
    rows = [
        (*place, *row)
        for place, one in _placed(tables)
        if [part.casefold() for part in place[: len(wanted)]] == wanted
        for row in _column_rows(one, shown)
    ]
    return _table(_ALL_COLUMNS, rows)


def schemas_table(tables: Sequence[VisibleTable]) -> pa.Table:
    """SHOW SCHEMAS."""
    return _table(("domain", "product"), list(dict.fromkeys(one[:2] for one, _ in _placed(tables))))


def _placed(
    tables: Sequence[VisibleTable],
) -> Iterator[tuple[tuple[str, str, str], VisibleTable]]:
    """Each table with the parts of an address that means it alone, whatever majors there are."""
    majors = {(one.address.domain, one.address.product, one.address.major) for one in tables}
    several = Counter((domain, product) for domain, product, _ in majors)
    for one in tables:
        address = one.address
        is_one = several[address.domain, address.product] == 1
        product = address.product if is_one else f"{address.product}@{address.major}"
        yield (address.domain, product, address.table), one


def _column_rows(
    table: VisibleTable, shown: Mapping[str, VisibleTable]
) -> Iterator[tuple[str, ...]]:
    key = table.primary_key
    references = _references(table, shown)
    about = table.table.description or table.product.description
    for place, one in enumerate(table.columns, 1):
        yield (
            "YES" if table.is_default else "NO",
            about,
            one.name,
            str(place),
            one.type,
            "NO" if one.required else "YES",
            str(key.index(one.name) + 1) if one.name in key else "",
            *references.get(one.name, ("", "", "")),
            one.masked,
            one.description,
        )


def _references(
    table: VisibleTable, shown: Mapping[str, VisibleTable]
) -> Mapping[str, tuple[str, str, str]]:
    """What a column refers to, by which key, as which part: where he knows all of both ends."""
    own = {one.name for one in table.columns}
    found: dict[str, tuple[str, str, str]] = {}
    for one in table.table.relationships:
        target = shown.get(one.target)
        known = {column.name for column in target.columns} if target is not None else set()
        if set(one.columns) <= own and set(one.target_columns) <= known:
            pairs = zip(one.columns, one.target_columns, strict=False)
            name = f"{table.address.table}_{one.columns[0]}_fkey"
            found |= {
                column: (f"{one.target}.{other}", name, str(place))
                for place, (column, other) in enumerate(pairs, 1)
            }
    return found


def schema_table(schema: pa.Schema) -> pa.Table:
    """DESCRIBE a query."""
    rows = [
        (field.name, (field.metadata or {}).get(b"type", b"").decode(), "YES", "", "", "")
        for field in schema
    ]
    return _table(("column_name", "column_type", "null", "key", "masked", "description"), rows)


def names_table(heading: str, names: Sequence[str]) -> pa.Table:
    """SHOW of a list of names."""
    return _table((heading,), [(one,) for one in names])


def _table(names: Sequence[str], rows: Sequence[tuple[str, ...]]) -> pa.Table:
    columns = [pa.array([row[i] for row in rows], pa.string()) for i in range(len(names))]
    return pa.Table.from_arrays(columns, names=list(names))
