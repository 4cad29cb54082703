"""A mesh with keys, comments and a column and a product that one of two users may not know.

Takes: a folder. Gives: an endpoint over it. `all` sees everything; `part` sees neither the product
`salaries` nor the column `customers.margin`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import yaml

from gateway.config import load_config
from gateway.opening import open_gateway
from tests.pgwire.small import DOMAIN, Settings, Small, on_the_wire
from tests.small_mesh import SmallMesh, write_mesh

KINDS = {
    "flag": "BOOLEAN", "small": "SMALLINT", "whole": "INTEGER", "big": "BIGINT", "real": "FLOAT",
    "double": "DOUBLE", "money": "DECIMAL(12,2)", "words": "VARCHAR", "bytes": "BLOB",
    "day": "DATE", "clock": "TIME", "moment": "TIMESTAMP", "zoned": "TIMESTAMP WITH TIME ZONE",
    "span": "INTERVAL", "number": "UUID", "document": "JSON", "texts": "VARCHAR[]",
    "counts": "INTEGER[]",
}  # fmt: skip
TABLES: dict[str, dict[str, str]] = {
    "customers": {"id": "INTEGER", "email": "VARCHAR", "name": "VARCHAR", "margin": "DOUBLE"},
    "kinds": KINDS,
    "orders": {"order_id": "BIGINT", "customer": "INTEGER", "place": "VARCHAR", "user": "VARCHAR"},
    "salaries": {"employee": "INTEGER", "wage": "DECIMAL(10,2)", "customer": "INTEGER"},
}
HIDDEN = ("salaries", "wage", "employee", "margin")
# Of each column: what its contract says besides.
SAID: dict[str, dict[str, dict[str, Any]]] = {
    "customers": {
        "id": {"primaryKey": True, "primaryKeyPosition": 1, "required": True,
               "description": "Number of the customer"},
        "email": {"unique": True, "description": "Where it's sent to: \"mail\""},
        "name": {"required": True},
        "margin": {"description": "What the margin is"},
    },
    "orders": {
        "order_id": {"primaryKey": True, "primaryKeyPosition": 1, "required": True},
        "customer": {"relationships": [
            {"type": "foreignKey", "to": f"{DOMAIN}.customers.customers.id"}
        ]},
    },
    "salaries": {
        "employee": {"primaryKey": True, "primaryKeyPosition": 1, "required": True,
                     "description": "The employee"},
        "customer": {"relationships": [
            {"type": "foreignKey", "to": f"{DOMAIN}.customers.customers.id"}
        ]},
    },
}  # fmt: skip
GRANTS = (
    *({"product": name, "subjects": [{"users": ["all"]}]} for name in TABLES),
    {"product": "customers", "subjects": [{"users": ["part"]}], "columns": ["id", "email", "name"]},
    {"product": "orders", "subjects": [{"users": ["part"]}]},
)


def mesh(settings: Settings | None = None) -> SmallMesh:
    """What the mesh holds."""
    return SmallMesh(
        DOMAIN,
        {"connector": "duckdb", "settings": {"path": "held.duckdb"}},
        {name: (name, columns) for name, columns in TABLES.items()},
        {"all": {}, "part": {}},
        grants=GRANTS,
        gateway=settings or {},
    )


def complete(conf: Path) -> None:
    """Write what `SmallMesh` has no words for: keys, comments."""
    for name, said in SAID.items():
        path = conf / "domains" / DOMAIN / "contracts" / f"{name}.odcs.yaml"
        contract = yaml.safe_load(path.read_text(encoding="utf-8"))
        table = contract["schema"][0]
        table["description"] = f"All {name}"
        for column in table["properties"]:
            column.update(said.get(column["name"], {}))
        path.write_text(yaml.safe_dump(contract, sort_keys=False), encoding="utf-8")


@contextmanager
def serving(folder: Path, settings: Settings | None = None) -> Iterator[Small]:
    """The endpoint, until the end; `settings` are those of gateway.toml."""
    conf = write_mesh(folder, mesh(settings))
    complete(conf)
    with duckdb.connect(str(folder / "data" / "held.duckdb")) as connection:
        for name, columns in TABLES.items():
            shown = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
            connection.execute(f"CREATE TABLE {name} ({shown})")
        connection.execute(
            "INSERT INTO customers VALUES (1, 'a@b', 'Ada', 0.5), (2, NULL, 'Bo', 1)"
        )
        connection.execute("INSERT INTO orders VALUES (10, 1, 'x', 'u'), (11, 2, 'y', 'v')")
    with on_the_wire(open_gateway(load_config(conf, {}))) as made:
        yield made
