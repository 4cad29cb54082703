"""The texts of TPC-DS, made fit to be compared.

Takes: a text as DuckDB's extension ships it, addresses. Gives: the same statement with one answer,
and over the addresses of the mesh. Never changes what it means.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp, parse_one


def determined(text: str, width: int) -> str:
    """A LIMIT cuts among rows that tie: where there is one, the order goes on over all outputs."""
    tree = parse_one(text, read="duckdb")
    if tree.args.get("limit") is None:
        return tree.sql("duckdb")
    order = tree.args.get("order") or exp.Order(expressions=[])
    places = [exp.Ordered(this=exp.Literal.number(one)) for one in range(1, width + 1)]
    tree.set("order", exp.Order(expressions=[*order.expressions, *places]))
    return tree.sql("duckdb")


def addressed(text: str, addresses: Mapping[str, str]) -> str:
    """The statement over the mesh, under the aliases that it had."""
    tree = parse_one(text, read="duckdb")
    defined = {one.alias for one in tree.find_all(exp.CTE)}
    for table in list(tree.find_all(exp.Table)):
        address = addresses.get(table.name)
        if address is not None and not table.db and table.name not in defined:
            made = exp.to_table(address, dialect="duckdb")
            alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name))
            made.set("alias", alias)
            table.replace(made)
    return tree.sql("duckdb")
