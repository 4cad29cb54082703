"""Whether a query has one right answer.

Takes: a query's tree. Gives: yes only where every correct run gives the same multiset of rows,
floats aside. Never says yes to what it does not know: a check of such a query would blame a source
that is right.
"""

from __future__ import annotations

from sqlglot import exp

from gateway.volatile import is_volatile

# Which of several rows they take depends on the order in which rows come.
_BY_ORDER = (
    exp.AnyValue, exp.First, exp.Last, exp.ArgMax, exp.ArgMin, exp.ArrayAgg, exp.GroupConcat,
    exp.Mode, exp.ApproxDistinct, exp.ApproxQuantile, exp.TableSample,
)  # fmt: skip
_BY_ORDER_NAMES = frozenset(
    """
    any_value approx_count_distinct approx_quantile arbitrary arg_max arg_max_null arg_min
    arg_min_null array_agg first first_value json_group_array json_group_object last last_value
    list listagg max_by min_by mode string_agg
    """.split()
)
_WINDOWS = (exp.Sum, exp.Avg, exp.Count, exp.Min, exp.Max, exp.Rank, exp.DenseRank)


def is_determinate(tree: exp.Expression) -> bool:
    """Whether the query's answer is the same however its rows are ordered on the way."""
    if is_volatile(tree) or tree.find(*_BY_ORDER) is not None:
        return False
    return all(_is_fine(node) for node in tree.walk())


def _is_fine(node: exp.Expr) -> bool:
    match node:
        case exp.Anonymous():
            return node.name.lower() not in _BY_ORDER_NAMES
        case exp.Window():
            return isinstance(node.this, _WINDOWS) and node.args.get("spec") is None
        case exp.Distinct():
            return node.args.get("on") is None
        case exp.Join():
            return node.method not in ("ASOF", "POSITIONAL")
        case exp.Select() | exp.SetOperation():
            is_cut = any(node.args.get(key) for key in ("limit", "offset", "fetch"))
            return not is_cut or _orders_all(node)
        case _:
            return True


def _orders_all(query: exp.Query) -> bool:
    """Whether every output is a sort key, so that rows of one place are equal rows."""
    order = query.args.get("order")
    keys = {one.this.sql("duckdb") for one in order.expressions} if order is not None else set()
    for place, output in enumerate(query.selects, start=1):
        name = exp.column(exp.to_identifier(output.alias_or_name, quoted=True)).sql("duckdb")
        plain = output.alias_or_name
        if not keys & {str(place), name, plain, output.unalias().sql("duckdb")}:
            return False
    return bool(keys)
