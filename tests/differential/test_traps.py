"""The semantic traps of push-down, over every kind and flavour of source.

Takes: traps.yaml, the mesh of `traps_mesh`. Gives: equality with plain DuckDB for whoever sees
everything, whoever a filter narrows and whoever meets masks, pushed and pulled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from tests.differential.compare import assert_same, is_ordered
from tests.differential.traps_mesh import EMBEDDED, TrapsMesh, open_traps
from tests.sample import SampleMesh

TRAPS: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("traps.yaml").read_text(encoding="utf-8")
)
MANY = {
    "many": ", ".join(str(number) for number in range(-300, 800)),
    "texts": ", ".join(f"'x{number}'" for number in range(600)) + ", 'a', 'É'",
}
WAYS = (("open", True), ("open", False), ("narrow", True), ("masked", True))
CASES = [(one, sql) for one in TRAPS for sql in one.get("sql", ())]


@pytest.fixture(scope="session")
def traps(sample: SampleMesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrapsMesh]:
    """The mesh, on the server that the sample mesh has started."""
    made = open_traps(tmp_path_factory.mktemp("traps"), sample.server)
    yield made
    made.close()


def test_every_trap_has_its_place() -> None:
    """All 45 are here, each with statements or with the reason why it has none."""
    assert sorted({one["trap"] for one in TRAPS}) == list(range(1, 46))
    assert all(one.get("sql") or one.get("not_here") for one in TRAPS)


def _products(case: dict[str, Any], traps: TrapsMesh) -> list[str]:
    over = case.get("over", [*EMBEDDED, "bytes"])
    return [one for one in traps.products if over == "text" or one in over]


@pytest.mark.parametrize(
    ("case", "sql"), CASES, ids=[f"{one['trap']}-{sql[:60]}" for one, sql in CASES]
)
def test_one_answer(case: dict[str, Any], sql: str, traps: TrapsMesh) -> None:
    """Pushed, pulled and plain DuckDB agree, for every source and every user."""
    zone = case.get("timezone", "UTC")
    for product in _products(case, traps):
        text = sql.format(t=f"traps.{product}.probe", **MANY)
        for user, push_down in WAYS:
            connection = traps.reference[user]
            connection.execute(f"SET TimeZone = '{zone}'")
            want = connection.sql(text).to_arrow_table()
            got = traps.ask(user, text, push_down=push_down, timezone=zone)
            try:
                assert_same(got, want, is_ordered(text))
            except AssertionError as error:
                error.add_note(f"{user}, {'pushed' if push_down else 'pulled'}: {text}")
                raise


@pytest.mark.parametrize(
    ("case", "sql"),
    [(one, sql) for one, sql in CASES if "whole" in one or "stays" in one],
    ids=[f"{one['trap']}-{sql[:60]}" for one, sql in CASES if "whole" in one or "stays" in one],
)
def test_what_goes_down(case: dict[str, Any], sql: str, traps: TrapsMesh) -> None:
    """The comparison is no comparison of the gateway with itself."""
    for product in _products(case, traps):
        text = sql.format(t=f"traps.{product}.probe", **MANY)
        if product in (*case.get("whole", ()), *case.get("stays", ())):
            assert _is_whole(traps.ask("open", f"explain {text}")) == (
                product in case.get("whole", ())
            ), text


def _is_whole(plan: pa.Table) -> bool:
    return any(
        row["step"] == "merge" and row["what"] == "none" for row in plan.to_pylist()
    )
