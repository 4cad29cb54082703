"""Keys as one text, in the form in which a source reads many values from one.

Takes: keys, an Arrow array without NULL. Gives: a JSON array, PostgreSQL's array, DuckDB's list.
Never leaves a character out: what a form cannot hold is an error, or matches nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from connectors.base import ConnectorError


def as_json(keys: pa.Array) -> str:
    """Keys as a JSON array; a ConnectorError for a text that SQLite's JSON would cut."""
    if pa.types.is_integer(keys.type):
        return f"[{_joined(keys)}]"
    texts = _texts(keys)
    if any("\0" in one for one in texts):
        raise ConnectorError("a key holds a NUL")
    return json.dumps(texts)


def as_array(keys: pa.Array) -> str:
    """Keys as PostgreSQL writes an array; it has no texts with a NUL, so they match none."""
    if pa.types.is_integer(keys.type):
        return f"{{{_joined(keys)}}}"
    return f"{{{_quoted(one for one in _texts(keys) if chr(0) not in one)}}}"


def as_list(keys: pa.Array) -> str:
    """Keys as DuckDB reads a list from a text."""
    if pa.types.is_integer(keys.type):
        return f"[{_joined(keys)}]"
    return f"[{_quoted(_texts(keys))}]"


def _texts(keys: pa.Array) -> list[str]:
    found: list[str] = pc.cast(keys, pa.string()).to_pylist()
    return found


def _quoted(texts: Iterable[str]) -> str:
    return ",".join('"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"' for one in texts)


def _joined(keys: pa.Array) -> str:
    texts = pa.ListArray.from_arrays([0, len(keys)], pc.cast(keys, pa.string()))
    return str(pc.binary_join(texts, ",")[0].as_py())
