"""An explanation or a shape as rows that a caller may read.

Takes: explanations, lines of reasons, visible tables. Gives: Arrow tables. Never adds anything to
what an `Explanation` holds, which was cut down to what the caller may know.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from gateway.explanation import Choice, Explanation, Fragment, document
from gateway.links import LinkCosts
from gateway.mermaid import picture
from gateway.metadata import VisibleTable
from gateway.request import Request
from gateway.why import Line
from sqluice import explained

_ALL_COLUMNS = (
    "domain", "product", "table", "is_default", "table_description", "column", "position", "type",
    "null", "key", "references", "reference", "reference_position", "masked", "description",
)  # fmt: skip
COLUMNS = ("step", "where", "what", "detail", "why")
_Row = tuple[str, str, str, str, str]
# What a session has unless it is told otherwise, which needs no line.
_UNSET = {"link_cost": "cheap", "require_pushdown": "false", "timezone": "UTC"}
_CHOSEN = {True: "chosen", False: "not chosen", None: "possible"}
_IN_PLACE = {"view": "a view: the merge reads the files", "table": "a table at once"}


def plan_table(one: Explanation, form: str = "text") -> pa.Table:
    """EXPLAIN in one of its forms; as text one row a line: step, where, what, detail, why."""
    if form == "json":
        return names_table("plan", [json.dumps(document(one), ensure_ascii=False, indent=2)])
    if form == "mermaid":
        return names_table("plan", [picture(one)])
    return _table(COLUMNS, list(_lines(one)))


def _lines(one: Explanation) -> Iterator[_Row]:
    for name, value in one.settings.items():
        if value != _UNSET.get(name):
            why = "" if name in _UNSET else "what the source says of its link"
            yield "plan", "gateway", "setting", f"{name} = {value}", why
    for each in one.fragments:
        yield from _fragment_lines(each)
        yield from _owner_lines(each)
    if one.merge.sql is not None:
        yield "merge", "gateway", "sql", one.merge.sql, ""
    else:
        yield "merge", "gateway", "none", "the fragment is the answer", ""
    for part in one.merge.parts:
        yield "merge", "gateway", part.outcome, part.part, part.why
    for name in one.answer.masked:
        yield "answer", "gateway", "masked", name, ""
    if one.answer.rows is not None:
        yield "answer", "gateway", "rows", str(one.answer.rows), ""
        yield "answer", "gateway", "bytes", str(one.answer.bytes), ""


def _fragment_lines(one: Fragment) -> Iterator[_Row]:
    yield one.name, one.source, "sql", one.sql, ""
    for part in one.parts:
        yield one.name, one.source, part.outcome, part.part, part.why
        if part.hint:
            yield one.name, one.source, "hint", part.hint, "for the owner of the source"
    if one.in_place:
        detail = _IN_PLACE[one.in_place]
        yield one.name, "gateway", "in place", detail, "nothing is copied from the files"
    for edge in one.keys:
        detail = f"{edge.column} by keys of {edge.of}.{edge.of_column}"
        yield one.name, one.source, "keys", detail, "sent where they leave out enough rows"
        if edge.hint:
            yield one.name, one.source, "hint", edge.hint, "for the owner of the source"
    for step in one.steps:
        yield one.name, "gateway", step.what, step.detail, step.why


def _owner_lines(one: Fragment) -> Iterator[_Row]:
    """What is for the owner of the source alone."""
    for hint in one.hints:
        yield one.name, one.source, "hint", hint, "for the owner of the source"
    for question in one.decided:
        for option in question.options:
            what = _CHOSEN[option.chosen]
            detail = f"{question.about}: {option.what}{_costs(option)}"
            yield one.name, one.source, what, detail, option.why
    if one.estimate is not None:
        basis = "from sizes" if one.estimate.basis == "sizes" else "a guess"
        yield one.name, one.source, "expected rows", str(one.estimate.rows), basis
        yield one.name, one.source, "expected ms", f"{one.estimate.milliseconds:g}", ""
    if one.ran is not None:
        if not one.ran.in_place:
            yield one.name, one.source, "fetched rows", str(one.ran.rows), ""
            yield one.name, one.source, "fetched bytes", str(one.ran.bytes), ""
        yield one.name, one.source, "keys sent", str(one.ran.keys), ", ".join(one.ran.keys_of)
        yield one.name, one.source, "ranges sent", str(one.ran.ranges), ""
        yield one.name, one.source, "milliseconds", f"{one.ran.milliseconds:.1f}", ""


def _costs(option: Choice) -> str:
    told = [
        f"{value:g} {name}"
        for name, value in (
            ("keys", option.keys), ("rows", option.rows), ("ms", option.milliseconds)
        )
        if value is not None
    ]  # fmt: skip
    return f" ({', '.join(told)})" if told else ""


def explain_settings(
    request: Request, costs: LinkCosts, sources: Iterable[str]
) -> Mapping[str, str]:
    """The settings that had a say in the plan: the caller's, and of sources what they say."""
    others = {f"link_cost of {one}": cost for one, cost in costs.others(sources).items()}
    return {
        "link_cost": costs.usual,
        "require_pushdown": str(request.require_pushdown).lower(),
        "timezone": request.timezone,
    } | others


def policy_table(lines: Sequence[Line], revision: str, form: str = "text") -> pa.Table:
    """EXPLAIN POLICY: one row a line, the verdict first; or one document."""
    rows = [
        (one.what, one.object, one.outcome, one.policy, one.file, revision[:12] if one.file else "",
         one.detail, one.request)
        for one in lines
    ]  # fmt: skip
    if form == "json":
        told = [dict(zip(explained.COLUMNS, row, strict=True)) for row in rows]
        text = json.dumps(explained.document(told), ensure_ascii=False, indent=2)
        return names_table("plan", [text])
    return _table(explained.COLUMNS, rows)


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
