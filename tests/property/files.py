"""An arena as the files of a mesh, so that `sqluice serve` can be started over it.

Takes: an arena, a folder. Gives: contracts, products, grants, policies, an entitlement and users
in the folder; where the data lie is said by a data folder for each world.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from catalog.model import Grant, Mask, Policy, Product
from gateway.demo.postgres import Server
from gateway.probe.arenas import JOIN_GROUP, Arena
from gateway.probe.oracle import KEY
from gateway.probe.shapes import CSV, DOMAIN, KINDS
from gateway.scram import make_verifier

PASSWORD = "let me in"
_POLICIES = "governance/policies/all.yaml"


def write_mesh(folder: Path, arena: Arena) -> None:
    """The mesh of an arena."""
    mesh = arena.snapshot.mesh
    documents: dict[str, list[Mapping[str, object]]] = {
        "identities.yaml": [_identities(arena)],
        "governance/taxonomy.yaml": [
            {"kind": "Taxonomy", "joinGroups": {JOIN_GROUP: "People of the probe"}}
        ],
        "governance/entitlements/rights.yaml": [
            {"kind": "Entitlement", "id": one.id, "table": one.table, "subject": one.subject,
             "values": list(one.values), "ttl": one.ttl}
            for one in mesh.entitlements
        ],
        f"domains/{DOMAIN}/domain.yaml": [_domain()],
        f"domains/{DOMAIN}/grants/all.yaml": [_grant(one) for one in mesh.grants],
        _POLICIES: [_policy(one) for one in mesh.policies],
    }  # fmt: skip
    for product in mesh.products:
        contract = f"domains/{DOMAIN}/contracts/{product.name}.odcs.yaml"
        documents[contract] = [_contract(product)]
        documents[f"domains/{DOMAIN}/{product.name}.odps.yaml"] = [_product(product)]
    for name, listed in documents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump_all(listed, sort_keys=False), encoding="utf-8")
    settings = "[limits]\nrequests_per_second = 100000\n"
    (folder / "gateway.toml").write_text(settings, encoding="utf-8")


def write_secrets(data: Path, server: Server, database: str) -> None:
    """The secrets of one world, below its data folder."""
    for place, text in ((DOMAIN, server.url(database)), ("governance", KEY.hex())):
        (data / "secrets" / place).mkdir(parents=True)
        name = "URL" if place == DOMAIN else f"PSEUDONYM_{JOIN_GROUP.upper()}"
        (data / "secrets" / place / name).write_text(text, encoding="utf-8")


def _identities(arena: Arena) -> Mapping[str, object]:
    users = {
        one.user: {
            "fullName": one.user,
            "verifier": str(make_verifier(PASSWORD, 4096)),
            "groups": sorted(one.groups),
            "attributes": {name: list(values) for name, values in one.attributes.items()},
        }
        for one in arena.principals
    }
    return {"kind": "Identities", "users": users}


def _domain() -> Mapping[str, object]:
    types = ", ".join(f"{name} {kind}" for name, kind in CSV)
    settings: Mapping[str, Mapping[str, object]] = {
        "postgres": {"connector": "postgres", "secrets": {"url": "URL"}},
        "sqlite": {"connector": "sqlite", "settings": {"path": "probe.sqlite"}},
        "duckdb": {"connector": "duckdb", "settings": {"path": "probe.duckdb"}},
        "files": {"connector": "files", "settings": {"path": "files", "format": "parquet"}},
        "csv": {
            "connector": "files", "settings": {"path": "files", "format": "csv", "types": types},
        },
    }  # fmt: skip
    return {
        "kind": "Domain", "name": DOMAIN, "description": "Attacked.", "owners": ["olga"],
        "sources": {kind: settings[kind] for kind in KINDS},
    }  # fmt: skip


def _contract(product: Product) -> Mapping[str, object]:
    tables = [
        {
            "name": table.name, "physicalName": table.physical_name, "logicalType": "object",
            "physicalType": "table",
            "properties": [
                {
                    "name": one.name, "logicalType": _logical(one.type),
                    "customProperties": [_own("type", one.type)],
                }
                for one in table.columns
            ],
        }
        for table in product.tables
    ]  # fmt: skip
    return {
        "apiVersion": "v3.2.0", "kind": "DataContract", "id": f"contract-{product.name}",
        "name": product.name, "version": "1.0.0", "status": "active", "domain": DOMAIN,
        "customProperties": [_own("source", product.source.split(".")[-1])], "schema": tables,
    }  # fmt: skip


def _logical(kind: str) -> str:
    if kind.endswith("[]"):
        return "array"
    name = kind.split("(", maxsplit=1)[0].split(" ", maxsplit=1)[0]
    return _LOGICAL.get(name, "integer" if name.endswith("INT") else "string")


_LOGICAL = {
    "INTEGER": "integer", "DECIMAL": "number", "DOUBLE": "number", "FLOAT": "number",
    "BOOLEAN": "boolean", "DATE": "date", "TIME": "time", "TIMESTAMP": "timestamp",
}  # fmt: skip


def _product(product: Product) -> Mapping[str, object]:
    port = {
        "name": product.name, "type": "tables", "version": "1.0.0",
        "contractId": f"contract-{product.name}",
    }  # fmt: skip
    return {
        "apiVersion": "v1.0.0", "kind": "DataProduct", "id": f"product-{product.name}",
        "name": product.name, "version": "1.0.0", "status": "active", "domain": DOMAIN,
        "outputPorts": [port], "team": {"members": [{"username": "ada", "role": "owner"}]},
    }  # fmt: skip


def _own(name: str, value: object) -> Mapping[str, object]:
    return {"property": name, "value": value, "vendor": "sqluice"}


def _grant(one: Grant) -> Mapping[str, object]:
    made: dict[str, object] = {
        "kind": "Grant", "id": one.id, "product": one.product, "tables": _listed(one.tables),
        "subjects": [{"groups": ["insiders"]}], "approver": "ada",
    }  # fmt: skip
    if one.columns is not None:
        made["columns"] = _listed(one.columns)
    if one.scope is not None:
        made["scope"] = one.scope
    return made


def _policy(one: Policy) -> Mapping[str, object]:
    where: dict[str, object] = {"product": one.match.product, "table": one.match.table}
    if one.match.columns:
        where["columns"] = _listed(one.match.columns)
    effect: dict[str, object] = {"hide": True}
    if one.effect == "filter":
        effect = {"filter": one.filter}
    elif one.mask is not None:
        effect = {"mask": _mask(one.mask)}
    return {"kind": "Policy", "id": one.id, "match": where, "effect": effect}


def _mask(one: Mask) -> Mapping[str, object]:
    made: dict[str, object] = {
        "kind": one.kind, "value": one.value, "joinGroup": one.join_group, "unit": one.unit,
        "size": one.size, "sql": one.sql,
    }  # fmt: skip
    if one.kind == "partial":
        made |= {"keepFirst": one.keep_first, "keepLast": one.keep_last, "fill": one.fill}
    return {name: value for name, value in made.items() if value is not None}


def _listed(names: Sequence[str] | frozenset[str] | None) -> list[str]:
    return sorted(names or ())
