"""What of a relation's policy its source decides, and what the gateway does itself.

Takes: a draft and one guarded relation. Gives: the split of its filters and columns, and the SQL
of the gate: a statement of its own over the raw batches, without any text of the user's (DESIGN
5, barrier rules 3 and 4). Never sends a condition that the source would read differently.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp

from connectors.base import misfit_of
from gateway.constants import family
from gateway.decision import Condition
from gateway.draft import Draft, PseudonymColumn
from gateway.guard import GuardedColumn, GuardedRelation
from gateway.trees import DUCKDB, as_type

PSEUDONYM = "PSEUDONYM"
MISFIT = "holds what does not fit"
# Their text is the same at every source and at the gateway.
_HASHED = frozenset({"VARCHAR", "UUID", "TINYINT", "SMALLINT", "INTEGER", "BIGINT"})


@dataclass(frozen=True, slots=True)
class Split:
    """Filters and columns by who evaluates them."""

    source_filters: tuple[Condition, ...]
    gate_filters: tuple[Condition, ...]
    source_columns: tuple[GuardedColumn, ...]
    gate_columns: tuple[GuardedColumn, ...]

    @property
    def needs_gate(self) -> bool:
        """Whether a gate statement is due."""
        return bool(self.gate_filters or self.gate_columns)


def split(draft: Draft, relation: GuardedRelation) -> Split:
    """Which filters and columns the relation's source evaluates exactly."""
    filters = [(one, _at_source(draft, relation, one.expression)) for one in relation.filters]
    masked = [one for one in relation.columns if not one.clear]
    # Names mean raw values at the gate, so either all masks are computed there or none is.
    gated = not all(exact for _, exact in filters) or not all(
        _at_source(draft, relation, one.expression) for one in masked
    )
    columns = [(one, one.clear or not gated) for one in relation.columns]
    return Split(
        tuple(one for one, exact in filters if exact),
        tuple(one for one, exact in filters if not exact),
        tuple(one for one, exact in columns if exact),
        tuple(one for one, exact in columns if not exact),
    )


def needs_gate_filter(draft: Draft, relation: GuardedRelation) -> bool:
    """Whether rows are still to be removed after the source."""
    return bool(split(draft, relation).gate_filters)


def _at_source(draft: Draft, relation: GuardedRelation, expression: exp.Expression) -> bool:
    abilities = draft.abilities_of(relation)
    if not draft.context.push_down or not abilities.can_filter or abilities.is_unproven:
        return False
    return draft.raw_checker(relation).refusal(expression) is None


def pseudonyms_of(
    draft: Draft, relation: GuardedRelation, parts: Split
) -> tuple[PseudonymColumn, ...]:
    """The pseudonym columns that the gateway has to add for the gate's columns."""
    found: dict[str, PseudonymColumn] = {}
    for one in parts.gate_columns:
        for call in one.expression.find_all(exp.Anonymous):
            if call.name.upper() == PSEUDONYM:
                made = _pseudonym(call)
                found[made.name] = replace(made, is_hashed=_is_hashed(draft, relation, made))
    return tuple(found.values())


def gate_reads(
    draft: Draft, relation: GuardedRelation, parts: Split
) -> tuple[str, ...]:
    """The columns of the source that the gate reads, hashes among them by their own name."""
    hashed = {one.source_column for one in pseudonyms_of(draft, relation, parts) if one.is_hashed}
    names = []
    for column in parts.gate_columns:
        for node in column.expression.find_all(exp.Column):
            is_argument = isinstance(node.parent, exp.Anonymous) and (
                node.parent.name.upper() == PSEUDONYM
            )
            if not (is_argument and node.name in hashed):
                names.append(node.name)
    for condition in parts.gate_filters:
        names += [column.name for column in condition.expression.find_all(exp.Column)]
    for one in pseudonyms_of(draft, relation, parts):
        names.append(one.name if one.is_hashed else one.source_column)
    return tuple(dict.fromkeys(names))


def _is_hashed(draft: Draft, relation: GuardedRelation, one: PseudonymColumn) -> bool:
    """Whether the key may go to the source, and the source hashes what the gateway would."""
    context = draft.context
    kind = family(context.tables[relation.address].columns[one.source_column][1])
    return (
        context.push_down
        and one.join_group in context.pushed_groups
        and draft.abilities_of(relation).keyed_hash is not None
        and kind in _HASHED
    )


