"""A merge of more than its memory: it fills its folder, answers right and leaves nothing there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gateway.engines.duckdb import DuckdbEngine, EngineSettings

MEGABYTE = 1 << 20
MEMORY, ROWS, BATCH, WIDTH = 512, 4_200_000, 50_000, 256
SCHEMA = pa.schema([pa.field("id", pa.int64()), pa.field("text", pa.string())])


def batches(seed: int, rows: int = ROWS) -> Iterator[pa.RecordBatch]:
    """Keys in an order of their own, texts that no compression makes small."""
    random = np.random.default_rng(seed)
    keys = random.permutation(rows)
    for start in range(0, rows, BATCH):
        letters = random.integers(97, 123, BATCH * WIDTH, dtype=np.uint8)
        offsets = pa.py_buffer(np.arange(0, BATCH * WIDTH + 1, WIDTH, dtype=np.int32))
        texts = pa.StringArray.from_buffers(BATCH, offsets, pa.py_buffer(letters))
        yield pa.record_batch([pa.array(keys[start : start + BATCH]), texts], SCHEMA)


def _watched(folder: Path, largest: list[int], stop: threading.Event) -> None:
    while not stop.wait(0.1):
        sizes = [one.stat().st_size for one in folder.rglob("*") if one.is_file()]
        largest[0] = max(largest[0], sum(sizes))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_inputs_of_four_times_the_memory(tmp_path: Path) -> None:
    """Two of them are joined, grouped and sorted."""
    spill = tmp_path / "spill"
    spill.mkdir()
    engine = DuckdbEngine(EngineSettings(memory=f"{MEMORY}MB", spill=str(spill)))
    session = engine.open("UTC")
    largest, stop = [0], threading.Event()
    watching = threading.Thread(target=_watched, args=(spill, largest, stop))
    watching.start()
    try:
        session.load("a", SCHEMA, batches(1))
        session.load("b", SCHEMA, batches(2))
        joined = "FROM a JOIN b ON a.id = b.id"
        grouped = pa.Table.from_batches(
            session.stream(
                f"SELECT a.id % 7 AS g, count(*) AS n, sum(length(a.text || b.text)) AS s {joined} "
                "GROUP BY 1 ORDER BY 1",
                [], {},
            )
        )  # fmt: skip
        ordered = session.stream(f"SELECT a.id, b.text AS text {joined} ORDER BY b.text", [], {})
        seen, last = 0, ""
        for batch in ordered:
            texts = batch.column("text")
            assert last <= texts[0].as_py() and texts.to_pylist() == sorted(texts.to_pylist())
            seen, last = seen + batch.num_rows, texts[len(texts) - 1].as_py()
    finally:
        stop.set()
        watching.join()
        session.close()
        engine.close()
    assert seen == ROWS
    assert sum(grouped.column("n").to_pylist()) == ROWS
    assert sum(int(one) for one in grouped.column("s").to_pylist()) == ROWS * 2 * WIDTH
    assert ROWS * 2 * WIDTH >= 4 * (MEMORY * MEGABYTE)
    assert largest[0] > MEMORY * MEGABYTE
    assert not [one for one in spill.rglob("*") if one.is_file()]
