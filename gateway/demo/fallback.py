"""The sample mesh made ready: with PostgreSQL, or loudly without.

Takes: the data folder and the mesh folder. Gives: the mesh folder to serve, for as long as its
servers run. Never pretends: where no PostgreSQL can be had it says so and writes a variant of the
mesh whose two PostgreSQL sources are DuckDB files.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import adbc_driver_manager

from gateway.demo.postgres import NoPostgres, PostgresFailed, Server, find_server
from gateway.demo.recipe import DUCKDB_FILES, FULL, Progress, Size, build

NO_POSTGRES = "No PostgreSQL"
VARIANT = "conf-without-postgres"


@contextmanager
def prepare(data: Path, conf: Path, progress: Progress, size: Size = FULL) -> Iterator[Path]:
    """Build what is missing and keep the servers up."""
    data.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            server: Server | None = stack.enter_context(_answering(data))
        except (NoPostgres, PostgresFailed, adbc_driver_manager.Error) as error:
            is_text_of_ours = isinstance(error, NoPostgres | PostgresFailed)
            reason = str(error).splitlines()[0] if is_text_of_ours else "the server does not answer"
            progress(f"{NO_POSTGRES}: {reason}. Its products lie in DuckDB files instead.", 0.0)
            server = None
        build(data, server, progress, size)
        yield conf if server is not None else variant(data, conf)


@contextmanager
def _answering(data: Path) -> Iterator[Server]:
    """A server that was started and has answered once."""
    with find_server(data / "postgres") as server:
        server.run("postgres", "SELECT 1")
        yield server


def variant(data: Path, conf: Path) -> Path:
    """A copy of the mesh, in the data folder, with the two sources in DuckDB."""
    folder = data / VARIANT
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(conf, folder)
    for domain, file in DUCKDB_FILES.items():
        path = folder / "domains" / domain / "domain.yaml"
        text = path.read_text(encoding="utf-8")
        text = text.replace("connector: postgres", "connector: duckdb")
        path.write_text(
            re.sub(r"secrets:\s+url: \w+", f"settings: {{path: {file}}}", text), encoding="utf-8"
        )
    settings = folder / "gateway.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(
        re.sub(r'(?m)^data = ".*"$', 'data = ".."', text), encoding="utf-8"
    )
    return folder
