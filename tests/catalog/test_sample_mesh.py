"""The sample mesh says what it should."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import yaml

from catalog.mesh import load_mesh
from catalog.model import Mesh
from gateway.config import load_config
from gateway.scram import make_verifier

CONF = Path(__file__).resolve().parents[2] / "conf"
EXPECTED = yaml.safe_load((Path(__file__).parent / "sample_mesh.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return load_mesh(CONF)


@pytest.mark.parametrize("address", EXPECTED["tables"])
def test_columns(address: str, mesh: Mesh) -> None:
    """Names and types in their order: the recipe and every query in the docs rely on them."""
    domain, product_name, table_name = address.split(".")
    product = next(one for one in mesh.products if one.address == f"{domain}.{product_name}")
    table = product.table(table_name)
    assert table is not None
    assert [f"{one.name} {one.type}" for one in table.columns] == EXPECTED["tables"][address]


def test_tables(mesh: Mesh) -> None:
    found = {f"{one.address}.{table.name}" for one in mesh.products for table in one.tables}
    assert found == set(EXPECTED["tables"])


def test_sources(mesh: Mesh) -> None:
    found = {
        one.identity: [one.kind, dict(one.settings), dict(one.secrets)]
        for one in mesh.sources.values()
    }
    assert found == EXPECTED["sources"]
    physical = {
        table.name: table.physical_name for one in mesh.products for table in one.tables
    }
    assert physical == EXPECTED["physical"]


def test_labels(mesh: Mesh) -> None:
    found: dict[str, list[str]] = {}
    for product in mesh.products:
        for table in product.tables:
            for column in table.columns:
                for tag in column.tags:
                    found.setdefault(tag, []).append(f"{table.name}.{column.name}")
    wanted = {tag: columns for tag, columns in found.items() if tag.startswith(("pii", "asset"))}
    assert {tag: sorted(columns) for tag, columns in wanted.items()} == EXPECTED["tags"]
    assert list(mesh.taxonomy.classifications) == [
        "public", "internal", "confidential", "restricted",
    ]
    assert mesh.join_groups == ("customer", "aircraft")


def test_policies_and_grants(mesh: Mesh) -> None:
    assert sorted(one.id for one in mesh.policies) == EXPECTED["policies"]
    found = {one.id: [one.domain, one.product, sorted(one.purposes)] for one in mesh.grants}
    assert found == EXPECTED["grants"]
    assert not any("ola" in one.users or "platform" in one.groups
                   for grant in mesh.grants for one in grant.subjects)


@pytest.mark.parametrize("user", EXPECTED["users"])
def test_users(user: str, mesh: Mesh) -> None:
    found = next(one for one in mesh.users if one.name == user)
    wanted = EXPECTED["users"][user]
    assert sorted(found.groups) == wanted["groups"]
    assert {key: list(one) for key, one in found.attributes.items()} == wanted.get("attributes", {})
    assert sorted(found.roles) == wanted.get("roles", [])
    salt = hashlib.sha256(f"sqluice sample mesh: {user}".encode()).digest()[:16]
    assert found.verifier == str(make_verifier(f"{user}-demo", 4096, salt))


def test_it_is_written_as_a_good_team_would(mesh: Mesh) -> None:
    """Everything has words, an owner, somebody to ask and rules for its quality."""
    for product in mesh.products:
        assert product.purpose and product.owners and product.support and product.service_levels
        assert any("mailto:" in one for one in product.support)
        for table in product.tables:
            assert table.description and table.business_name and table.size and table.primary_key
            rules = [one for one in product.quality if one["table"] == table.name]
            assert {"rowCount"} <= {one.get("metric") for one in rules}
            for column in table.columns:
                assert column.description and column.business_name and column.classification
                if column.type in ("DOUBLE", "DECIMAL(12,2)"):
                    assert column.unit, column.name
    assert len({one.name for one in mesh.users}) == 6
    loyalty = [one for one in mesh.products if one.domain == "loyalty"]
    assert all("synthetic" in one.purpose.lower() for one in loyalty)


def test_columns_that_point_at_others(mesh: Mesh) -> None:
    found = {
        f"{table.name}.{'+'.join(one.columns)} -> {one.target}.{'+'.join(one.target_columns)}"
        for product in mesh.products for table in product.tables for one in table.relationships
    }
    assert found == set(EXPECTED["relationships"])


def test_files_hold_no_secret_and_no_place_of_a_machine() -> None:
    for path in CONF.rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(?i)password:|secret:\s*\S|postgres(ql)?://", text), path
    assert load_config(CONF, {}).data == CONF.parent / ".state" / "demo"
