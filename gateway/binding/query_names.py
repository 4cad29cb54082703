"""Sub-queries in the names that DuckDB gives to outputs.

Takes: a query before it is bound, and the writer of expressions. Gives: the text that DuckDB
would write for it; what is rare is written by its tree, the same each time. Never changes a tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sqlglot import exp

from gateway.binding.keywords import needs_quotes

Writer = Callable[[object], str]

_SELECT = {"expressions", "from_", "joins", "where", "group", "having", "qualify", "distinct",
           "order", "limit", "offset", "windows"}  # fmt: skip
_TAIL = {"order", "limit", "offset"}


def quoted(name: str) -> str:
    """The name as DuckDB writes it in an expression."""
    return '"' + name.replace('"', '""') + '"' if needs_quotes(name) else name


def query_text(node: exp.Expression, text: Writer) -> str:
    """A query in parentheses."""
    query = node.this if isinstance(node, exp.Subquery) and not _others(node, {"this"}) else node
    written = _query(query, text)
    return f"({query.sql('duckdb') if written is None else written})"


def order_text(node: exp.Expression, text: Writer) -> str:
    """An ORDER BY."""
    keys = []
    for one in node.expressions:
        if not isinstance(one, exp.Ordered):
            keys.append(text(one))
            continue
        key = _order_key(one.this, text) + (" DESC" if one.args.get("desc") else "")
        if one.args.get("nulls_first"):
            key += " NULLS FIRST"
        keys.append(key)
    return "ORDER BY " + ", ".join(keys)


def _order_key(node: exp.Expression, text: Writer) -> str:
    is_all = isinstance(node, exp.Var) and node.name.upper() == "ALL"
    return "COLUMNS(*)" if is_all else text(node)


def _others(node: exp.Expression, known: set[str]) -> set[str]:
    return {key for key, value in node.args.items() if value} - known


def _query(query: exp.Expression, text: Writer) -> str | None:
    """None where the query has a part that is not written here."""
    with_ = query.args.get("with_")
    before = "" if with_ is None else _with(with_, text)
    known = {"with_"}
    if isinstance(query, exp.SetOperation) and not _others(
        query, known | _TAIL | {"this", "expression", "distinct"}
    ):
        word = query.key.upper() + ("" if query.args.get("distinct") else " ALL")
        sides = f"{query_text(query.this, text)} {word} {query_text(query.expression, text)}"
        return before + " ".join([sides, *_tail(query, text)])
    if isinstance(query, exp.Select) and not _others(query, known | _SELECT):
        return before + " ".join(_select(query, text))
    if isinstance(query, exp.Values) and not _others(query, _TAIL | {"expressions", "alias"}):
        rows = ", ".join(_row(one, text) for one in query.expressions)
        return " ".join([f"SELECT * FROM (VALUES {rows}) AS valueslist", *_tail(query, text)])
    return None


def _row(node: exp.Expression, text: Writer) -> str:
    return f"({_list(node.expressions if isinstance(node, exp.Tuple) else [node], text)})"


def _with(node: exp.Expression, text: Writer) -> str:
    ctes = [
        f"{quoted(one.alias)}{_names(one)} AS {query_text(one.this, text)}"
        for one in node.expressions
    ]
    return f"WITH {'RECURSIVE ' if node.args.get('recursive') else ''}{', '.join(ctes)} "


def _select(query: exp.Select, text: Writer) -> Iterator[str]:
    yield "SELECT"
    distinct = query.args.get("distinct")
    if distinct is not None:
        on = distinct.args.get("on")
        keys = on.expressions if isinstance(on, exp.Tuple) else [on]
        yield "DISTINCT" if on is None else f"DISTINCT ON ({_list(keys, text)})"
    yield ", ".join(_projection(one, text) for one in query.expressions) or "*"
    if query.args.get("from_") is not None:
        yield f"FROM {_from(query, text)}"
    yield from _conditions(query, text)
    yield from _tail(query, text)


def _conditions(query: exp.Select, text: Writer) -> Iterator[str]:
    if query.args.get("where") is not None:
        yield f"WHERE {text(query.args['where'].this)}"
    group = query.args.get("group")
    if group is not None:
        yield "GROUP BY " + ("ALL" if group.args.get("all") else _list(
            [*group.expressions, *_grouping(group)], text))
    for word in ("having", "qualify"):
        if query.args.get(word) is not None:
            yield f"{word.upper()} {text(query.args[word].this)}"


def _grouping(group: exp.Expression) -> Iterator[exp.Expression]:
    for key in ("grouping_sets", "rollup", "cube"):
        yield from group.args.get(key) or []


def _tail(query: exp.Expression, text: Writer) -> Iterator[str]:
    if query.args.get("order") is not None:
        yield order_text(query.args["order"], text)
    for word in ("limit", "offset"):
        clause = query.args.get(word)
        if clause is not None:
            value = clause.args.get("expression")
            yield f"{word.upper()} {text(value)}" if value else clause.sql("duckdb").strip()


def _list(nodes: Sequence[exp.Expression], text: Writer) -> str:
    return ", ".join(text(one) for one in nodes)


def star_text(node: exp.Expression, text: Writer) -> str:
    """`*` with its EXCLUDE, REPLACE and RENAME."""
    parts = ["*"]
    for key, word in (("except_", "EXCLUDE"), ("replace", "REPLACE"), ("rename", "RENAME")):
        if node.args.get(key):
            parts.append(f"{word} ({', '.join(_projection(one, text) for one in node.args[key])})")
    pattern = node.args.get("ilike")
    return f"(* ~~* {text(pattern)})" if pattern is not None else " ".join(parts)


def _projection(node: exp.Expression, text: Writer) -> str:
    if isinstance(node, exp.Alias):
        return f"{text(node.this)} AS {quoted(node.alias)}"
    return text(node)


def _from(query: exp.Select, text: Writer) -> str:
    """Joins in parentheses, one around the other; a comma binds weaker."""
    return _joined(query.args["from_"].this, query.args.get("joins") or [], text)


def _joined(head: exp.Expression, joins: Sequence[exp.Expression], text: Writer) -> str:
    items = [_source(head, text)]
    for join in joins:
        right = _source(join.this, text)
        words = [join.text(key).upper() for key in ("method", "side", "kind")]
        if not any([*words, join.args.get("on"), join.args.get("using")]):
            items.append(right)
            continue
        if words[2] in ("", "OUTER"):
            words[2] = "" if words[1] else "INNER"
        written = " ".join([*(word for word in words if word), "JOIN", right])
        if join.args.get("on") is not None:
            written += f" ON ({text(join.args['on'])})"
        elif join.args.get("using"):
            written += f" USING ({', '.join(quoted(one.name) for one in join.args['using'])})"
        items[-1] = f"({items[-1]} {written})"
    return " , ".join(items)


def _source(node: exp.Expression, text: Writer) -> str:
    if node.args.get("joins"):
        plain = node.copy()
        plain.set("joins", None)
        return _joined(plain, node.args["joins"], text)
    if isinstance(node, exp.Lateral) and isinstance(node.this, exp.Subquery):
        return _aliased(_source(node.this, text), node)
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table | exp.Subquery):
        inner = _source(node.this, text)
        return _aliased(f"(SELECT * FROM {inner})" if node.alias else inner, node)
    if isinstance(node, exp.Subquery) and not _others(node, {"this", "alias"}):
        return _aliased(query_text(node.this, text), node)
    if isinstance(node, exp.Values):
        return _aliased(query_text(node, text), node)
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
        return node.sql("duckdb")
    written = node.meta.get("written") or [part.name for part in node.parts]
    name = ".".join(quoted(part) for part in written)
    return name if node.meta.get("implicit_alias") else _aliased(name, node)


def _aliased(text: str, node: exp.Expression) -> str:
    return f"{text} AS {quoted(node.alias)}{_names(node)}" if node.alias else text


def _names(node: exp.Expression) -> str:
    alias = node.args.get("alias")
    names = [quoted(one.name) for one in alias.columns] if alias is not None else []
    return f"({', '.join(names)})" if names else ""
