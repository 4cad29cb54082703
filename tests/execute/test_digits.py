"""Whole numbers with more digits than Arrow keeps: an error, and never another number."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from connectors.base import ConnectorError, Fragment, FragmentColumn
from connectors.duckdb import DuckdbConnector
from gateway.errors import TypeMismatch
from tests.sample import SampleMesh

MOST = 10**38 - 1


@pytest.mark.parametrize("number", [0, 1, MOST, None])
def test_what_fits_is_right(sample: SampleMesh, number: int | None) -> None:
    text = "NULL" if number is None else str(number)
    sql = f"SELECT {text}::UHUGEINT AS a, -({text}::HUGEINT) AS b, [{text}::HUGEINT] AS c"
    (row,) = sample.ask("nora", sql).to_pylist()
    held, negative = (None, None) if number is None else (Decimal(number), Decimal(-number))
    assert row == {"a": held, "b": negative, "c": [held]}


@pytest.mark.parametrize(
    "value",
    [
        f"{MOST + 1}::UHUGEINT", f"{MOST + 1}::HUGEINT", f"{-MOST - 1}::HUGEINT",
        f"{2**127}::UHUGEINT", f"{2**128 - 1}::UHUGEINT", f"{2**127 - 1}::HUGEINT",
        f"{2**128 - 1}", f"[{2**128 - 1}::UHUGEINT]", f"[[1::HUGEINT], [{2**127 - 1}::HUGEINT]]",
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_error(sample: SampleMesh, value: str) -> None:
    with pytest.raises(TypeMismatch):
        sample.ask("nora", f"SELECT {value} AS x")
    # The control: it is not the number that is refused, but that it leaves as one.
    (row,) = sample.ask("nora", f"SELECT ({value})::VARCHAR AS x").to_pylist()
    digits = value.rpartition("::")[0].rpartition("[")[2] or value
    assert digits in row["x"]


@pytest.mark.parametrize("number", [MOST, 2**128 - 1])
def test_at_a_source(tmp_path: Path, number: int) -> None:
    with duckdb.connect(str(tmp_path / "held.duckdb")) as made:
        made.execute("CREATE TABLE t (n UHUGEINT)")
        made.execute(f"INSERT INTO t VALUES ({number}), (NULL)")
    fragment = Fragment("SELECT n FROM t", (FragmentColumn("n", "UHUGEINT"),), ("t",))
    connection = DuckdbConnector().connect({"path": str(tmp_path / "held.duckdb")})
    try:
        if number > MOST:
            with pytest.raises(ConnectorError, match="digits"):
                list(connection.stream(fragment))
        else:
            (batch,) = connection.stream(fragment)
            assert batch.column(0).to_pylist() == [Decimal(number), None]
    finally:
        connection.close()
