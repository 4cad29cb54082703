"""No text harms: whatever it is, the answer is a statement or an error of ours, and soon.

Takes: shapes that nest or go on, and words in no order. Gives: a failure where anything but a
SqluiceError is raised, or where it takes too long. Texts run in a thread with a small stack.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest

from gateway.errors import SqluiceError, UnsupportedSql
from tests.parse.asking import cases, parsed

STACK = 2 << 20
SHAPES = {
    "FROM": lambda n: "FROM " * n + "t",
    "NOT": lambda n: "SELECT " + "NOT " * n + "a FROM t",
    "minus": lambda n: "SELECT " + "- " * n + "1",
    "sum": lambda n: "SELECT 1" + " + 1" * n,
    "power": lambda n: "SELECT 1" + " ** 1" * n,
    "concatenation": lambda n: "SELECT a" + " || a" * n,
    "cast": lambda n: "SELECT a" + "::INT" * n,
    "dots": lambda n: "SELECT a" + ".a" * n,
    "index": lambda n: "SELECT a" + "[1]" * n,
    "path": lambda n: "SELECT a" + " -> 'x'" * n,
    "lambda": lambda n: "SELECT " + "x -> " * n + "x",
    "type": lambda n: "SELECT a::INT" + "[]" * n,
    "union": lambda n: "SELECT 1" + " UNION ALL SELECT 1" * n,
    "join": lambda n: "SELECT 1 FROM a" + " JOIN a" * n + " ON true" * n,
    "interval": lambda n: "SELECT " + "INTERVAL " * n + "1 DAY",
    "case": lambda n: "SELECT " + "CASE WHEN a THEN " * n + "1" + " END" * n,
    "if": lambda n: "SELECT " + "IF a THEN " * n,
    "parenthesis": lambda n: "SELECT " + "(" * n + "1" + ")" * n,
    "END": lambda n: "SELECT " + "( END " * n + "1",
    "list": lambda n: "SELECT " + "[" * n + "1" + "]" * n,
    "struct": lambda n: "SELECT " + "{a:" * n + "1" + "}" * n,
    "query": lambda n: "SELECT " + "(SELECT " * n + "1" + ")" * n,
    "derived": lambda n: "SELECT * FROM " + "(SELECT * FROM " * n + "t" + ")" * n,
    "call": lambda n: "SELECT " + "abs(" * n + "1" + ")" * n,
    "collation": lambda n: "SELECT a" + " COLLATE nocase" * n,
    "array": lambda n: "SELECT " + "ARRAY " * n + "[1]",
    "explain": lambda n: "EXPLAIN " * n + "SELECT 1",
    "describe": lambda n: "DESCRIBE " * n + "SELECT 1",
    "comment": lambda n: "SELECT " + "/*" * n + "*/" * n + "1",
    "parameters": lambda n: "SELECT " + "?, " * n + "1",
    "name": lambda n: "SELECT " + "a" * n * 20 + " FROM t",
}
WORDS = """
SELECT FROM WHERE NOT AND OR IN IS NULL LIKE BETWEEN CASE WHEN THEN ELSE END ( ) [ ] { } , . : ::
-> ->> => := = < > + - * / % ** ^ ~ ! @ || && | & << a t x 1 'b' "q" JOIN LEFT ON USING UNION ALL
WITH AS ORDER BY GROUP HAVING LIMIT OFFSET DISTINCT EXISTS ANY INTERVAL DAY DATE CAST TRY_CAST INT
OVER PARTITION ROWS UNBOUNDED FILTER VALUES LATERAL UNNEST abs sum f ? $1 LAMBDA FOR IF STRUCT MAP
ARRAY COLLATE ESCAPE EXTRACT YEAR AT TIME ZONE RECURSIVE QUALIFY WINDOW COLUMNS EXCLUDE REPLACE
TABLE ASC DESC NULLS FIRST ROW PIVOT GLOB SIMILAR TO ILIKE NATURAL CROSS ASOF SEMI ANTI EXCEPT
INTERSECT GROUPING SETS ROLLUP CUBE DEFAULT ; ' " $$ /* */ -- # EXPLAIN SHOW SET DESCRIBE \\
""".split()


def _run(work: Callable[[], object]) -> list[BaseException]:
    """What the work raised, in a thread with a small stack."""
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except SqluiceError:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the failure
            raised.append(error)

    before = threading.stack_size(STACK)
    try:
        thread = threading.Thread(target=guarded)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join(120)
    assert not thread.is_alive()
    return raised


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [240, 1_000, 10_000])
def test_shapes(shape: str, size: int) -> None:
    began = time.monotonic()
    assert _run(lambda: parsed(SHAPES[shape](size))) == []
    assert time.monotonic() - began < 100


def test_deep_statements_are_served() -> None:
    for sql in (
        "SELECT " + "CASE WHEN a THEN " * 60 + "1" + " END" * 60,
        "SELECT 1" + " + 1" * 200,
        "SELECT " + "(SELECT " * 60 + "1" + ")" * 60,
        "SELECT 1" + " UNION ALL SELECT 1" * 200,
    ):
        assert parsed(sql).tree is not None


def test_long_filters_are_served() -> None:
    chain = " OR ".join(f"(a = {n} AND b = 'x{n}')" for n in range(3_000))
    made = parsed(f"SELECT * FROM t WHERE {chain}")
    assert made.tree is not None
    assert made.tree.sql("duckdb") == f"SELECT * FROM t WHERE {chain}"
    assert parsed(f"SELECT * FROM t WHERE a IN ({', '.join(map(str, range(20_000)))})").tree


@pytest.mark.parametrize(
    "sql", ["SELECT '" + "a" * 1_000_000 + "'", "SELECT " + "1," * 60_000 + "1"]
)
def test_texts_that_are_too_long(sql: str) -> None:
    with pytest.raises(UnsupportedSql):
        parsed(sql)


def test_words_in_any_order() -> None:
    """Words of known statements, shuffled, dropped, doubled; and words at random."""
    chance = random.Random(7)
    known = [one["sql"].split() for one in cases("accepted.yaml") + cases("refused.yaml")]
    texts: list[str] = []

    def work() -> None:
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            words = list(chance.choice(known))
            for _ in range(chance.randint(1, 4)):
                position = chance.randrange(len(words) + 1)
                match chance.randrange(4):
                    case 0:
                        words.insert(position, chance.choice(WORDS))
                    case 1:
                        del words[position:position + 1]
                    case 2:
                        words[position:position] = chance.choice(known)[:4]
                    case _:
                        chance.shuffle(words)
            texts.append(" ".join(words))
            try:
                parsed(texts[-1])
            except SqluiceError as error:
                assert "\x1b" not in error.message
                assert "sqlglot" not in error.message

    assert _run(work) == [], texts[-1]
    assert len(texts) > 200
