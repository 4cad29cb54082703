"""What is known of an answer beside its rows.

Takes: the schema of an answer, whose metadata the gateway wrote, and the batches as they come.
Gives: query id, products, masks; counts; warnings. Never fails on what a newer gateway says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Known:
    """What the gateway said. `row_limit` is where a longer answer is cut."""

    query_id: str | None = None
    masked: tuple[str, ...] = ()
    masks: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    products: tuple[Mapping[str, object], ...] = ()
    row_limit: int | None = None


@dataclass(slots=True)
class Progress:
    """What has come of an answer so far."""

    rows: int = 0
    bytes: int = 0
    is_complete: bool = False
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def counted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches, counted as they pass."""
        for batch in batches:
            self.rows += batch.num_rows
            self.bytes += batch.nbytes
            yield batch
        self.is_complete = True
        self.ended = time.monotonic()

    def as_dict(self) -> dict[str, object]:
        """The counts by name."""
        until = time.monotonic() if self.ended is None else self.ended
        return {
            "rows": self.rows, "bytes": self.bytes, "seconds": until - self.began,
            "is_complete": self.is_complete,
        }  # fmt: skip


def known_of(schema: pa.Schema) -> Known:
    """What the metadata of a schema say."""
    metadata: Mapping[bytes, bytes] = schema.metadata or {}
    query_id = metadata.get(b"sqluice.query_id")
    masked, products = _json(metadata, "masked"), _json(metadata, "products")
    limit = _json(metadata, "row_limit")
    return Known(
        query_id=None if query_id is None else query_id.decode(),
        masked=tuple(str(one) for one in masked) if isinstance(masked, list) else (),
        masks={one.name: found for one in schema if (found := mask_of(one))},
        products=tuple(
            one for one in (products if isinstance(products, list) else ()) if isinstance(one, dict)
        ),
        row_limit=limit if isinstance(limit, int) else None,
    )


def mask_of(field: pa.Field) -> str:
    """The kinds of masks behind a field's values; '' where they are clear."""
    found: bytes = (field.metadata or {}).get(b"sqluice.mask", b"")
    return found.decode()


def warnings_of(known: Known, rows: int) -> tuple[str, ...]:
    """What a reader should know, in sentences."""
    found = [f"{name} holds masked values ({kinds})." for name, kinds in known.masks.items()]
    if known.row_limit is not None and rows >= known.row_limit:
        found.append(f"The answer ends at the row limit of {known.row_limit}: there may be more.")
    return tuple(found)


def _json(metadata: Mapping[bytes, bytes], name: str) -> object:
    text = metadata.get(f"sqluice.{name}".encode())
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return None
