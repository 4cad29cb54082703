"""The lists of functions against those that DuckDB has.

Takes: duckdb_functions(). Gives: a failure where a function that is on no list can be called, or
a list names what does not exist.
"""

from __future__ import annotations

import duckdb
import pytest
from sqlglot import exp

from gateway import functions as lists
from gateway.errors import SqluiceError
from tests.parse.asking import parsed

# What the binder makes of syntax, and what stands in its grammar rather than in its catalog.
SYNTAX = set(
    "cast coalesce current_time current_timestamp extract grouping grouping_id ifnull not try "
    "try_cast".split()
)
NEVER = """
stats query query_table current_query current_query_id getvariable nextval currval setval error
sleep_ms write_log pg_get_viewdef pg_get_constraintdef pg_get_expr current_setting read_csv
read_parquet read_json read_text read_blob glob random setseed uuid uuidv4 uuidv7 gen_random_uuid
version current_database current_schema current_schemas current_user session_user txid_current
in_search_path vector_type test_all_types json_serialize_plan json_execute_serialized_sql
like_escape not_like_escape ilike_escape create_sort_key alias hive_partition_component
parse_duckdb_log_message pg_sleep assert_true current_connection_id current_transaction_id
""".split()
PLACES = (
    "SELECT {}",
    "SELECT 1 FROM t WHERE {} IS NULL",
    "SELECT 1 FROM t JOIN u ON {} = 1",
    "SELECT 1 FROM t GROUP BY {}",
    "SELECT 1 FROM t ORDER BY {}",
    "SELECT abs({}) OVER (PARTITION BY {})",
    "VALUES ({})",
    "WITH c AS (SELECT {}) SELECT 1",
    "SELECT list_transform([1], lambda x: {})",
    "SELECT * FROM t, LATERAL (SELECT {}) l",
    "SELECT (SELECT {} LIMIT 1)",
    "SELECT {}::VARCHAR",
    "SELECT * FROM unnest([{}])",
    "DESCRIBE SELECT {}",
    "EXPLAIN SELECT {}",
)


def _of_duckdb(*kinds: str) -> set[str]:
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() "
            "WHERE list_contains(?, function_type)",
            [list(kinds)],
        ).fetchall()
    return {name for (name,) in rows}


CALLABLE = sorted(
    one for one in _of_duckdb("scalar", "aggregate", "macro", "window")
    if one.casefold() not in lists.functions()
)
TABLES = sorted(
    one for one in _of_duckdb("table", "table_macro", "pragma")
    if not lists.is_table_function(one)
)


def _is_refused(sql: str) -> bool:
    try:
        parsed(sql)
    except SqluiceError:
        return True
    return False


def test_functions_on_no_list_are_refused() -> None:
    """As they are written, quoted, over a column, of two arguments, and in capitals."""
    served = []
    for name in CALLABLE:
        quoted = f'"{name}"'
        words = [quoted] if not name.replace("_", "a").isalnum() else [name, name.upper(), quoted]
        for call in words:
            for arguments in ("()", "(a)", "('a', b)"):
                if not _is_refused(f"SELECT {call}{arguments} FROM t"):
                    served.append(f"{call}{arguments}")
    assert served == []


def test_table_functions_on_no_list_are_refused() -> None:
    served = [
        f"{name}{arguments}"
        for name in TABLES
        for arguments in ("()", "('a')", "('a', 1)")
        for source in ("", "t, LATERAL ")
        if not _is_refused(f'SELECT * FROM {source}"{name}"{arguments} x')
    ]
    assert len(TABLES) > 90
    assert served == []


@pytest.mark.parametrize("name", NEVER)
def test_functions_that_must_never_be_served(name: str) -> None:
    assert not lists.is_allowed(name)
    assert not lists.is_table_function(name)
    for place in PLACES:
        call = f"{name}('x')"
        assert _is_refused(place.replace("{}", call)), place


def test_lists_name_what_exists() -> None:
    kinds = ("scalar", "aggregate", "macro", "window", "table")
    known = {one.casefold() for one in _of_duckdb(*kinds)}
    assert lists.functions() - known == SYNTAX


def test_lists_agree_with_one_another() -> None:
    for name in lists.functions():
        limit, pattern = lists.size_limit(name), lists.pattern_position(name)
        assert limit is None or limit[1] > 0
        assert pattern is None or pattern == 1
    assert all(lists.is_allowed(one) for one in ("list_aggregate", "printf", "repeat", "range"))
    total = [one for one in lists.functions() if lists.is_total(one)]
    assert {"coalesce", "lower", "contains"} <= set(total)
    assert not {"cast", "regexp_matches", "strptime", "sum"} & set(total)


def test_node_classes_exist() -> None:
    table = lists._table("nodes.toml")
    names = [*str(table["functions"]).split(), *lists._section("parts", "nodes.toml")]
    for name in names:
        kind = getattr(exp, name)
        parts = lists.parts_of(name)
        assert parts is None or parts <= set(kind.arg_types)
        assert (parts is None) == lists.is_function_node(name)
