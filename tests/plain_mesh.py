"""A mesh of plain tables that one user may read whole: a domain for each source.

Takes: a folder, a source for each domain, tables. Gives: an open gateway over contracts that it
writes. Never makes rows, and knows no policy: what is compared over it is the planner's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from gateway.config import load_config
from gateway.identity import principal_of
from gateway.opening import OpenGateway, open_gateway
from gateway.request import Limits, Request
from gateway.result import Result
from gateway.sessions import new_query_id
from tests.served import within

USER = "reader"
_LOGICAL = {
    "boolean": "boolean", "smallint": "integer", "integer": "integer", "bigint": "integer",
    "decimal": "number", "double precision": "number", "text": "string", "uuid": "string",
    "date": "date", "timestamp": "timestamp", "timestamptz": "timestamp", "time": "time",
}  # fmt: skip

_STAYS = ", customProperties: [{property: keysStay, value: true, vendor: sqluice}]"

@dataclass(frozen=True, slots=True)
class PlainSource:
    """A source: its connector, its settings, and secrets by the setting that they fill."""

    connector: str
    settings: Mapping[str, str]
    secrets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PlainTable:
    """A table: its domain, its name, its name at the source, its columns with physical types.

    staying: columns whose values go to no other source.
    """

    domain: str
    name: str
    physical: str
    columns: Mapping[str, str]
    staying: frozenset[str] = frozenset()

    @property
    def address(self) -> str:
        """What a statement calls it; a product's one table has the product's name."""
        return f"{self.domain}.{self.name}"


@dataclass(frozen=True, slots=True)
class PlainMesh:
    """An open gateway over plain tables."""

    opened: OpenGateway

    def start(self, sql: str, **fields: object) -> Result:
        """Begin to answer a statement."""
        users = self.opened.publisher.current().mesh.users
        given: dict[str, object] = {"limits": Limits(seconds=60), **fields}
        request = Request(
            sql=sql,
            principal=principal_of(next(one for one in users if one.name == USER)),
            now=datetime.now(UTC),
            query_id=new_query_id(),
            **given,  # type: ignore[arg-type]  # fields of Request by name
        )
        return self.opened.gateway.answer(request)

    def ask(self, sql: str, **fields: object) -> pa.Table:
        """The whole answer to a statement."""
        result = self.start(sql, **fields)
        return pa.Table.from_batches(list(result.batches()), result.schema)

    def hear_sizes(self, tables: Sequence[PlainTable]) -> None:
        """Let sources tell how large these tables are: once, and on a busy machine late."""
        statistics = self.opened.services.statistics
        assert statistics is not None
        for one in tables:
            self.ask(f"explain select count(*) from {one.address}")
        sources = {f"{one.domain}.rows" for one in tables}
        assert within(60, lambda: not statistics.is_asking(sources))

    def close(self) -> None:
        """Close the gateway."""
        self.opened.close()


def open_plain(
    folder: Path, sources: Mapping[str, PlainSource], tables: Sequence[PlainTable]
) -> PlainMesh:
    """Write the mesh below a folder, which is the data folder too, and open it."""
    conf = folder / "conf"
    _write(conf / "gateway.toml", "")
    _write(conf / "identities.yaml", f"kind: Identities\nusers:\n  {USER}: {{groups: [all]}}\n")
    for domain, source in sources.items():
        _write(conf / "domains" / domain / "domain.yaml", _domain(domain, source))
        for name, value in source.secrets.items():
            _write(folder / "secrets" / domain / name.upper(), value)
    for table in tables:
        _write_product(conf / "domains" / table.domain, table)
    return PlainMesh(open_gateway(load_config(conf, {"SQLUICE_DATA": str(folder)})))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _domain(domain: str, source: PlainSource) -> str:
    settings = ", ".join(f'{name}: "{value}"' for name, value in source.settings.items())
    secrets = ", ".join(f"{name}: {name.upper()}" for name in source.secrets)
    return (
        f"kind: Domain\nname: {domain}\ndescription: Plain tables.\nowners: [nobody]\n"
        f"sources:\n  rows: {{connector: {source.connector}, settings: {{{settings}}}, "
        f"secrets: {{{secrets}}}}}\n"
    )


def _write_product(base: Path, table: PlainTable) -> None:
    name, label = table.name, f"{table.domain}-{table.name}"
    _write(
        base / f"{name}.odps.yaml",
        f"apiVersion: v1.0.0\nkind: DataProduct\nid: p-{label}\nname: {name}\nversion: 1.0.0\n"
        f"status: active\ndomain: {table.domain}\n"
        f"outputPorts: [{{name: {name}, version: 1.0.0, contractId: c-{label}}}]\n"
        "team: {name: t, members: [{username: nobody, role: owner}]}\n",
    )
    columns = "".join(
        f"      - {{name: {column}, logicalType: {_LOGICAL[kind.partition('(')[0]]}, "
        f'physicalType: "{kind}"{_STAYS if column in table.staying else ""}}}\n'
        for column, kind in table.columns.items()
    )
    _write(
        base / "contracts" / f"{name}.odcs.yaml",
        f"apiVersion: v3.2.0\nkind: DataContract\nid: c-{label}\nversion: 1.0.0\nstatus: active\n"
        "customProperties: [{property: source, value: rows, vendor: sqluice}]\n"
        f'schema:\n  - name: {name}\n    physicalName: "{table.physical}"\n'
        f"    properties:\n{columns}",
    )
    _write(
        base / "grants" / f"{name}.yaml",
        f"kind: Grant\nid: all-{label}\nproduct: {name}\nsubjects: [{{groups: [all]}}]\n",
    )
