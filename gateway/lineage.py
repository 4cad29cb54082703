"""Which columns each output of a query comes from, and what else shaped the answer.

Takes: a `BoundQuery` and the columns that the decision masks. Gives: edges from an output column,
or from the whole answer, to input columns `domain.product.table.column`. Never sees a hidden
column, and never tells what a policy reads: only what the statement itself reads.

Direct kinds say how a value was made (identity, transformation, aggregation), the others what
decided over rows, groups, order or branches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from gateway.bind import BoundQuery
from gateway.decision import Decision
from gateway.errors import UnsupportedSql
from gateway.functions import is_aggregate
from gateway.resolve import Address

DIRECT = ("identity", "transformation", "aggregation")
INDIRECT = ("filter", "join", "group", "sort", "window", "conditional")
_IDENTITY, _TRANSFORMATION, _AGGREGATION = range(3)
_ROUNDS = 16


@dataclass(frozen=True, slots=True)
class Edge:
    """One influence. `output` None: on the whole answer. `masked`: the input is read masked."""

    output: str | None
    table: Address
    column: str
    kind: str
    masked: bool = False

    @property
    def source(self) -> str:
        """`domain.product.table.column`."""
        return f"{self.table}.{self.column}"


_Column = tuple[Address, str]


@dataclass(slots=True)
class _Flow:
    """What flows into one value: inputs by how directly, and inputs that decided over it."""

    direct: dict[_Column, int] = field(default_factory=dict)
    indirect: set[tuple[_Column, str]] = field(default_factory=set)

    def take(self, other: _Flow, level: int, kind: str | None) -> None:
        """Let another value flow into this one, or only decide over it."""
        self.indirect |= other.indirect
        if kind is not None:
            self.indirect |= {(one, kind) for one in other.direct}
            return
        for one, found in other.direct.items():
            self.direct[one] = max(self.direct.get(one, _IDENTITY), found, level)


@dataclass(slots=True)
class _Output:
    name: str
    flow: _Flow


class _Relation:
    """What a name in FROM stands for."""

    def __init__(
        self,
        address: Address | None = None,
        outputs: Sequence[_Output] = (),
        whole: _Flow | None = None,
    ) -> None:
        self._address = address
        self._outputs = {one.name: one.flow for one in outputs}
        self._whole = whole

    def column(self, name: str) -> _Flow:
        """The flow of one of its columns."""
        if self._address is not None:
            return _Flow({(self._address, name): _IDENTITY})
        return self._whole or self._outputs.get(name) or _Flow()


_Frames = tuple[dict[str, _Relation], ...]
_Ctes = Mapping[str, Sequence[_Output]]


def lineage(bound: BoundQuery, decision: Decision) -> tuple[Edge, ...]:
    """The edges of a query, outputs in their order; `masked` where the decision masks the input."""
    tracer = _Tracer()
    try:
        outputs = tracer.query(bound.tree, (), {})
    except RecursionError:
        raise UnsupportedSql("The statement is nested too deeply.") from None
    masked = {
        (address, one.name)
        for address, table in decision.tables.items()
        for one in table.columns
        if one.kind != "clear"
    }
    names = bound.outputs or tuple(one.name for one in outputs)
    edges: dict[Edge, None] = {}
    for name, one in zip(names, outputs, strict=True):
        direct = [(column, DIRECT[level]) for column, level in one.flow.direct.items()]
        for column, kind in _sorted([*direct, *one.flow.indirect]):
            edges[Edge(name, *column, kind, column in masked)] = None
    for column, kind in _sorted(tracer.whole):
        edges[Edge(None, *column, kind, column in masked)] = None
    return tuple(edges)


def _sorted(found: Iterable[tuple[_Column, str]]) -> list[tuple[_Column, str]]:
    return sorted(found, key=lambda one: (str(one[0][0]), one[0][0].major, one[0][1], one[1]))


class _Tracer:
    """Follows columns to their tables; `whole` is what decided over the whole answer."""

    def __init__(self) -> None:
        self.whole: set[tuple[_Column, str]] = set()

    def query(self, node: exp.Expression, outer: _Frames, ctes: _Ctes) -> list[_Output]:
        """The outputs of a query."""
        ctes = self._ctes(node, outer, ctes)
        match node:
            case exp.Select():
                return self._select(node, outer, ctes)
            case exp.SetOperation():
                outputs = self._set(node, outer, ctes)
            case _:
                outputs = self.query(node.this, outer, ctes)
        self._order(node, outer, ctes, outputs)
        return outputs

    def _ctes(self, node: exp.Expression, outer: _Frames, ctes: _Ctes) -> _Ctes:
        with_ = node.args.get("with_")
        if with_ is None:
            return ctes
        known = dict(ctes)
        for cte in with_.expressions:
            if with_.recursive and isinstance(cte.this, exp.SetOperation):
                self._recursive(cte, outer, known)
            known[cte.alias] = self.query(cte.this, outer, known)
        return known

    def _recursive(
        self, cte: exp.Expression, outer: _Frames, known: dict[str, Sequence[_Output]]
    ) -> None:
        """Go round until nothing new flows in: flows only grow."""
        inner = self._ctes(cte.this, outer, known)
        known[cte.alias] = self.query(cte.this.this, outer, inner)
        for _ in range(_ROUNDS):
            before = [(dict(one.flow.direct), set(one.flow.indirect)) for one in known[cte.alias]]
            known[cte.alias] = self.query(cte.this, outer, known)
            after = [(one.flow.direct, one.flow.indirect) for one in known[cte.alias]]
            if before == after:
                return

    def _set(self, node: exp.SetOperation, outer: _Frames, ctes: _Ctes) -> list[_Output]:
        left = self.query(node.this, outer, ctes)
        right = self.query(node.expression, outer, ctes)
        merged = []
        for position, one in enumerate(left):
            flow = _Flow()
            flow.take(one.flow, _IDENTITY, None)
            other = _partner(node, one, position, right)
            if isinstance(node, exp.Union) and other is not None:
                flow.take(other.flow, _IDENTITY, None)
            merged.append(_Output(one.name, flow))
        if not isinstance(node, exp.Union):
            self._decide([one.flow for one in right], "filter")
        if node.args.get("distinct"):
            self._decide([one.flow for one in merged], "group")
        return merged

    def _select(self, node: exp.Select, outer: _Frames, ctes: _Ctes) -> list[_Output]:
        frame: dict[str, _Relation] = {}
        frames = (*outer, frame)
        from_ = node.args.get("from_")
        joins = node.args.get("joins") or []
        for item in [*([from_] if from_ is not None else []), *joins]:
            self._item(item.this, frame, frames, ctes)
        for join in [*joins, *_inner_joins(node)]:
            self._clause(join.args.get("on"), "join", frames, ctes)
        outputs = [
            _Output(one.alias, self._flow(one.this, frames, ctes)) for one in node.expressions
        ]
        for key, kind in _CLAUSES:
            self._clause(node.args.get(key), kind, frames, ctes)
        for one in node.args.get("windows") or []:
            self._clause(one, "window", frames, ctes)
        self._distinct(node, frames, ctes, outputs)
        self._order(node, frames, ctes, outputs)
        return outputs

    def _distinct(
        self, node: exp.Select, frames: _Frames, ctes: _Ctes, outputs: Sequence[_Output]
    ) -> None:
        distinct = node.args.get("distinct")
        if distinct is None:
            return
        keys = distinct.args.get("on")
        if keys is None:
            self._decide([one.flow for one in outputs], "group")
            return
        for key in keys.expressions:
            self._decide([self._key(key, frames, ctes, outputs)], "group")

    def _order(
        self, node: exp.Expression, frames: _Frames, ctes: _Ctes, outputs: Sequence[_Output]
    ) -> None:
        order = node.args.get("order")
        for one in order.expressions if order is not None else ():
            key = one.this if isinstance(one, exp.Ordered) else one
            self._decide([self._key(key, frames, ctes, outputs)], "sort")

    def _key(
        self, key: exp.Expression, frames: _Frames, ctes: _Ctes, outputs: Sequence[_Output]
    ) -> _Flow:
        """The flow of a key: an output by its name or number, or an expression."""
        if isinstance(key, exp.Column) and not key.table:
            return next((one.flow for one in outputs if one.name == key.name), _Flow())
        if isinstance(key, exp.Literal) and not key.is_string and key.name.isdigit():
            position = int(key.name) - 1
            return outputs[position].flow if 0 <= position < len(outputs) else _Flow()
        return self._flow(key, frames, ctes, outputs)

    def _item(
        self, node: exp.Expression, frame: dict[str, _Relation], frames: _Frames, ctes: _Ctes
    ) -> None:
        for join in node.args.get("joins") or []:
            self._item(join.this, frame, frames, ctes)
        if isinstance(node, exp.Subquery) and not node.alias:
            self._item(node.this, frame, frames, ctes)
            return
        frame[node.alias] = self._relation(node, frames, ctes)

    def _relation(self, node: exp.Expression, frames: _Frames, ctes: _Ctes) -> _Relation:
        address = node.meta.get("address")
        if isinstance(address, Address):
            return _Relation(address)
        match node:
            case exp.Table() if not isinstance(node.this, exp.Func):
                return _Relation(outputs=ctes.get(node.name, ()))
            case exp.Subquery():
                return _Relation(outputs=self.query(node.this, frames, ctes))
            case exp.Lateral() if isinstance(node.this, exp.Subquery):
                return _Relation(outputs=self.query(node.this.this, frames, ctes))
        whole = _Flow()
        for one in [node.this] if isinstance(node, exp.Table) else node.expressions:
            whole.take(self._flow(one, frames, ctes), _TRANSFORMATION, None)
        return _Relation(whole=whole)

    def _clause(
        self, node: exp.Expression | None, kind: str, frames: _Frames, ctes: _Ctes
    ) -> None:
        if node is not None:
            self._decide([self._flow(node, frames, ctes)], kind)

    def _decide(self, flows: Iterable[_Flow], kind: str) -> None:
        """Let values decide over the whole answer."""
        for flow in flows:
            self.whole |= {(one, kind) for one in flow.direct}
            self.whole |= {(one, kind) for one, _ in flow.indirect}

    def _flow(
        self, root: exp.Expression, frames: _Frames, ctes: _Ctes, outputs: Sequence[_Output] = ()
    ) -> _Flow:
        """Everything that flows into an expression."""
        flow = _Flow()
        stack: list[tuple[exp.Expression, int, str | None]] = [(root, _IDENTITY, None)]
        while stack:
            node, level, kind = stack.pop()
            if isinstance(node, exp.Column):
                flow.take(_column(node, frames, outputs), level, kind)
            elif isinstance(node, exp.Query):
                for one in self.query(node, frames, ctes):
                    flow.take(one.flow, max(level, _TRANSFORMATION), kind)
            else:
                stack.extend(_parts(node, level, kind))
        return flow


_CLAUSES = (("where", "filter"), ("group", "group"), ("having", "filter"), ("qualify", "filter"))
_PASSING = (exp.Paren, exp.Alias)
# These pick a value of a window; they combine none.
_PICKING = (exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue)


def _column(node: exp.Column, frames: _Frames, outputs: Sequence[_Output]) -> _Flow:
    if not node.table:
        return next((one.flow for one in outputs if one.name == node.name), _Flow())
    for frame in reversed(frames):
        if node.table in frame:
            return frame[node.table].column(node.name)
    return _Flow()


def _parts(
    node: exp.Expression, level: int, kind: str | None
) -> Iterator[tuple[exp.Expression, int, str | None]]:
    """The parts of an expression, each with what it is to the whole."""
    if isinstance(node, _PASSING):
        yield node.this, level, kind
        return
    inner = max(level, _AGGREGATION if _aggregates(node) else _TRANSFORMATION)
    for key, value in node.args.items():
        role = kind or _role(node, key)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, exp.Expression):
                yield one, inner, role


def _aggregates(node: exp.Expression) -> bool:
    if isinstance(node, exp.Anonymous):
        return is_aggregate(node.name)
    return isinstance(node, exp.AggFunc | exp.WithinGroup) and not isinstance(node, _PICKING)


def _role(node: exp.Expression, key: str) -> str | None:
    """What a part decides over, where it is no part of the value."""
    match node:
        case exp.Window() if key in ("partition_by", "order", "spec"):
            return "window"
        case exp.If() if key == "this":
            return "conditional"
        case exp.Case() if key == "this":
            return "conditional"
        case exp.Filter() if key == "expression":
            return "filter"
        case exp.Order() if key == "expressions" and not isinstance(node.parent, exp.WithinGroup):
            return "sort"
        case _:
            return None


def _partner(
    node: exp.SetOperation, output: _Output, position: int, right: Sequence[_Output]
) -> _Output | None:
    """The output of the other side that goes into the same column."""
    if node.args.get("by_name"):
        return next((one for one in right if one.name == output.name), None)
    return right[position] if position < len(right) else None


def _inner_joins(node: exp.Select) -> Iterator[exp.Expression]:
    """Joins inside the parentheses of FROM."""
    from_ = node.args.get("from_")
    stack = [one.this for one in [*([from_] if from_ is not None else []),
                                  *(node.args.get("joins") or [])]]
    while stack:
        one = stack.pop()
        if isinstance(one, exp.Subquery) and not one.alias:
            stack.append(one.this)
        for join in one.args.get("joins") or [] if isinstance(
            one, exp.Table | exp.Subquery
        ) else []:
            yield join
            stack.append(join.this)
