"""A large mesh loads while a person waits."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import pytest

from catalog.mesh import load_mesh
from tests.catalog.changes import SHOP

DOMAINS, PRODUCTS = 20, 50
SECONDS = 3.0


def _large(folder: Path) -> Path:
    """A thousand products, each with the contract and the grant of one that is real."""
    contract = (SHOP / "domains/sales/contracts/orders.odcs.yaml").read_text(encoding="utf-8")
    contract = contract.replace("people.staff.staff.email", "orders.email")
    contract = contract.replace("domain: sales\ndataProduct: orders\n", "")
    product = (SHOP / "domains/sales/orders.odps.yaml").read_text(encoding="utf-8")
    domain = (SHOP / "domains/sales/domain.yaml").read_text(encoding="utf-8")
    texts = {
        "gateway.toml": "", "governance/taxonomy.yaml": (
            SHOP / "governance/taxonomy.yaml").read_text(encoding="utf-8"),
    }
    for number in range(DOMAINS):
        here = f"domains/d{number}"
        texts[f"{here}/domain.yaml"] = domain.replace("name: sales", f"name: d{number}")
        for place in range(PRODUCTS):
            name = f"p{place}"
            identity = f"urn:example:{number}-{place}"
            texts[f"{here}/contracts/{name}.odcs.yaml"] = contract.replace(
                "urn:example:orders-contract", identity)
            texts[f"{here}/{name}.odps.yaml"] = (
                product.replace("urn:example:orders-contract", identity)
                .replace("name: orders\nversion", f"name: {name}\nversion")
                .replace("domain: sales", f"domain: d{number}"))
            texts[f"{here}/grants/{name}.yaml"] = (
                f"kind: Grant\nid: g{number}.{name}\nproduct: {name}\nsubjects: [{{all: true}}]\n")
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.long
def test_a_thousand_products(tmp_path: Path) -> None:
    mesh_folder = _large(tmp_path)
    took = []
    for _ in range(3):
        start = time.process_time()
        mesh = load_mesh(mesh_folder)
        took.append(time.process_time() - start)
    assert len(mesh.products) == DOMAINS * PRODUCTS
    assert min(took) < SECONDS, took
    assert gc.isenabled()


def test_the_collector_works_again() -> None:
    """It rests while files are read, whatever comes of them."""
    load_mesh(SHOP)
    assert gc.isenabled()
    gc.disable()
    try:
        load_mesh(SHOP)
        assert not gc.isenabled()
    finally:
        gc.enable()
