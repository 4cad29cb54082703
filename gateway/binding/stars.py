"""`*`, `t.*`, EXCLUDE, REPLACE, RENAME, `* LIKE`, COLUMNS(...): lists of columns, by hand.

Takes: a projection and the scope of its query. Gives: what it stands for, in DuckDB's order and
under DuckDB's names. Never lists a column that the caller cannot see, since scopes hold no other.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from gateway.binding.expressions import Place, bind_expression, mark_bound
from gateway.binding.lookup import column_named, field_of
from gateway.binding.scopes import Merged, Output, Relation, Scope
from gateway.binding.types import fields_of
from gateway.binding.words import ambiguous, did_you_mean, unknown, unknown_name, unsupported
from gateway.errors import TypeMismatch
from gateway.trees import noted

Keep = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Item:
    """One column that a star stands for; is_alias: the name is not that of the column."""

    name: str
    expression: exp.Expression
    type: str | None = None
    is_alias: bool = False


def is_star(node: exp.Expression) -> bool:
    """Whether the projection is a star, plain or of a table, maybe with a pattern on names."""
    match node:
        case exp.Star() | exp.Columns():
            return True
        case exp.Column() | exp.Not():
            return is_star(node.this)
        case exp.Dot():
            return isinstance(node.expression, exp.Star)
        case exp.Like() | exp.ILike() | exp.SimilarTo() | exp.Glob():
            return is_star(node.this)
        case _:
            return False


def expand_star(node: exp.Expression, place: Place, by_member: bool = False) -> list[Item]:
    """The columns of a projection for which `is_star` holds.

    by_member: a column that USING made has the name of its first member, as in COLUMNS.
    """
    match node:
        case exp.Star():
            _spend(place.scope)
            by_member = by_member or node.args.get("ilike") is not None
            return _star(node, _all_items(place.scope, by_member), place)
        case exp.Column() if isinstance(node.this, exp.Star):
            _spend(place.scope)
            return _star(node.this, _items_of(node, place.scope), place)
        case exp.Columns():
            return _columns(node, place)
        case exp.Like() | exp.ILike() | exp.SimilarTo() | exp.Glob():
            _refuse_coalesced(node.this, place.scope)
            return _like(node, expand_star(node.this, place, by_member=True), negate=False)
        case exp.Not():
            _refuse_coalesced(node.this.this, place.scope)
            items = expand_star(node.this.this, place, by_member=True)
            return _like(node.this, items, negate=True)
        case _:
            raise unsupported("This star is not served", hint="Name the columns.")


def _like(pattern: exp.Expression, items: Sequence[Item], negate: bool) -> list[Item]:
    """The columns that have a name which matches, be it in other letters."""
    keep = _pattern(pattern)
    names = {one.name.casefold() for one in items if keep(one.name) != negate}
    return _kept(items, lambda name: name.casefold() in names)


def _refuse_coalesced(star: exp.Expression, scope: Scope) -> None:
    """DuckDB compares the text of what FULL JOIN USING makes there, not its name."""
    merged = [one for found in scope.merged.values() for one in found]
    if not isinstance(star, exp.Column) and any(len(one.values) > 1 for one in merged):
        raise unsupported("Lists of names and LIKE for names are not served over FULL JOIN USING",
                          hint="Name the columns.")


def _spend(scope: Scope) -> None:
    """Stars over wide tables, written often, are what makes a statement large."""
    scope.budget.spend(sum(len(one.columns) for one in scope.relations))


def columns_in(node: exp.Expression) -> list[exp.Columns]:
    """The COLUMNS(...) of an expression, not those of its sub-queries."""
    if node.find(exp.Columns) is None:
        return []
    return [
        one for one in node.walk(prune=lambda inner: isinstance(inner, exp.Query))
        if isinstance(one, exp.Columns)
    ]


def expand_columns(node: exp.Expression, place: Place) -> list[tuple[str, exp.Expression]]:
    """An expression once for each column that its COLUMNS(...) stands for, with its name."""
    found = columns_in(node)
    unpacked = [one for one in found if one.args.get("unpack")]
    if unpacked:
        if len(unpacked) != len(found):
            raise unsupported("COLUMNS and *COLUMNS in one expression are not served")
        return [("", _unpack(node, place))]
    if len({one.sql("duckdb") for one in found}) > 1:
        raise unsupported("Two different COLUMNS in one expression are not served")
    star = found[0].find(exp.Star)
    if star is not None and (star.args.get("replace") or star.args.get("rename")):
        raise unsupported("COLUMNS takes no REPLACE or RENAME inside an expression")
    made = []
    size = sum(1 for _ in node.walk())
    for item in _columns(found[0], place):
        place.scope.budget.spend(size)
        copy = node.copy()
        for one in columns_in(copy):
            value = mark_all_bound(item.expression.copy())
            if one is copy:
                copy = value
            else:
                one.replace(value)
        made.append((item.name, copy))
    return made


def mark_all_bound(node: exp.Expression) -> exp.Expression:
    """Mark every column below as bound, so that it is not bound again."""
    for column in node.find_all(exp.Column):
        mark_bound(column)
    return node


def _unpack(node: exp.Expression, place: Place) -> exp.Expression:
    """`f(*COLUMNS(...))` gives each column as an argument of its own."""
    copy = node.copy()
    for one in columns_in(copy):
        values = [_named_fully(item, place.scope) for item in _columns(one, place)]
        parent, key = one.parent, one.arg_key
        if parent is None or key is None or not isinstance(parent, exp.Func):
            raise unsupported("*COLUMNS is served as an argument of a function only")
        current = parent.args[key]
        if isinstance(current, list):
            position = next(i for i, value in enumerate(current) if value is one)
            parent.set(key, [*current[:position], *values, *current[position + 1 :]])
        elif "expressions" in parent.arg_types:
            parent.set(key, values[0])
            parent.set("expressions", [*values[1:], *parent.expressions])
        else:
            raise unsupported("*COLUMNS is not served in this function")
    return copy


def _named_fully(item: Item, scope: Scope) -> exp.Expression:
    """A column that tells by which names DuckDB calls what a star stands for."""
    relations = {one.alias: one for one in scope.relations}
    node = mark_all_bound(item.expression)
    for column in node.find_all(exp.Column):
        relation = relations.get(column.table)
        if relation is not None:
            noted(column, called=(*relation.full_name, item.name))
    return node


def _columns(node: exp.Columns, place: Place) -> list[Item]:
    what = node.this
    match what:
        case exp.Star() | exp.Column():
            if not is_star(what):
                raise unsupported("COLUMNS takes *, a pattern or a list of names")
            return expand_star(what, place, by_member=True)
        case exp.Literal() if what.is_string:
            _spend(place.scope)
            return _kept(_all_items(place.scope, by_member=True), _matching(what.name))
        case exp.Array():
            _refuse_coalesced(node, place.scope)
            return _listed_columns(what.expressions, place.scope)
        case _:
            raise unsupported("COLUMNS takes *, a pattern or a list of names",
                              hint="Write a regular expression instead of a lambda.")


def _listed_columns(nodes: Sequence[exp.Expression], scope: Scope) -> list[Item]:
    """The columns of those names, in the order of the tables, as in DuckDB."""
    _spend(scope)
    items = _all_items(scope, by_member=True)
    wanted = set()
    for one in nodes:
        if not (isinstance(one, exp.Literal) and one.is_string):
            raise unsupported("COLUMNS takes names as constants")
        if all(item.name.casefold() != one.name.casefold() for item in items):
            raise unknown_name([exp.to_identifier(one.name)], scope)
        wanted.add(one.name.casefold())
    return _kept(items, lambda name: name.casefold() in wanted)


def _kept(items: Sequence[Item], keep: Keep) -> list[Item]:
    found = [one for one in items if keep(one.name)]
    if not found:
        raise unknown("The pattern matches no column", None)
    return found


def _matching(pattern: str) -> Keep:
    """RE2, as DuckDB: found anywhere in the name."""
    def keep(name: str) -> bool:
        try:
            return bool(pc.match_substring_regex(pa.array([name]), pattern)[0].as_py())
        except pa.ArrowInvalid as error:
            raise TypeMismatch(
                "The regular expression is not well formed (RE2 syntax).", private=str(error)
            ) from None

    return keep


def _pattern(node: exp.Expression) -> Keep:
    pattern = node.expression
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        raise unsupported("A pattern for names must be a constant")
    text = pattern.name
    match node:
        case exp.SimilarTo():
            return _matching(f"^(?:{text})$")
        case exp.Glob():
            return lambda name: fnmatch.fnmatchcase(name, text)
        case _:
            flags = re.DOTALL | (re.IGNORECASE if isinstance(node, exp.ILike) else 0)
            made = "".join(
                ".*" if one == "%" else "." if one == "_" else re.escape(one) for one in text
            )
            found = re.compile(made, flags)
            negate = bool(node.args.get("negate"))
            return lambda name: (found.fullmatch(name) is not None) != negate


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A column before EXCLUDE, REPLACE and RENAME; member: the name under which it was met."""

    item: Item
    member: str


