"""The process that reads one SQLite file for the connector, so that a statement can be stopped.

Takes: a path, and requests on standard input: a JSON line (`sql`, `size`) and `size` bytes of
bound values as an Arrow stream. Gives: for each an Arrow stream and a JSON line (`error`). Ends
when its input ends, in the middle of a statement too. Never writes to the file.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from queue import SimpleQueue
from typing import BinaryIO
from urllib.parse import quote

# Arrow can do without it, and to load it is half of what it takes to start.
sys.modules["numpy"] = None  # type: ignore[assignment]  # it cannot be imported

import adbc_driver_manager  # noqa: E402
import adbc_driver_sqlite  # noqa: E402
import pyarrow as pa  # noqa: E402

BATCH_ROWS = "65536"


def main() -> None:
    """Read requests until the input ends."""
    requests: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
    answering = threading.Thread(target=_answer_all, args=(sys.argv[1], requests), daemon=True)
    answering.start()
    source = sys.stdin.buffer
    for line in source:
        request = json.loads(line)
        requests.put((request["sql"], source.read(request["size"])))
    # The driver cannot interrupt a statement: the end of the process does.
    os._exit(0)


def _answer_all(path: str, requests: SimpleQueue[tuple[str, bytes]]) -> None:
    out = sys.stdout.buffer
    database = adbc_driver_sqlite.connect(f"file:{quote(path)}?mode=ro")
    with database, adbc_driver_manager.AdbcConnection(database) as connection:
        for setting in ("PRAGMA query_only = on", "PRAGMA trusted_schema = off"):
            with adbc_driver_manager.AdbcStatement(connection) as statement:
                statement.set_sql_query(setting)
                statement.execute_update()
        while True:
            sql, values = requests.get()
            with adbc_driver_manager.AdbcStatement(connection) as statement:
                _answer(statement, sql, values, out)


def _answer(
    statement: adbc_driver_manager.AdbcStatement, sql: str, values: bytes, out: BinaryIO
) -> None:
    writer, error = None, ""
    try:
        statement.set_options(**{"adbc.sqlite.query.batch_rows": BATCH_ROWS})
        statement.set_sql_query(sql)
        if values:
            statement.bind_stream(pa.ipc.open_stream(values))
        handle, _ = statement.execute_query()
        with pa.RecordBatchReader.from_stream(handle) as reader:
            writer = pa.ipc.new_stream(out, reader.schema)
            for batch in reader:
                writer.write_batch(batch)
    except (adbc_driver_manager.Error, pa.ArrowException, OSError) as failure:
        error = str(failure) or type(failure).__name__
    (writer or pa.ipc.new_stream(out, pa.schema([]))).close()
    out.write(json.dumps({"error": error}).encode() + b"\n")
    out.flush()


if __name__ == "__main__":
    main()