def _pseudonym(call: exp.Anonymous) -> PseudonymColumn:
    column, group = call.expressions
    return PseudonymColumn(f"{column.name} of {group.name}", column.name, group.name)


def gate_sql(relation: GuardedRelation, parts: Split) -> str:
    """The gate's SQL over `raw`; its last column tells of visible values that do not fit.

    In `raw` such values are NULL. A row is hidden where one stands in a column that a condition
    reads: what cannot be read permits nothing.
    """
    at_source = {one.name for one in parts.source_columns}
    query = exp.Select()
    told: list[exp.Expression] = []
    for one in relation.columns:
        if one.name in at_source:
            value: exp.Expression = exp.column(exp.to_identifier(one.name, quoted=True))
            told.append(_misfit(one.name))
        else:
            value, misfit = _at_gate(one)
            told += [misfit] if misfit is not None else []
        query = query.select(
            exp.alias_(as_type(value, one.type), one.name, quoted=True), copy=False
        )
    misfits = exp.or_(*told, copy=False) if told else exp.false()
    query = query.select(exp.alias_(misfits, MISFIT, quoted=True), copy=False)
    query = query.from_(exp.to_table("raw"), copy=False)
    for condition in parts.gate_filters:
        query = query.where(condition.expression.copy(), copy=False)
    for name in _read_by(*(one.expression for one in parts.gate_filters)):
        query = query.where(exp.not_(_misfit(name)), copy=False)
    return query.sql(DUCKDB)


def _misfit(name: str) -> exp.Column:
    return exp.column(exp.to_identifier(misfit_of(name), quoted=True))


def _read_by(*expressions: exp.Expression) -> list[str]:
    found = (column.name for one in expressions for column in one.find_all(exp.Column))
    return list(dict.fromkeys(found))


def _at_gate(one: GuardedColumn) -> tuple[exp.Expression, exp.Expression | None]:
    """The visible value, and where a visible one does not fit.

    A mask of what does not fit is NULL and tells nothing: the value is hidden.
    """
    value = _with_pseudonyms(one.expression)
    if not one.is_cellwise:
        return value, None
    assert isinstance(value, exp.Case)
    chosen = value.args["ifs"][0]
    names = _read_by(chosen.this)
    fits = [exp.not_(_misfit(name)) for name in names]
    chosen.set("this", exp.and_(exp.Paren(this=chosen.this), *fits, copy=False))
    inner = chosen.args["true"]
    if not isinstance(inner, exp.Column) or inner.name != one.name:
        return value, None
    told = exp.If(this=chosen.this.copy(), true=_misfit(one.name))
    return value, exp.Case(ifs=[told], default=exp.false())


def gate_shown(relation: GuardedRelation, parts: Split) -> str:
    """The gate as a caller may see it: each condition and mask is `<policy id>`."""
    at_source = {one.name for one in parts.source_columns}
    query = exp.Select()
    for one in relation.columns:
        clear = exp.column(exp.to_identifier(one.name, quoted=True))
        value = clear if one.name in at_source else policy_mark(one.policy)
        query = query.select(exp.alias_(value, one.name, quoted=True), copy=False)
    query = query.from_(exp.to_table("raw"), copy=False)
    for condition in parts.gate_filters:
        query = query.where(policy_mark(condition.policy), copy=False)
    return without_quotes(query.sql(DUCKDB))


def policy_mark(policy: str) -> exp.Column:
    """What stands in shown SQL for all that a policy says."""
    return exp.column(exp.to_identifier(f"<{policy}>", quoted=True))


def without_quotes(text: str) -> str:
    """Shown SQL with its policy marks unquoted."""
    return text.replace('"<', "<").replace('>"', ">")


def _with_pseudonyms(expression: exp.Expression) -> exp.Expression:
    def replace_call(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Anonymous) and node.name.upper() == PSEUDONYM:
            return exp.column(exp.to_identifier(_pseudonym(node).name, quoted=True))
        return node

    return expression.transform(replace_call)