def _all_items(scope: Scope, by_member: bool = False) -> list[Item]:
    found = _candidates(scope)
    return [replace(one.item, name=one.member) if by_member else one.item for one in found]


def _candidates(scope: Scope, excluded: frozenset[tuple[int, str]] = frozenset()) -> list[
    _Candidate
]:
    """All visible columns in order; a merged one stands where its first member stands."""
    _refuse_shared_names(scope)
    merged_of = scope.merged_of()
    done: set[int] = set()
    found = []
    for relation in scope.relations:
        for output in relation.columns:
            if (id(relation), output.name.casefold()) in excluded:
                continue
            merged = merged_of.get((id(relation), output.name.casefold()))
            if merged is None:
                found.append(_Candidate(_item(relation, output), output.name))
            elif id(merged) not in done:
                done.add(id(merged))
                found.append(_Candidate(_merged_item(merged, output), output.name))
    return found


def _refuse_shared_names(scope: Scope) -> None:
    """Columns of one name in tables of one name, if that is the alias of one, are ambiguous."""
    aliased = [one for one in scope.relations if one.is_explicit and one.called]
    for one in scope.relations:
        shared = [other for other in aliased if other.called == one.called
                  and other.by_name.keys() & one.by_name.keys()]
        if shared and not one.is_explicit:
            raise ambiguous(f"The name {one.called} stands for two tables", None,
                            "Give each its own alias.")


