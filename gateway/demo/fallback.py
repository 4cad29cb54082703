"""The sample mesh made ready: with PostgreSQL, or loudly without.

Takes: the data folder and the mesh folder. Gives: the mesh folder to serve, for as long as its
servers run. Never pretends: where no PostgreSQL can be had it says so and writes a variant of the
mesh whose two PostgreSQL products lie in DuckDB files.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import yaml

from gateway.demo.postgres import NoPostgres, find_server
from gateway.demo.recipe import Progress, build, build_without_postgres

_MOVED = {"operations": "warehouse", "loyalty": "crm"}


@contextmanager
def prepare(data: Path, conf: Path, progress: object) -> Iterator[Path]:
    """Build what is missing and keep the servers up."""
    tell = cast("Progress", progress)
    data.mkdir(parents=True, exist_ok=True)
    try:
        server = find_server(data / "postgres")
    except NoPostgres as error:
        tell(f"NO POSTGRESQL: {error}. Its products lie in DuckDB files instead.", 0.0)
        build_without_postgres(data, tell)
        yield _variant(data, conf)
        return
    with server:
        build(data, server, tell)
        yield conf


def _variant(data: Path, conf: Path) -> Path:
    """A copy of the mesh with the two sources in DuckDB."""
    folder = data / "conf-without-postgres"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(conf, folder)
    for domain, source in _MOVED.items():
        path = folder / "domains" / domain / "domain.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content["sources"][source] = {
            "connector": "duckdb",
            "settings": {"path": f"{domain}/{source}.duckdb"},
        }
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return folder
