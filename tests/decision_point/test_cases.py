"""What a decision point says, on top of the mesh's own rules: allow, filters, masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.errors import SourceUnavailable, SqluiceError
from tests.decision_point.bundle import BATCHED, serving
from tests.policies.running import Running, running

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = yaml.safe_load((HERE / "cases.yaml").read_text())
EXPRESSIONS: list[dict[str, Any]] = yaml.safe_load((HERE / "expressions.yaml").read_text())
STAFF = {"kind": "Grant", "id": "staff", "product": "people", "subjects": [{"all": True}]}
UNBATCHED = ("url", "row_filters_url", "column_masks_url")


def with_staff(case: dict[str, Any], settings: str) -> dict[str, Any]:
    """A case's files, with a grant on the people and the gateway's settings."""
    files = {
        "gateway.toml": settings,
        "domains/staff/grants/all.yaml": yaml.safe_dump(STAFF),
    }
    return {**case, "files": files}


def refused(gateway: Running, sql: str, user: str) -> SqluiceError:
    """The error of a statement."""
    with pytest.raises(SqluiceError) as caught:
        gateway.ask(sql, user)
    return caught.value


@pytest.mark.parametrize("keys", [BATCHED, UNBATCHED], ids=["batched", "one by one"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_case(case: dict[str, Any], keys: tuple[str, ...], tmp_path: Path) -> None:
    user = case.get("as", "ada")
    with (
        serving(**case["point"]) as bundle,
        running(tmp_path, with_staff(case, bundle.settings(keys))) as gateway,
    ):
        if "code" in case:
            error = refused(gateway, case["sql"], user)
            assert error.code == case["code"]
            assert case.get("says", "") in error.message
            assert case.get("remedy", error.remedy) == error.remedy
            if "same_as" in case:
                other = refused(gateway, case["same_as"], user)
                assert (other.code, other.remedy) == (error.code, error.remedy)
                assert other.message == error.message.replace("shop.orders", "shop.nothing")
            return
        result = gateway.opened.gateway.answer(gateway.request(case["sql"], user))
        found = [list(row.values()) for batch in result.batches() for row in batch.to_pylist()]
        shown = [[str(v) if not isinstance(v, int | None) else v for v in row] for row in found]
        assert shown == case["rows"]
        if "masked" in case:
            assert list(result.masked) == case["masked"]
        if "reasons" in case:
            told = gateway.ask(f"EXPLAIN POLICY {case['sql']}", user)
            reasons = [
                [one["object"], one["outcome"]] for one in told if one["policy"] == "decision-point"
            ]
            assert reasons == case["reasons"]


def test_expressions_are_checked_like_policies(tmp_path: Path) -> None:
    sql = "SELECT id FROM shop.orders ORDER BY id"
    with (
        serving() as bundle,
        running(tmp_path, with_staff({}, bundle.settings())) as gateway,
    ):
        for case in EXPRESSIONS:
            bundle.filters["shop.orders.orders"] = ["true", case["filter"]]
            if "rows" in case:
                assert [row["id"] for row in gateway.ask(sql)] == case["rows"], case
                continue
            with pytest.raises(SourceUnavailable) as caught:
                gateway.ask(sql)
            private = caught.value.private or ""
            assert "row filter 2 of shop.orders.orders" in private, case
            assert case["says"] in private, (case, private)
            for told in (caught.value.message, caught.value.remedy):
                assert case["filter"] not in told or not case["filter"], case
                assert "filter" not in told and "shop" not in told


@pytest.mark.parametrize(
    "mask", ["CAST(email AS varchar)", "1.5", "id", "email = 'x'", "CASE WHEN id = 1 THEN 2 END"]
)
def test_a_mask_has_exactly_the_type_of_its_column(mask: str, tmp_path: Path) -> None:
    with (
        serving(masks={"shop.orders.orders.email": mask}) as bundle,
        running(tmp_path, with_staff({}, bundle.settings())) as gateway,
    ):
        error = refused(gateway, "SELECT email FROM shop.orders", "ada")
        assert error.code == "source_unavailable"
        assert "the mask of shop.orders.orders.email" in (error.private or "")
        # What is not read is not asked for.
        assert len(gateway.ask("SELECT id FROM shop.orders")) == 4
