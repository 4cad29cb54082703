"""What docs/sql.md says is served is served, and what it says is refused is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gateway.errors import SqluiceError
from tests.sample import SampleMesh

CASES = yaml.safe_load(Path(__file__).with_name("docs_sql.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("sql", CASES["served"])
def test_served(sample: SampleMesh, sql: str) -> None:
    sample.ask("nora", sql)


@pytest.mark.parametrize("sql", CASES["refused"])
def test_refused(sample: SampleMesh, sql: str) -> None:
    with pytest.raises(SqluiceError) as caught:
        sample.ask("nora", sql)
    assert caught.value.code in ("unsupported_sql", "parse_error")


@pytest.mark.parametrize("sql", CASES["type_error"])
def test_refused_for_its_pattern(sample: SampleMesh, sql: str) -> None:
    with pytest.raises(SqluiceError) as caught:
        sample.ask("nora", sql)
    assert caught.value.code == "type_error"
