"""The text of what the merge runs.

Takes: a tree over a draft's inputs. Gives: the same over the inputs that are fetched, and its SQL
with parameters of its own numbers. Never changes the tree that it is given, unless told that
nobody needs it any longer.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from gateway.trees import DUCKDB, last_text


def renamed(tree: exp.Expression, stands_for: Mapping[str, str]) -> exp.Expression:
    """The tree over the inputs that are fetched, under the aliases that it had."""
    if all(name == first for name, first in stands_for.items()):
        return tree
    made = tree.copy()
    for table in made.find_all(exp.Table):
        first = stands_for.get(table.name, table.name)
        if first != table.name:
            alias = exp.to_identifier(table.alias_or_name, quoted=True)
            table.set("alias", table.args.get("alias") or exp.TableAlias(this=alias))
            table.set("this", exp.to_identifier(first, quoted=True))
    return made


def merge_sql(
    tree: exp.Expression, is_last: bool = False
) -> tuple[str, tuple[int, ...]]:
    """The merge's SQL with its parameters numbered anew, and their old numbers.

    is_last: nobody needs the tree any longer, so that it is written itself.
    """
    if tree.find(exp.Parameter) is None:
        return (last_text(tree) if is_last else tree.sql(DUCKDB)), ()
    copy = tree if is_last else tree.copy()
    used: list[int] = []
    for node in list(copy.find_all(exp.Parameter)):
        number = int(node.name)
        if number not in used:
            used.append(number)
        node.this.replace(exp.Literal.number(used.index(number) + 1))
    return last_text(copy), tuple(used)
