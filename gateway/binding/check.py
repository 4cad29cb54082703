"""The postcondition of bind, by code of its own.

Takes: a bound tree and the visible columns. Gives: which columns of which table it reads. Raises
InternalError where anything in the tree is not bound: bind fails closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

from gateway.binding.scopes import Visible
from gateway.errors import InternalError
from gateway.resolve import Address


@dataclass(frozen=True, slots=True)
class _Source:
    names: frozenset[str]
    address: Address | None = None


Frame = Mapping[str, _Source]


def columns_read(tree: exp.Expression, visible: Visible) -> Mapping[Address, frozenset[str]]:
    """Per table the columns that the bound tree reads; InternalError for an unbound name."""
    checker = _Checker(visible)
    checker.query(tree, (), {})
    return {address: frozenset(names) for address, names in checker.read.items()}


def _fail(what: str, node: exp.Expression) -> InternalError:
    return InternalError("The names of this statement could not be bound.",
                         private=f"{what}: {node.sql('duckdb')}")


class _Checker:
    def __init__(self, visible: Visible) -> None:
        self._names = {
            address: frozenset(name for name, _ in columns)
            for address, columns in visible.items()
        }
        self.read: dict[Address, set[str]] = {address: set() for address in visible}

    def query(
        self, node: exp.Expression, outer: tuple[Frame, ...], ctes: Mapping[str, frozenset[str]]
    ) -> frozenset[str]:
        """Check a query; gives the names of its outputs."""
        ctes = self._ctes(node, outer, ctes)
        match node:
            case exp.Select():
                return self._select(node, outer, ctes)
            case exp.SetOperation():
                names = self.query(node.this, outer, ctes)
                self.query(node.expression, outer, ctes)
            case exp.Subquery():
                names = self.query(node.this, outer, ctes)
            case _:
                raise _fail("no query", node)
        for key in ("order", "limit", "offset"):
            if node.args.get(key) is not None:
                self._expression(node.args[key], outer, ctes, names)
        return names

    def _ctes(
        self, node: exp.Expression, outer: tuple[Frame, ...], ctes: Mapping[str, frozenset[str]]
    ) -> Mapping[str, frozenset[str]]:
        with_ = node.args.get("with_")
        if with_ is None:
            return ctes
        known = dict(ctes)
        for cte in with_.expressions:
            body = cte.this
            if with_.recursive and isinstance(body, exp.SetOperation):
                inner = self._ctes(body, outer, known)
                known[cte.alias] = self.query(body.this, outer, inner)
            known[cte.alias] = self.query(body, outer, known)
        return known

    def _select(
        self, node: exp.Select, outer: tuple[Frame, ...], ctes: Mapping[str, frozenset[str]]
    ) -> frozenset[str]:
        names = []
        for one in node.expressions:
            if not isinstance(one, exp.Alias) or not one.args["alias"].args.get("quoted"):
                raise _fail("an output without an alias", one)
            names.append(one.alias)
        frame: dict[str, _Source] = {}
        frames = (*outer, frame)
        from_ = node.args.get("from_")
        items = [from_] if from_ is not None else []
        for item in [*items, *(node.args.get("joins") or [])]:
            self._item(item.this, frame, frames, ctes)
        for join in self._joins(node):
            if join.args.get("using") or join.args.get("method") == "NATURAL":
                raise _fail("a join by name", join)
            if join.args.get("on") is not None:
                self._expression(join.args["on"], frames, ctes)
        outputs = frozenset(names)
        for key, value in node.args.items():
            if key in ("from_", "joins", "with_"):
                continue
            may_name = outputs if key in ("order", "distinct") else frozenset()
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, exp.Expression):
                    self._expression(one, frames, ctes, may_name)
        return outputs

    def _joins(self, node: exp.Expression) -> Iterator[exp.Expression]:
        from_ = node.args.get("from_")
        stack = [from_.this] if from_ is not None else []
        for join in node.args.get("joins") or []:
            yield join
            stack.append(join.this)
        while stack:
            one = stack.pop()
            if isinstance(one, exp.Subquery) and not one.alias:
                stack.append(one.this)
            for join in one.args.get("joins") or [] if isinstance(
                one, exp.Table | exp.Subquery
            ) else []:
                yield join
                stack.append(join.this)

    def _item(
        self, node: exp.Expression, frame: dict[str, _Source], frames: tuple[Frame, ...],
        ctes: Mapping[str, frozenset[str]],
    ) -> None:
        self._head(node, frame, frames, ctes)
        for join in node.args.get("joins") or []:
            self._item(join.this, frame, frames, ctes)

    def _head(
        self, node: exp.Expression, frame: dict[str, _Source], frames: tuple[Frame, ...],
        ctes: Mapping[str, frozenset[str]],
    ) -> None:
        if isinstance(node, exp.Subquery) and not node.alias:
            self._item(node.this, frame, frames, ctes)
            return
        alias = node.args.get("alias")
        if alias is None or not alias.this or not alias.this.args.get("quoted"):
            raise _fail("a source without an alias", node)
        if node.alias in frame:
            raise _fail("two sources of one name", node)
        frame[node.alias] = self._source(node, frames, ctes)

    def _source(
        self, node: exp.Expression, frames: tuple[Frame, ...],
        ctes: Mapping[str, frozenset[str]],
    ) -> _Source:
        match node:
            case exp.Table() if not isinstance(node.this, exp.Func):
                address = node.meta.get("address")
                if isinstance(address, Address):
                    return _Source(self._names[address], address)
                if node.name not in ctes or node.args.get("db"):
                    raise _fail("an unknown table", node)
                return _Source(ctes[node.name])
            case exp.Subquery():
                return _Source(self.query(node.this, frames, ctes))
            case exp.Lateral() if isinstance(node.this, exp.Subquery):
                return _Source(self.query(node.this.this, frames, ctes))
            case exp.Table() | exp.Unnest() | exp.Values():
                for one in [node.this] if isinstance(node, exp.Table) else node.expressions:
                    self._expression(one, frames, ctes)
                names = [one.name for one in node.args["alias"].columns]
                offset = node.args.get("offset")
                if isinstance(offset, exp.Identifier):
                    names.append(offset.name)
                return _Source(frozenset(names))
            case _:
                raise _fail("an unknown source", node)

    def _expression(
        self, node: exp.Expression, frames: tuple[Frame, ...],
        ctes: Mapping[str, frozenset[str]], outputs: frozenset[str] = frozenset(),
    ) -> None:
        stack = [node]
        while stack:
            one = stack.pop()
            if isinstance(one, exp.Query):
                self.query(one, frames, ctes)
                continue
            if isinstance(one, exp.Column):
                self._column(one, frames, outputs)
                continue
            if isinstance(one, exp.Collate):
                # Its name is one of the list that parse allows, however it is written.
                stack.append(one.this)
                continue
            if isinstance(one, exp.Star) and not isinstance(one.parent, exp.Count):
                raise _fail("a star", one)
            if isinstance(one, _UNBOUND):
                raise _fail("an unbound name", one)
            if isinstance(one, exp.Identifier) and not _is_known(one):
                raise _fail("an identifier", one)
            stack.extend(one.iter_expressions())

    def _column(
        self, node: exp.Column, frames: tuple[Frame, ...], outputs: frozenset[str]
    ) -> None:
        table = node.args.get("table")
        name = node.args["this"]
        if not isinstance(name, exp.Identifier) or not name.args.get("quoted"):
            raise _fail("a column that is not quoted", node)
        if table is None:
            if name.name not in outputs:
                raise _fail("a column without a table", node)
            return
        if node.args.get("db") or not table.args.get("quoted"):
            raise _fail("a column with a path", node)
        for frame in reversed(frames):
            source = frame.get(table.name)
            if source is None:
                continue
            if name.name not in source.names:
                raise _fail("a column that its source lacks", node)
            if source.address is not None:
                self.read[source.address].add(name.name)
            return
        raise _fail("a column of no source", node)


_UNBOUND = (exp.Columns, exp.TableColumn, exp.PositionalColumn, exp.Aliases, exp.Pivot)


def _is_known(node: exp.Identifier) -> bool:
    """Identifiers that name no column: aliases, keys, fields, parameters, windows."""
    parent, key = node.parent, node.arg_key
    match parent:
        case exp.Alias() | exp.TableAlias() | exp.Window():
            return key in ("alias", "this", "columns")
        case exp.PropertyEQ() | exp.Kwarg() | exp.ColumnDef():
            return key == "this"
        case exp.Dot():
            if key == "expression":
                return bool(node.args.get("quoted"))
            return _is_parameter(node)
        case exp.Lambda() if key == "expressions":
            return True
        case exp.Comprehension() if key in ("expression", "position"):
            return True
        case exp.DataType() | exp.DataTypeParam():
            return True
        case _:
            return _is_parameter(node)


def _is_parameter(node: exp.Identifier) -> bool:
    name = node.name.casefold()
    around = node.find_ancestor(exp.Lambda, exp.Comprehension)
    while around is not None:
        if isinstance(around, exp.Lambda):
            names = list(around.expressions)
        else:
            names = [around.expression, around.args.get("position")]
        if any(one is not None and one.name.casefold() == name for one in names):
            return True
        around = around.find_ancestor(exp.Lambda, exp.Comprehension)
    return False
