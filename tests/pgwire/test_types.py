"""Every type over the wire is what the same statement gives in process, in text and in binary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.pgwire.matrix import COLUMNS, MADE, expression, rows_sql
from tests.pgwire.small import Small, small
from tests.small_mesh import answer

ROWS = 60
NESTED = ("pair", "lists")


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    kept = {name: kind for name, (kind, _) in COLUMNS.items() if name not in MADE}
    columns = {"id": "INTEGER", **kept}
    with small(tmp_path_factory.mktemp("types"), rows_sql(ROWS), columns) as made:
        yield made


def told(name: str, value: Any) -> object:  # noqa: ANN401 - whatever a driver gives
    """A value in a form in which both can be compared."""
    if value is None:
        return None
    if name in NESTED:
        return value if isinstance(value, dict | list) else json.loads(value)
    if name == "document":
        return json.loads(value) if isinstance(value, str) else value
    if name == "code":
        return str(value)
    if isinstance(value, float):
        return repr(value)
    return int(value) if name == "widest_natural" else value


@pytest.mark.parametrize("how", ["text", "binary", "cursor", "copy"])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_column(held: Small, name: str, how: str) -> None:
    item = expression(name, "id") if name in MADE else name
    sql = f"SELECT {item} FROM shop.items ORDER BY id"
    wanted = [told(name, one) for one in answer(held.opened, "all", sql)[name].to_pylist()]
    assert None in wanted and len(set(map(repr, wanted))) > 1
    with held.connect(autocommit=False) as connection:
        found = values(connection, sql, how)
    if name == "real_number":
        # Text tells the shortest number that is the same one in 32 bits.
        assert [one if one is None else f"{one:.6e}" for one in found] == [
            one if one is None else f"{float(str(one)):.6e}" for one in wanted
        ]
        return
    assert [told(name, one) for one in found] == wanted


def values(connection: psycopg.Connection[Any], sql: str, how: str) -> list[Any]:
    if how == "copy":
        described = connection.execute(sql.encode()).description
        assert described is not None
        text = f"COPY ({sql}) TO STDOUT (FORMAT binary)".encode()
        with connection.cursor() as cursor, cursor.copy(text) as copy:
            copy.set_types([described[0].type_code])
            return [row[0] for row in copy.rows()]
    if how == "cursor":
        with connection.cursor("c", binary=True) as cursor:
            cursor.itersize = 7
            return [row[0] for row in cursor.execute(sql.encode())]
    with connection.cursor(binary=how == "binary") as cursor:
        return [row[0] for row in cursor.execute(sql.encode()).fetchall()]


@pytest.mark.parametrize("form", ["%t", "%b"])
def test_a_list_is_compared_at_a_source_that_has_lists(held: Small, form: str) -> None:
    with held.connect() as connection:
        for column, value, count in (("numbers", [1, None, -3], 20), ("lists", [[1, 2]], 0)):
            sql = f"SELECT count(*) FROM shop.items WHERE {column} = {form}"
            assert connection.execute(sql.encode(), (value,)).fetchall() == [(count,)]


def test_two_people_meet_different_rows(held: Small) -> None:
    for how in ("text", "binary", "cursor", "copy"):
        for user, count in (("all", ROWS), ("part", 5)):
            with held.connect(user, autocommit=False) as connection:
                found = values(connection, "SELECT id FROM shop.items ORDER BY id", how)
            assert found == list(range(count))
