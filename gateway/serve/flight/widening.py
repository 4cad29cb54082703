"""Types that a client would read as other values.

Takes: a schema and what the client calls itself. Gives: the schema in which he reads the same
values. Never changes a value, and no schema of a client who reads all types.

Arrow's JDBC driver has no unsigned integers: it reads 200 as -56 and 18446744073709551615 as -1.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pyarrow as pa

# What gRPC's library for Java puts into every user agent; the driver has no other mark.
_JAVA = "grpc-java"
_SIGNED: Mapping[pa.DataType, pa.DataType] = MappingProxyType(
    {
        pa.uint8(): pa.int16(),
        pa.uint16(): pa.int32(),
        pa.uint32(): pa.int64(),
        pa.uint64(): pa.decimal128(20, 0),
    }
)


def is_java(agent: str) -> bool:
    """Whether the client is a program over gRPC for Java, such as Arrow's JDBC driver."""
    return _JAVA in agent


def widened(schema: pa.Schema, agent: str) -> pa.Schema:
    """The schema that this client reads rightly."""
    if not is_java(agent):
        return schema
    fields = [one.with_type(_widened(one.type)) for one in schema]
    return pa.schema(fields, metadata=schema.metadata)


def fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch with the types of the schema; the same where they are equal."""
    if batch.schema.types == schema.types:
        return batch
    return batch.cast(pa.schema(list(schema), metadata=batch.schema.metadata))


def _widened(one: pa.DataType) -> pa.DataType:
    if pa.types.is_list(one):
        return pa.list_(one.value_field.with_type(_widened(one.value_type)))
    if pa.types.is_struct(one):
        return pa.struct([part.with_type(_widened(part.type)) for part in one.fields])
    return _SIGNED.get(one, one)
