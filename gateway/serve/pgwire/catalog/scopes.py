"""What the names of a statement over the catalogs mean, and which types its expressions have.

Takes: a tree that `reading` made plain. Gives: relations, outputs of queries, PostgreSQL's types
by name; None where the type is DuckDB's to say. Never changes the tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from gateway.serve.pgwire.catalog.relations import Relation, relations
from gateway.serve.pgwire.faults import WireError

Outputs = list[tuple[str, str | None]]
_TYPES = {
    exp.DType.VARCHAR: "varchar", exp.DType.TEXT: "text", exp.DType.CHAR: "bpchar",
    exp.DType.BPCHAR: "bpchar", exp.DType.NAME: "name", exp.DType.INT: "int4",
    exp.DType.BIGINT: "int8", exp.DType.SMALLINT: "int2", exp.DType.BOOLEAN: "bool",
    exp.DType.DOUBLE: "float8", exp.DType.FLOAT: "float4", exp.DType.DECIMAL: "numeric",
}  # fmt: skip
_NAMES = {"integer": "int4", "bigint": "int8", "smallint": "int2", "boolean": "bool",
          "sql_identifier": "name", "cardinal_number": "int4", "character_data": "varchar",
          "yes_or_no": "varchar"}  # fmt: skip
_VECTORS = {"int2vector": "int2", "oidvector": "oid"}


def type_name(kind: exp.DataType) -> str:
    """PostgreSQL's name of a written type."""
    if kind.this == exp.DType.ARRAY:
        return "_" + type_name(kind.expressions[0]) if kind.expressions else "anyarray"
    if isinstance(kind, exp.ObjectIdentifier):
        return str(kind.this).lower()
    if kind.this == exp.DType.USERDEFINED:
        written = kind.args["kind"]
        name = (written.expression.name if isinstance(written, exp.Dot) else
                written.name if isinstance(written, exp.Expr) else str(written))  # fmt: skip
        name = name.rpartition(".")[2].strip('"').lower()
        if name.endswith("[]"):
            name = "_" + name[:-2]
        return _NAMES.get(name, name)
    return _TYPES.get(kind.this, kind.sql("postgres").lower())


def element_of(kind: str | None) -> str | None:
    """The type of the values of an array."""
    if kind in _VECTORS:
        return _VECTORS[kind]
    return kind[1:] if kind is not None and kind.startswith("_") else None


def relation_of(table: exp.Table) -> Relation | None:
    """The catalog's relation that a table names; None where it names another's."""
    schema = table.db
    if schema in ("", "pg_catalog") and ("pg_catalog", table.name) in relations():
        return relations()["pg_catalog", table.name]
    if schema == "information_schema":
        return relations().get((schema, table.name))
    return None


def tables_of(query: exp.Select) -> Iterator[exp.Table]:
    """The tables that stand in FROM, in parentheses too."""
    held = query.args.get("from_")
    nodes = [held.this] if held is not None else []
    nodes += [one.this for one in query.args.get("joins") or ()]
    while nodes:
        node = nodes.pop(0)
        nodes += [one.this for one in node.args.get("joins") or ()]
        if isinstance(node, exp.Subquery) and not node.alias:
            nodes.append(node.this)
        elif isinstance(node, exp.Table) and not isinstance(node.this, exp.Func):
            yield node


