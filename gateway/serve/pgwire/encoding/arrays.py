"""Lists as PostgreSQL's arrays, in text and in binary.

Takes: an Arrow list, and how its values are written. Gives: columns of bytes. Never walks over rows
in Python: all values are written at once, and each list is a stretch of what that makes. Arrays of
several dimensions are made of lists whose inner ones have their length by their type: no other has
a row of them for sure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.errors import TypeMismatch
from gateway.serve.pgwire.encoding.matrices import Integers, of_bytes, of_matrix

Encode = Callable[[pa.Array], pa.Array]
_QUOTED = r'^$|[\s"{},\\]|^(?i:null)$'


def array_text(column: pa.Array, encode: Encode, plain: bool) -> pa.Array:
    """`{1,NULL,"a b"}`; values of a plain type need no quotes."""
    values, places = _flat(column)
    texts = encode(values)
    if not plain:
        texts = _quoted(texts)
    texts = texts.fill_null(b"NULL")
    is_first = np.zeros(len(texts), np.bool_)
    starts = places[:-1][places[:-1] < places[1:]]
    is_first[starts] = True
    comma = pc.if_else(pa.array(is_first), pa.scalar(b""), pa.scalar(b","))
    inner = _stretches(pc.binary_join_element_wise(comma, texts, b""), places, column)
    return pc.binary_join_element_wise(b"{", inner, b"}", b"")


def array_binary(column: pa.Array, encode: Encode, oid: int, inner: Sequence[int] = ()) -> pa.Array:
    """Dimensions, whether there are NULLs, type of the values; then each with its length.

    `inner` are the lengths of the dimensions below the first.
    """
    values, places = _flat(column)
    sizes = np.diff(places)
    for length in inner:
        values, _ = _flat(values)
        places = places * length
    stretches = _stretches(with_lengths(encode(values)), places, column)
    before = np.zeros(len(values) + 1, np.int64)
    np.cumsum(pc.is_null(values).to_numpy(zero_copy_only=False), out=before[1:])
    table = np.empty((len(column), 5 + 2 * len(inner)), ">i4")
    table[:, 0] = 1 + len(inner)
    table[:, 1] = before[places[1:]] > before[places[:-1]]
    table[:, 2] = oid
    # Of each dimension its length, and from where it counts.
    table[:, 3] = sizes
    table[:, 5::2] = inner
    table[:, 4::2] = 1
    empty = sizes == 0
    table[empty, :2] = 0
    width = 4 * table.shape[1]
    mask = np.ones((len(column), width), np.bool_)
    mask[empty, 12:] = False
    head = of_matrix(table.view(np.uint8).reshape(len(column), width), column, mask)
    return pc.binary_join_element_wise(head, stretches, b"")


def with_lengths(values: pa.Array) -> pa.Array:
    """Each value behind its length in four bytes; NULL is -1."""
    sizes = pc.binary_length(values).fill_null(-1).to_numpy(zero_copy_only=False)
    heads = np.ascontiguousarray(sizes.astype(">i4")).view(np.uint8).reshape(len(values), 4)
    whole = pa.nulls(0, pa.int8()) if not len(values) else pa.array(sizes)
    return pc.binary_join_element_wise(of_matrix(heads, whole), values.fill_null(b""), b"")


def _flat(column: pa.Array) -> tuple[pa.Array, Integers]:
    """All values of all lists, and where each list begins; the end is the last place."""
    if pa.types.is_fixed_size_list(column.type):
        column = column.cast(pa.list_(column.type.value_type))
    sizes = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    places = np.zeros(len(column) + 1, np.int64)
    np.cumsum(sizes, out=places[1:])
    values = column.flatten()
    if pa.types.is_fixed_size_list(values.type) and values.null_count:
        raise TypeMismatch(
            "An array within an array of the answer is NULL, which PostgreSQL's arrays cannot say.",
            hint="Ask for it as to_json(...), or with coalesce in the place of NULL.",
        )
    return values, places


def _stretches(values: pa.Array, places: Integers, column: pa.Array) -> pa.Array:
    """The bytes of neighbouring values as one value for each list."""
    whole = values if not values.offset else pa.concat_arrays([values, values.slice(0, 0)])
    _, offsets, data = whole.buffers()
    ends = np.frombuffer(offsets or bytes(4), np.int32)[: len(whole) + 1].astype(np.int64)
    return of_bytes(memoryview(data) if data is not None else b"", ends[places], column)


def _quoted(texts: pa.Array) -> pa.Array:
    """In quotes where the text would be read as something else."""
    read = texts.cast(pa.string())
    needs = pc.match_substring_regex(read, _QUOTED)
    escaped = pc.replace_substring_regex(read, r'(["\\])', r"\\\1")
    inside = pc.binary_join_element_wise('"', escaped, '"', "")
    return pc.if_else(needs, inside, read).cast(pa.binary())