def _item(relation: Relation, output: Output) -> Item:
    return Item(output.name, relation.column(output), output.type)


def _merged_item(merged: Merged, met: Output) -> Item:
    if len(merged.values) == 1:
        return _item(*merged.values[0])
    return Item(met.name, merged.expression)


def _items_of(node: exp.Column, scope: Scope) -> list[Item]:
    """`t.*`, also by a longer path, or the fields of a structure."""
    parts = [node.args[key] for key in ("catalog", "db", "table") if node.args.get(key)]
    path = tuple(one.name.casefold() for one in parts)
    owners = [one for one in scope.relations if one.is_called(path)]
    if len(owners) > 1:
        raise ambiguous(f"{node.table} can mean several tables", parts[-1],
                        "Give each its own alias.")
    if owners:
        return [_item(owners[0], output) for output in owners[0].columns]
    found = column_named(scope, path[0], parts[0]) if len(path) == 1 else None
    if found is None:
        tables = [one.called for one in scope.relations if one.called]
        raise unknown(f"{'.'.join(one.name for one in parts)} names no table of this query",
                      parts[0], did_you_mean(parts[-1].name, tables))
    fields = fields_of(found.type)
    if fields is None:
        raise unsupported(f"The fields of {node.table} are not known here", parts[0],
                          f"Write {node.table}.field for each.")
    return [Item(name, field_of(found.expression.copy(), name), kind) for name, kind in fields]


