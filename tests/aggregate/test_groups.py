"""Tables that show groups only, through the whole pipeline and three kinds of source.

Takes: cases.yaml. Gives: answers against plain DuckDB over all rows, refusals with their reason,
and sequences of questions that would single somebody out. The controls show that without the rule
the same questions do.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.errors import InvalidConfig, SqluiceError
from gateway.opening import open_gateway
from tests.aggregate.mesh import KINDS, POLICY, Money, open_money, raw

CASES: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("cases.yaml").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def money(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Money]:
    made = open_money(tmp_path_factory.mktemp("money"))
    yield made
    made.opened.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Money]:
    """One whose ledgers are empty."""
    made = open_money(tmp_path)
    yield made
    made.opened.close()


def _sorted(rows: list[tuple[object, ...]]) -> list[str]:
    """DuckDB's whole numbers of 128 bits come as integers, the gateway's as decimals."""
    return sorted(
        repr([float(one) if isinstance(one, int | Decimal) else one for one in row]) for row in rows
    )


@pytest.mark.parametrize("push_down", [True, False], ids=["pushed", "pulled"])
@pytest.mark.parametrize("kind", KINDS)
def test_groups_are_those_of_all_rows_that_are_large_enough(
    fresh: Money, kind: str, push_down: bool
) -> None:
    for number, (user, sql, reference) in enumerate(CASES["answered"]):
        twin = f"{user}{number}"
        found = fresh.ask(twin, sql.replace("{t}", f"money.{kind}"), push_down=push_down)
        with raw() as connection:
            wanted = connection.execute(reference).fetchall()
        assert _sorted(found) == _sorted(wanted), sql


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("sql", "values", "reference"), CASES["parameters"])
def test_parameters(
    fresh: Money, kind: str, sql: str, values: list[object], reference: str
) -> None:
    found = fresh.ask("ada", sql.replace("{t}", f"money.{kind}"), parameters=tuple(values))
    with raw() as connection:
        assert _sorted(found) == _sorted(connection.execute(reference).fetchall())


@pytest.mark.parametrize(("sql", "word"), CASES["refused"], ids=str)
def test_what_could_show_a_row_is_refused(money: Money, sql: str, word: str) -> None:
    with pytest.raises(SqluiceError) as caught:
        money.ask("ada", sql.replace("{t}", "money.duckdb"))
    assert caught.value.code in ("unsupported_sql", "type_error")
    assert word in caught.value.message


def test_whoever_the_rule_leaves_alone_reads_rows(money: Money) -> None:
    """The control: the same statements are served where the rule does not hold."""
    served = 0
    for sql, _ in CASES["refused"]:
        try:
            money.ask("olga", sql.replace("{t}", "money.duckdb"))
        except SqluiceError:
            continue
        served += 1
    assert served >= 35


@pytest.mark.parametrize("case", CASES["differencing"], ids=lambda one: one["name"])
def test_two_answers_do_not_single_anybody_out(fresh: Money, case: dict[str, Any]) -> None:
    *before, last = (one.replace("{t}", "money.sqlite") for one in case["asked"])
    if "only_if" in case:
        with raw() as connection:
            assert connection.execute(case["only_if"]).fetchone() == (True,)
    for sql in before:
        assert fresh.ask("ada", sql)
    with pytest.raises(SqluiceError) as caught:
        fresh.ask("ada", last)
    assert caught.value.code == "access_denied"
    # Alone it is harmless: what is refused is the difference, and bea has a ledger of her own.
    assert fresh.ask("bea", last)
    # A refusal is no answer: it leaves nothing behind.
    for sql in before:
        assert fresh.ask("ada", sql)


@pytest.mark.parametrize("asked", CASES["harmless"])
def test_questions_may_be_repeated(fresh: Money, asked: list[str]) -> None:
    for sql in asked:
        assert fresh.ask("ada", sql.replace("{t}", "money.files"))


def test_ledgers_outlive_the_gateway(tmp_path: Path) -> None:
    before, last = CASES["differencing"][0]["asked"]
    first = open_money(tmp_path)
    assert first.ask("ada", before.replace("{t}", "money.duckdb"))
    config = first.opened.config
    first.opened.close()
    second = Money(open_gateway(config))
    with pytest.raises(SqluiceError) as caught:
        second.ask("ada", last.replace("{t}", "money.duckdb"))
    second.opened.close()
    assert caught.value.code == "access_denied"


def test_no_more_atoms_than_are_kept_apart(money: Money) -> None:
    with pytest.raises(SqluiceError) as caught:
        money.ask("sue", "select region, sum(amount) from money.duckdb group by region")
    assert caught.value.code == "limit_exceeded"
    few = "select count(*) from money.duckdb where region = 'east' and month = 1"
    assert money.ask("sue", few)


def test_state_holds_no_entity(money: Money) -> None:
    """Only salted digests: nobody is found by the digest of what he is known to be."""
    money.ask("ada", "select region, sum(amount) from money.duckdb group by region")
    with closing(sqlite3.connect(money.opened.config.state.removeprefix("sqlite:///"))) as state:
        rows = state.execute("SELECT content FROM aggregate_atoms").fetchall()
    held = [zlib.decompress(content) for (content,) in rows]
    assert sum(map(len, held)) % 32 == 0 and sum(map(len, held)) > 32 * 100
    for person in range(1, 61):
        plain = hashlib.blake2b(str(person).encode(), digest_size=16).digest()
        assert not any(plain in one for one in held)
    assert not any(b"north" in one for one in held)


def test_explain_shows_that_groups_are_made_and_no_bound(money: Money) -> None:
    rows = money.ask("ada", "explain select region, sum(amount) from money.sqlite group by region")
    text = "\n".join(str(one) for one in rows)
    assert "groups" in text and "<groups" in text
    assert "5" not in text


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("entity: person, minimum: 5, dimensions: [region, tier, month]}}\n---\nkind: Policy\nid: "
          "balanced", "entity: nobody, minimum: 5, dimensions: [region]}}\n---\nkind: Policy\nid: "
          "balanced"), "no column nobody"),
        (("dimensions: [region, tier, month], atoms", "dimensions: [region, colour], atoms"),
         "has no colour"),
        (("entity: person, minimum: 5, dimensions: [region, tier, month], atoms",
          "entity: month, minimum: 5, dimensions: [region, tier], atoms"), "different entities"),
        (("dimensions: [region, tier, month], atoms", "dimensions: [region, person], atoms"),
         "cannot be a dimension"),
    ],
)  # fmt: skip
def test_rules_that_cannot_hold_are_refused_at_load(
    tmp_path: Path, change: tuple[str, str], why: str
) -> None:
    assert change[0] in POLICY
    with pytest.raises(InvalidConfig) as caught:
        open_money(tmp_path, POLICY.replace(*change))
    assert why in str(caught.value)
