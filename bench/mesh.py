"""The measured mesh: the domains of a layout, a product for each table, two people.

Takes: places. Gives: an open gateway over contracts that it writes, or the files for one to serve.
`open` sees everything; `governed` sees the same rows through a row filter that lets all of them
pass, and masks on two columns that statements 2 and 10 give out and 16 compares: so the two may be
compared. `masked` says what the tables look like to the second; comments are longer than what is
kept of them.
"""

from __future__ import annotations

from pathlib import Path

from bench.places import Places
from bench.tables import TpchTable
from gateway.config import Config, load_config
from gateway.opening import OpenGateway, open_gateway
from gateway.scram import make_verifier

_LOGICAL = {
    "integer": "integer", "bigint": "integer", "text": "string", "date": "date",
    "timestamp": "timestamp", "boolean": "boolean",
}  # fmt: skip
PASSWORD = "bench"
_ITERATIONS = 4096
# Who measures asks more often than anybody should.
# What is measured must not depend on what was measured before.
_SETTINGS = """
[limits]
concurrency = 0
requests_per_second = 0
seconds = 600
[planning]
learn_seconds = 0
"""
_MASKED, _KEPT = ("c_comment", "s_comment"), 3
_TAXONOMY = "kind: Taxonomy\ntags: {bench.comment: What somebody wrote.}\n"
_POLICIES = """
kind: Policy
id: every-order
match: {domain: DOMAIN, product: orders}
subjects: [{groups: [governed]}]
effect: {filter: "o_orderkey > 0"}
---
kind: Policy
id: comments
match: {tags: [bench.comment]}
subjects: [{groups: [governed]}]
effect: {mask: {kind: partial, keepLast: KEPT}}
"""


def masked(table: TpchTable) -> str:
    """What `governed` sees of a table, as an item list over all that is in it."""
    hidden = ", ".join(
        f"repeat('*', length({one}) - {_KEPT}) || right({one}, {_KEPT}) AS {one}"
        for one in table.columns if one in _MASKED
    )  # fmt: skip
    return f"* REPLACE ({hidden})" if hidden else "*"


def open_mesh(places: Places) -> OpenGateway:
    """The gateway, with the audit on."""
    return open_gateway(write_mesh(places))


def write_mesh(places: Places) -> Config:
    """The files of the mesh; its settings."""
    conf, layout = places.folder / f"conf-{places.layout.name}", places.layout
    _write(conf / "gateway.toml", _SETTINGS)
    _write(conf / "identities.yaml", _identities())
    _write(conf / "governance" / "taxonomy.yaml", _TAXONOMY)
    for table in (one for one in layout.tables if one.name == "orders"):
        policies = _POLICIES.replace("DOMAIN", table.domain).replace("KEPT", str(_KEPT))
        _write(conf / "governance" / "policies" / "all.yaml", policies)
    for domain, kind in layout.domains.items():
        _write(conf / "domains" / domain / "domain.yaml", _domain(domain, kind))
        if domain in layout.servers:
            _write(places.folder / "secrets" / domain / "URL", places.url(domain))
    for table in layout.tables:
        _write_product(conf / "domains" / table.domain, table, layout.domains[table.domain])
    return load_config(conf, environment(places))


def environment(places: Places) -> dict[str, str]:
    """Where data, secrets and state lie."""
    state = places.folder / f"state-{places.layout.name}.sqlite"
    return {"SQLUICE_DATA": str(places.folder), "SQLUICE_STATE": f"sqlite:///{state}"}


def _identities() -> str:
    verifier = str(make_verifier(PASSWORD, _ITERATIONS))
    return "kind: Identities\nusers:\n" + "".join(
        f"  {one}: {{groups: [{one}], verifier: '{verifier}'}}\n" for one in ("open", "governed")
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _domain(domain: str, kind: str) -> str:
    source = {
        "mysql": "{connector: mysql, secrets: {url: URL}}",
        "postgres": "{connector: postgres, secrets: {url: URL}}",
        "sqlite": "{connector: sqlite, settings: {path: supply.sqlite}}",
        "files": "{connector: files, settings: {path: files, format: parquet}}",
    }[kind]
    return (
        f"kind: Domain\nname: {domain}\ndescription: Tables of a benchmark.\n"
        f"owners: [nobody]\nsources:\n  rows: {source}\n"
    )


def _write_product(base: Path, table: TpchTable, kind: str) -> None:
    name = table.name
    _write(
        base / f"{name}.odps.yaml",
        f"apiVersion: v1.0.0\nkind: DataProduct\nid: p-{name}\nname: {name}\nversion: 1.0.0\n"
        f"status: active\ndomain: {table.domain}\n"
        f"outputPorts: [{{name: {name}, version: 1.0.0, contractId: c-{name}}}]\n"
        "team: {name: t, members: [{username: nobody, role: owner}]}\n",
    )
    columns = "".join(_column(table, column) for column in table.columns)
    physical = {"files": f"{name}/*.parquet", "postgres": f"public.{name}"}.get(kind, name)
    _write(
        base / "contracts" / f"{name}.odcs.yaml",
        f"apiVersion: v3.2.0\nkind: DataContract\nid: c-{name}\nversion: 1.0.0\nstatus: active\n"
        "customProperties: [{property: source, value: rows, vendor: sqluice}]\n"
        f'schema:\n  - name: {name}\n    physicalName: "{physical}"\n'
        f"    properties:\n{columns}",
    )
    _write(
        base / "grants" / f"{name}.yaml",
        f"kind: Grant\nid: all-{name}\nproduct: {name}\n"
        "subjects: [{groups: [open]}, {groups: [governed]}]\n",
    )


def _column(table: TpchTable, column: str) -> str:
    kind = table.columns[column]
    parts = [
        f"name: {column}", f"logicalType: {_LOGICAL.get(kind, 'number')}",
        f'physicalType: "{kind}"', "required: true",
    ]  # fmt: skip
    if column in table.key:
        parts += ["primaryKey: true", f"primaryKeyPosition: {table.key.index(column) + 1}"]
    if column in _MASKED:
        parts.append("tags: [bench.comment]")
    return f"      - {{{', '.join(parts)}}}\n"