def _star(star: exp.Star, items: Sequence[Item], place: Place) -> list[Item]:
    if not any(star.args.values()):
        return list(items)
    if star.args.get("ilike") is not None:
        pattern = exp.ILike(this=exp.Star(), expression=star.args["ilike"])
        items = _like(pattern, items, negate=False)
    excluded = list(_listed(star, "except_"))
    replaced = {one.alias.casefold(): one for one in star.args.get("replace") or []}
    renamed = {
        one.this.name.casefold(): one.alias for one in star.args.get("rename") or []
    }
    _refuse_repeated(star)
    if any(one.args.get("table") for one in excluded):
        items = _without_qualified(excluded, items, place.scope)
        excluded = [one for one in excluded if not one.args.get("table")]
    names = {one.name.casefold() for one in items}
    for one in [*excluded, *replaced.values()]:
        written = one.alias_or_name
        if written.casefold() not in names:
            part = one.args.get("alias") or one.this
            raise unknown(f"There is no column {written} to exclude or replace", part,
                          did_you_mean(written, [item.name for item in items]))
    dropped = {one.name.casefold() for one in excluded}
    kept = [one for one in items if one.name.casefold() not in dropped]
    if not kept:
        raise unknown("EXCLUDE leaves no column", None)
    return [_changed(one, replaced, renamed, place) for one in _once(kept, replaced)]


def _once(items: Sequence[Item], replaced: Mapping[str, exp.Expression]) -> Iterator[Item]:
    """What REPLACE names stands where its first column stands, the others are gone."""
    done: set[str] = set()
    for one in items:
        name = one.name.casefold()
        if name not in done:
            yield one
        if name in replaced:
            done.add(name)


def _refuse_repeated(star: exp.Star) -> None:
    """A column stands once in EXCLUDE, REPLACE and RENAME."""
    met: dict[str, set[str]] = {}
    renamed = [one.this for one in star.args.get("rename") or []]
    for one in renamed:
        if one.args.get("table"):
            raise unsupported("RENAME takes names without a table", one.this)
    for one in [*_listed(star, "except_"), *(star.args.get("replace") or []), *renamed]:
        table = one.text("table").casefold()
        tables = met.setdefault(one.alias_or_name.casefold(), set())
        if tables and ("" in {table, *tables} or table in tables):
            raise unsupported(
                f"{one.alias_or_name} stands twice in EXCLUDE, REPLACE or RENAME",
                one.args.get("alias") or one.this,
            )
        tables.add(table)


def _listed(star: exp.Star, key: str) -> Iterator[exp.Expression]:
    for one in star.args.get(key) or []:
        yield one if isinstance(one, exp.Column) else exp.Column(this=one)


def _without_qualified(
    excluded: Sequence[exp.Expression], items: Sequence[Item], scope: Scope
) -> Sequence[Item]:
    """`* EXCLUDE (t.a)`: that of one table."""
    gone = set()
    for one in excluded:
        if not one.args.get("table"):
            continue
        owners = [
            relation for relation in scope.relations
            if relation.is_called((one.text("table").casefold(),))
            and one.name.casefold() in relation.by_name
        ]
        if not owners:
            raise unknown(f"There is no column {one.text('table')}.{one.name} to exclude",
                          one.this)
        gone.add((id(owners[0]), one.name.casefold()))
    if len(items) != len(_candidates(scope)):
        raise unsupported("t.* EXCLUDE takes names without a table")
    return [one.item for one in _candidates(scope, frozenset(gone))]


def _changed(
    item: Item, replaced: dict[str, exp.Expression], renamed: dict[str, str], place: Place
) -> Item:
    folded = item.name.casefold()
    if folded in replaced:
        made = replaced[folded].copy()
        holder = exp.Paren(this=made.this)
        return Item(made.alias, bind_expression(holder, place).this, is_alias=True)
    if folded in renamed:
        return replace(item, name=renamed[folded], is_alias=True)
    return item
