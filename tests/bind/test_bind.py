"""What bind makes of a statement is that statement, for those columns that the caller may see.

Takes: golden.sql, same.sql, refused.yaml, hidden.yaml and a small mesh that DuckDB holds as well.
Gives: a failure where the bound form is another one, where DuckDB answers it differently from the
text, where an error says something else, or where a hidden column shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml

from gateway.errors import SqluiceError
from tests.bind.asking import Answer, answer, attempt, faults, shown
from tests.bind.combinations import combinations
from tests.bind.mesh import bound, columns_of, database, statements

BEYOND = "beyond DuckDB"

_GOLDEN = list(statements("golden.sql"))
GOLDEN = [
    (text, form, comment)
    for (text, comment), (form, _) in zip(_GOLDEN[::2], _GOLDEN[1::2], strict=True)
]
SAME = [text for text, _ in statements("same.sql")]
COMBINED = combinations()
HIDDEN = [
    (tuple(row["hidden"]), text) for row in yaml.safe_load(
        Path(__file__).with_name("hidden.yaml").read_text(encoding="utf-8")
    ) for text in row["statements"]
]
WORD = re.compile(r"\w+")
REFUSED = yaml.safe_load(Path(__file__).with_name("refused.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tables() -> Iterator[duckdb.DuckDBPyConnection]:
    with database() as connection:
        yield connection


@pytest.fixture(scope="module")
def answers() -> dict[str, Answer | None]:
    """What DuckDB has answered so far."""
    return {}


@pytest.fixture(scope="module")
def lacking() -> Iterator[dict[tuple[str, ...], duckdb.DuckDBPyConnection]]:
    """Per hidden columns the tables that never had them."""
    made = {hidden: database(*hidden) for hidden in {hidden for hidden, _ in HIDDEN}}
    yield made
    for one in made.values():
        one.close()


def _name(value: object) -> str:
    return str(value["sql"] if isinstance(value, dict) else value)[:70]


@pytest.mark.parametrize(("text", "form", "comment"), GOLDEN, ids=_name)
def test_golden(
    text: str, form: str, comment: str, tables: duckdb.DuckDBPyConnection
) -> None:
    made = bound(text)
    assert made.tree.sql("duckdb") == form
    assert list(faults(made)) == []
    again = bound(form)
    assert again.tree.sql("duckdb") == form
    assert (again.outputs, again.columns) == (made.outputs, made.columns)
    answered = answer(tables, form)
    assert answered is not None
    assert answered.names == made.outputs
    assert answer(tables, text) == (None if comment.startswith(BEYOND) else answered)


def _answer_to_bound(tables: duckdb.DuckDBPyConnection, text: str) -> Answer | None:
    made = attempt(text)
    if isinstance(made, SqluiceError):
        assert made.code != "internal"
        return None
    assert list(faults(made)) == []
    answered = answer(tables, made.tree.sql("duckdb"))
    assert answered is None or answered.names == made.outputs
    return answered


def test_same_answer(tables: duckdb.DuckDBPyConnection) -> None:
    wrong = []
    for text in SAME:
        expected = answer(tables, text)
        if expected is None or _answer_to_bound(tables, text) != expected:
            wrong.append(text)
    assert wrong == []
    assert len(SAME) >= 300


@pytest.mark.parametrize("source", COMBINED, ids=_name)
def test_combined(
    source: str, tables: duckdb.DuckDBPyConnection, answers: dict[str, Answer | None]
) -> None:
    wrong = []
    for text in COMBINED[source]:
        answers[text] = answer(tables, text)
        if _answer_to_bound(tables, text) != answers[text]:
            wrong.append(text)
    assert wrong == []


def test_combinations_are_answered(
    tables: duckdb.DuckDBPyConnection, answers: dict[str, Answer | None]
) -> None:
    """Most are answered; those that are not are refused by DuckDB too."""
    for texts in COMBINED.values():
        for one in texts:
            if one not in answers:
                answers[one] = answer(tables, one)
    answered = [one for one in answers.values() if one is not None]
    assert len(answered) >= 150
    assert len(answers) - len(answered) >= 50


def test_refused(tables: duckdb.DuckDBPyConnection) -> None:
    wrong = []
    for case in REFUSED:
        made = attempt(case["sql"])
        said = (made.code, made.message) if isinstance(made, SqluiceError) else made
        answers = answer(tables, case["sql"]) is not None
        if said != (case["code"], case["says"]) or answers != (case.get("duckdb") == "answers"):
            wrong.append((case["sql"], said, answers))
    assert wrong == []
    assert len(REFUSED) >= 200


@pytest.mark.parametrize(("hidden", "text"), HIDDEN, ids=_name)
def test_hidden_columns_do_not_exist(
    hidden: tuple[str, ...],
    text: str,
    tables: duckdb.DuckDBPyConnection,
    lacking: dict[tuple[str, ...], duckdb.DuckDBPyConnection],
) -> None:
    """Over tables that never had them DuckDB answers the text as the bound form over all."""
    made = attempt(text, hidden)
    assert shown(made) == shown(attempt(text, visible=columns_of(*hidden)))
    if isinstance(made, SqluiceError):
        said = f"{made.message} {made.hint or ''}".casefold()
        unwritten = {one.rsplit(".", 1)[1] for one in hidden} - set(WORD.findall(text.casefold()))
        assert not unwritten & set(WORD.findall(said))
        expected = None
    else:
        expected = answer(tables, made.tree.sql("duckdb"))
    assert answer(lacking[hidden], text) == expected


def test_the_hidden_columns_would_show() -> None:
    """The control: with the full contract many of these statements mean something else."""
    differing = [
        one for hidden, one in HIDDEN if shown(attempt(one)) != shown(attempt(one, hidden))
    ]
    assert len(HIDDEN) >= 100
    assert len(differing) >= 60
    for start in ("NATURAL", "USING", "EXCLUDE", "COLUMNS", "ORDER BY", "GROUP BY ALL", "AS A"):
        assert any(start in one.upper() for one in differing), start