@dataclass(slots=True)
class Scopes:
    """Look-ups over one tree; `called` are the types of functions that were rewritten."""

    called: dict[int, str] = field(default_factory=dict)
    _outputs: dict[int, Outputs] = field(default_factory=dict)
    _asked: set[int] = field(default_factory=set)

    def cte_of(self, table: exp.Table) -> exp.CTE | None:
        """The definition that a bare name means, if one is in scope."""
        if table.db:
            return None
        node: exp.Expr | None = table
        while node is not None:
            with_ = node.args.get("with_")
            for cte in with_.expressions if with_ is not None else ():
                if isinstance(cte, exp.CTE) and cte.alias == table.name:
                    return cte
            node = node.parent
        return None

    def outputs(self, query: exp.Expr) -> Outputs:
        """Names and types of what a query gives."""
        kept = self._outputs.get(id(query))
        if kept is None:
            self._outputs[id(query)] = []  # a recursive definition meets itself
            kept = self._outputs[id(query)] = self._outputs_of(query)
        return kept

    def _outputs_of(self, query: exp.Expr) -> Outputs:
        match query:
            case exp.Subquery():
                return self.outputs(query.this)
            case exp.SetOperation():
                return self.outputs(query.this)
            case exp.Values():
                first = query.expressions[0]
                values = first.expressions if isinstance(first, exp.Tuple) else [first]
                return [(f"column{at}", self.type_of(one)) for at, one in enumerate(values, 1)]
            case exp.Select():
                return [one for each in query.expressions for one in self._projected(query, each)]
            case _:
                return []

    def _projected(self, query: exp.Select, one: exp.Expr) -> Outputs:
        if isinstance(one, exp.Star):
            return [(name, kind) for _, name, kind in self.starred(query)]
        if isinstance(one, exp.Column) and isinstance(one.this, exp.Star):
            found = [source for name, source in self.sources(query) if name == one.table]
            return found[0] if found else []
        return [(one.alias or output_name(one), self.type_of(one))]

    def forget(self) -> None:
        """What was found of queries before their functions had types."""
        self._outputs.clear()

    def starred(self, query: exp.Select) -> list[tuple[str, str, str | None]]:
        """What `*` stands for: table, column, type; no table where a join has merged columns."""
        joins = query.args.get("joins") or ()
        if not any(one.args.get("using") or one.method == "NATURAL" for one in joins):
            return [(at, *each) for at, source in self.sources(query) for each in source]
        first = query.args["from_"].this
        made = [(at, *each) for at, found in self._source(first) for each in found]
        for join in joins:
            right = [(at, *each) for at, found in self._source(join.this) for each in found]
            named = {one.name for one in join.args.get("using") or ()}
            if join.method == "NATURAL":
                named = {one[1] for one in made} & {one[1] for one in right}
            merged = [("", name, kind) for _, name, kind in made if name in named]
            made = [*merged, *(one for one in [*made, *right] if one[1] not in named)]
        return made

    def sources(self, query: exp.Select) -> Iterator[tuple[str, Outputs]]:
        """The tables of a SELECT, by their names there."""
        held = query.args.get("from_")
        nodes = [held.this] if held is not None else []
        nodes += [one.this for one in query.args.get("joins") or ()]
        nodes += query.args.get("laterals") or ()
        for node in nodes:
            yield from self._source(node)

    def _source(self, node: exp.Expr) -> Iterator[tuple[str, Outputs]]:
        for join in node.args.get("joins") or ():
            yield from self._source(join.this)
        if isinstance(node, exp.Subquery) and not node.alias:
            # Parentheses around a join.
            yield from self._source(node.this)
            return
        alias = node.args.get("alias")
        columns = [one.name for one in alias.args.get("columns") or ()] if alias else []
        inner = node.this if isinstance(node, exp.Lateral) else node
        found: Outputs
        match inner:
            case exp.Table() if isinstance(inner.this, exp.Func):
                found = self._function(inner.this)
            case exp.Table():
                found = self._table(inner)
            case exp.Unnest():
                kinds = [element_of(self.type_of(one)) for one in inner.expressions]
                found = [(node.alias, kind) for kind in kinds]
                offset = inner.args.get("offset")
                if offset is not None:
                    columns = [*columns, offset.name] if isinstance(offset, exp.Expr) else columns
                    found.append(("ordinality", "int8"))
            case exp.Subquery() | exp.Values():
                found = self.outputs(inner)
            case exp.Func():
                found = self._function(inner)
            case _:
                found = []
        named = [
            (columns[at] if at < len(columns) else name, kind)
            for at, (name, kind) in enumerate(found)
        ]
        yield node.alias_or_name or getattr(inner, "alias_or_name", ""), named

    def _function(self, call: exp.Func) -> Outputs:
        if isinstance(call, exp.Explode | exp.Unnest):
            return [("unnest", element_of(self.type_of(call.this)))]
        return [(output_name(call), self.called.get(id(call)))]

    def _table(self, table: exp.Table) -> Outputs:
        cte = self.cte_of(table)
        if cte is not None:
            names = [one.name for one in cte.args["alias"].args.get("columns") or ()]
            found = self.outputs(cte.this)
            if names and not found:
                return [(name, None) for name in names]
            return [
                (names[at] if at < len(names) else name, kind)
                for at, (name, kind) in enumerate(found)
            ]
        relation = relation_of(table)
        if relation is None:
            return []
        return [(one.name, one.type) for one in relation.attributes]

    def relation_of_alias(self, column: exp.Column) -> Relation | None:
        """The relation of the catalog that a column's table is; None where it is another."""
        node: exp.Expr | None = column.parent
        while node is not None:
            if isinstance(node, exp.Select):
                for table in tables_of(node):
                    if not column.table or table.alias_or_name == column.table:
                        return None if self.cte_of(table) is not None else relation_of(table)
            node = node.parent
        return None

    def type_of(self, node: exp.Expr | None) -> str | None:
        """The type of an expression."""
        if node is None:
            return None
        if id(node) in self.called:
            return self.called[id(node)]
        match node:
            case exp.Column():
                return self._column(node)
            case exp.Cast():
                return type_name(node.to)
            case exp.Min() | exp.Max():
                kind = self.type_of(node.this)
                return "text" if kind == "name" else kind
            case exp.Alias() | exp.Paren() | exp.Filter() | exp.Distinct():
                inner = node.expressions[0] if isinstance(node, exp.Distinct) else node.this
                return self.type_of(inner)
            case exp.Subquery():
                found = self.outputs(node.this)
                return found[0][1] if found else None
            case exp.Bracket() | exp.Explode():
                return element_of(self.type_of(node.this))
            case exp.Nullif() | exp.Window() | exp.Lag() | exp.Lead() | exp.FirstValue():
                return self.type_of(node.this)
            case exp.Null() | exp.DPipe() | exp.Parameter():
                return "text"
            case exp.Literal() if node.is_string:
                return "text"
            case _:
                return self._composed(node)

    def _composed(self, node: exp.Expr) -> str | None:
        """The type of what is made of others."""
        match node:
            case exp.Case():
                # As PostgreSQL does it: ELSE speaks first.
                arms = [node.args.get("default"), *(one.args["true"] for one in node.args["ifs"])]
                return self._first(arms)
            case exp.Coalesce():
                return self._first([node.this, *node.expressions])
            case exp.ArrayAgg():
                held = node.this.this if isinstance(node.this, exp.Order) else node.this
                kind = self.type_of(held)
                return f"_{kind}" if kind else None
            case exp.Array():
                if len(node.expressions) == 1 and isinstance(node.expressions[0], exp.Query):
                    found = self.outputs(node.expressions[0])
                    return f"_{found[0][1]}" if found and found[0][1] else None
                kind = self._first(node.expressions)
                return f"_{kind}" if kind else "_text"
            case _:
                return None

    def _first(self, nodes: list[exp.Expr | None]) -> str | None:
        known = [one for one in nodes if one is not None and not isinstance(one, exp.Null)]
        plain = [
            one
            for one in known
            if not isinstance(one, exp.Parameter)
            and not (isinstance(one, exp.Literal) and one.is_string)
        ]
        return self.type_of((plain or known or [exp.Null()])[0])

    def _column(self, column: exp.Column) -> str | None:
        # An argument of a function in FROM is looked up among what stands beside it.
        if id(column) in self._asked:
            return None
        self._asked.add(id(column))
        try:
            return self._looked_up(column)
        finally:
            self._asked.discard(id(column))

    def _looked_up(self, column: exp.Column) -> str | None:
        node: exp.Expr | None = column.parent
        while node is not None:
            if isinstance(node, exp.Select):
                for name, source in self.sources(node):
                    if column.table and name != column.table:
                        continue
                    for held, kind in source:
                        if held == column.name:
                            return kind
            node = node.parent
        return None


