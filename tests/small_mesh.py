"""Small meshes as files: one domain with one source and one product for each table.

Takes: a folder and a `SmallMesh`. Gives: the files of a mesh, a gateway over them, answers. Never a
verifier that costs what a real one does: passwords are `<name>-demo`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import pyarrow as pa
import yaml

from gateway.config import load_config
from gateway.identity import principal_of
from gateway.opening import OpenGateway, open_gateway
from gateway.request import Limits, Principal, Request
from gateway.scram import make_verifier
from gateway.sessions import new_query_id

Columns = Mapping[str, str]
_LOGICAL = {
    "VARCHAR": "string", "BOOLEAN": "boolean", "DATE": "date", "TIME": "time", "DOUBLE": "number",
    "FLOAT": "number", "DECIMAL": "number", "UUID": "string", "TIMESTAMP": "timestamp",
    "JSON": "string", "BLOB": "string", "INTERVAL": "string",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SmallMesh:
    """What a mesh of one domain holds.

    tables: product -> physical name and its columns with their DuckDB types. users: name -> what
    identities.yaml says of him. grants, policies: as their files say.
    """

    domain: str
    source: Mapping[str, Any]
    tables: Mapping[str, tuple[str, Columns]]
    users: Mapping[str, Mapping[str, Any]]
    grants: tuple[Mapping[str, Any], ...] = ()
    policies: tuple[Mapping[str, Any], ...] = ()
    purposes: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gateway: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def write_mesh(folder: Path, mesh: SmallMesh) -> Path:
    """Write all files below `folder`; gives the mesh folder. Data lie below `folder / "data"`."""
    conf = folder / "conf"
    room = conf / "domains" / mesh.domain
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name in ("contracts", "grants", "policies"):
        (room / name).mkdir(parents=True, exist_ok=True)
    (conf / "governance").mkdir(parents=True, exist_ok=True)
    sections = {"paths": {"data": "../data"}, **mesh.gateway}
    (conf / "gateway.toml").write_text(
        "\n".join(
            f"[{name}]\n" + "\n".join(f"{key} = {value!r}" for key, value in keys.items()) + "\n"
            for name, keys in sections.items()
        )
    )
    _write(conf / "identities.yaml", {"kind": "Identities", "users": {
        name: {"verifier": str(make_verifier(f"{name}-demo", iterations=4096)), **known}
        for name, known in mesh.users.items()
    }})  # fmt: skip
    _write(conf / "governance/purposes.yaml", {
        "kind": "Purposes", "purposes": dict(mesh.purposes) or {"any": "Whatever it is"},
    })  # fmt: skip
    tags = {tag: tag for one in mesh.tags.values() for tag in one}
    _write(conf / "governance/taxonomy.yaml", {"kind": "Taxonomy", "tags": tags or {"t": "t"}})
    _write(room / "domain.yaml", {
        "kind": "Domain", "name": mesh.domain, "description": "A domain of a test",
        "owners": [next(iter(mesh.users))], "sources": {"held": dict(mesh.source)},
    })  # fmt: skip
    for product, (physical_name, columns) in mesh.tables.items():
        _write(room / f"{product}.odps.yaml", _product(mesh, product))
        _write(
            room / "contracts" / f"{product}.odcs.yaml",
            _contract(mesh, product, physical_name, columns),
        )
    for number, one in enumerate(mesh.grants):
        made = {"kind": "Grant", "id": f"{mesh.domain}.grant-{number}", **one}
        _write(room / f"grants/{number}.yaml", made)
    for number, one in enumerate(mesh.policies):
        made = {"kind": "Policy", "id": f"{mesh.domain}.policy-{number}", **one}
        _write(room / f"policies/{number}.yaml", made)
    return conf


def opened_mesh(folder: Path, mesh: SmallMesh) -> OpenGateway:
    """Write a mesh and open a gateway over it."""
    return open_gateway(load_config(write_mesh(folder, mesh), {}))


def principal(opened: OpenGateway, user: str) -> Principal:
    """A user of a gateway."""
    users = opened.publisher.current().mesh.users
    return principal_of(next(one for one in users if one.name == user))


def request(opened: OpenGateway, user: str, sql: str, **fields: object) -> Request:
    """A request of now."""
    made = Request(sql, principal(opened, user), datetime.now(UTC), new_query_id(),
                   limits=Limits(seconds=30))  # fmt: skip
    return replace(made, **fields)  # type: ignore[arg-type]  # fields of Request by name


def answer(opened: OpenGateway, user: str, sql: str, **fields: object) -> pa.Table:
    """The whole answer of a gateway."""
    result = opened.gateway.answer(request(opened, user, sql, **fields))
    return pa.Table.from_batches(list(result.batches()), result.schema)


def _product(mesh: SmallMesh, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1.0.0", "kind": "DataProduct", "id": _id(mesh, name, "product"),
        "name": name, "version": "1.0.0", "status": "active", "domain": mesh.domain,
        "outputPorts": [{
            "name": name, "version": "1.0.0", "contractId": _id(mesh, name, "contract"),
        }],
        "team": {"members": [{"username": next(iter(mesh.users)), "role": "owner"}]},
    }  # fmt: skip


def _contract(
    mesh: SmallMesh, name: str, physical_name: str, columns: Columns
) -> dict[str, Any]:
    return {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": _id(mesh, name, "contract"),
        "name": name, "version": "1.0.0", "status": "active", "domain": mesh.domain,
        "customProperties": [{"property": "source", "value": "held", "vendor": "sqluice"}],
        "schema": [{
            "name": name, "physicalName": physical_name,
            "properties": [
                {
                    "name": column, "physicalType": kind,
                    "customProperties": [{"property": "type", "value": kind, "vendor": "sqluice"}],
                    "logicalType": _LOGICAL.get(kind.split("(")[0].split(" ")[0], "integer"),
                    "tags": list(mesh.tags.get(column, ())),
                }
                for column, kind in columns.items()
            ],
        }],
    }  # fmt: skip


def _id(mesh: SmallMesh, name: str, what: str) -> str:
    return str(uuid5(NAMESPACE_DNS, f"{mesh.domain}.{name}.{what}"))


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")
