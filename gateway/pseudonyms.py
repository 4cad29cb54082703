"""Pseudonyms, computed by the gateway over Arrow columns.

Takes: batches and a key per join group. Gives: batches with the pseudonym columns added. Never
logs or returns a key (DESIGN 5, rule 5: HMAC-SHA-256 over a canonical UTF-8 form, `p_` and 26
base32 characters, NULL stays NULL).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from connectors.base import Fragment
from gateway.draft import KeyBlock, PseudonymColumn

KeyOf = Callable[[str], bytes]
_LENGTH = 26
_BLOCK = 64


def canonical(value: object) -> str:
    """The form that is hashed: text as is, integers decimal, dates and uuids ISO."""
    if isinstance(value, str):
        return value
    if isinstance(value, date | UUID) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return str(int(value))
    raise TypeError(f"no pseudonym for a value of type {type(value).__name__}")


def pseudonym(value: object, key: bytes) -> str:
    """The pseudonym of one value that is not NULL."""
    return _text(hmac.new(key, canonical(value).encode(), hashlib.sha256).digest())


def _text(digest: bytes) -> str:
    return "p_" + base64.b32encode(digest).decode().lower()[:_LENGTH]


def key_block(key: bytes, is_outer: bool) -> bytes:
    """What HMAC-SHA-256 puts before what it hashes: the padded key, with one of two patterns."""
    pattern = 0x5C if is_outer else 0x36
    return bytes(one ^ pattern for one in key.ljust(_BLOCK, b"\0"))


def with_keys(fragment: Fragment, key_of: KeyOf) -> Fragment:
    """The fragment with the blocks of keys among its bound values."""
    if not any(isinstance(one, KeyBlock) for one in fragment.parameters):
        return fragment
    values = tuple(
        key_block(key_of(one.join_group), one.is_outer) if isinstance(one, KeyBlock) else one
        for one in fragment.parameters
    )
    return replace(fragment, parameters=values)


def with_pseudonyms(
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    columns: Sequence[PseudonymColumn],
    key_of: KeyOf,
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The schema and batches with the columns added at the end; hashes are written out in place."""
    for one in columns:
        if not one.is_hashed:
            schema = schema.append(pa.field(one.name, pa.string()))
    keys = {one.join_group: key_of(one.join_group) for one in columns if not one.is_hashed}
    caches: dict[str, dict[object, str | None]] = {one.name: {} for one in columns}

    def generate() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            arrays = list(batch.columns)
            for one in columns:
                if one.is_hashed:
                    place = batch.schema.get_field_index(one.name)
                    arrays[place] = _written(batch.column(place), caches[one.name])
                    continue
                source = batch.column(batch.schema.get_field_index(one.source_column))
                arrays.append(_mapped(source, keys[one.join_group], caches[one.name]))
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return schema, generate()


def _written(array: pa.Array, cache: dict[object, str | None]) -> pa.Array:
    """Pseudonyms of hex digests."""
    encoded = array.dictionary_encode()
    values = []
    for value in encoded.dictionary.to_pylist():
        if value not in cache:
            cache[value] = None if value is None else _text(bytes.fromhex(value))
        values.append(cache[value])
    return pa.array(values, pa.string()).take(encoded.indices)


def _mapped(array: pa.Array, key: bytes, cache: dict[object, str | None]) -> pa.Array:
    """Hashes each distinct value once a fragment."""
    if pa.types.is_date(array.type):
        # Python has no date before the year 1 or after 9999.
        array = pc.cast(array, pa.string())
    encoded = array.dictionary_encode()
    values = []
    for value in encoded.dictionary.to_pylist():
        if value not in cache:
            cache[value] = None if value is None else pseudonym(value, key)
        values.append(cache[value])
    return pa.array(values, pa.string()).take(encoded.indices)