def output_name(node: exp.Expr) -> str:
    """What PostgreSQL calls an output that has no name."""
    found = _own_name(node)
    if found is not None:
        return found
    match node:
        case exp.Paren() | exp.Bracket():
            return output_name(node.this)
        case exp.Cast():
            return type_name(node.to)
        case exp.Case():
            return "case"
        case _:
            return "?column?"


def _own_name(node: exp.Expr | None) -> str | None:
    """The name that an expression brings along, which no cast around it changes."""
    match node:
        case exp.Alias():
            return node.alias
        case exp.Column() | exp.Dot():
            return node.name
        case exp.Paren() | exp.Bracket() | exp.Filter() | exp.Window() | exp.Cast():
            return _own_name(node.this)
        case exp.Case():
            return _own_name(node.args.get("default"))
        case exp.Subquery():
            select = node.this
            first = select.selects[0] if isinstance(select, exp.Query) and select.selects else None
            return output_name(first) if first is not None else None
        case exp.Anonymous():
            return node.name.lower()
        case exp.Array():
            return "array"
        case exp.Trim():
            return {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(node.text("position"), "btrim")
        case exp.And() | exp.Or() | exp.RegexpLike() | exp.RegexpILike():
            return None
        case exp.Func():
            return node.sql("postgres").partition("(")[0].lower()
        case _:
            return None


def refuse_unknown(table: exp.Table) -> WireError:
    """A table that is none of the catalog's."""
    name = f"{table.db}.{table.name}" if table.db else table.name
    if table.db in ("pg_catalog", "information_schema") or table.name.startswith("pg_"):
        return WireError(
            "0A000", f"The relation {name[:150]} of the catalog is not served.",
            "SHOW TABLES lists what you may query, DESCRIBE its columns.",
        )  # fmt: skip
    return WireError(
        "0A000", f"A statement reads the catalog or products, not both: {name[:150]} is no "
        "relation of the catalog.",
        "Ask the catalog first, the product then.",
    )  # fmt: skip
