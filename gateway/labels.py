"""What travels with the schema of an answer beside names and types.

Takes: a result. Gives: its schema with what is known of the answer as metadata, for whatever
speaks Arrow. Never changes a name or a type.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import pyarrow as pa

from gateway.result import Result


def labelled(result: Result) -> pa.Schema:
    """The schema with `sqluice.query_id`, and as JSON `masked`, `products` and `row_limit`.

    A field that holds masked values carries `sqluice.mask`, the kinds of its masks.
    """
    fields = [_field(one, result.masks.get(one.name, "")) for one in result.schema]
    known = {
        "sqluice.query_id": result.query_id,
        "sqluice.masked": json.dumps(list(result.masked)),
        "sqluice.products": json.dumps([asdict(one) for one in result.products]),
        "sqluice.row_limit": json.dumps(result.row_limit),
    }
    return pa.schema(fields, metadata=known)


def _field(one: pa.Field, mask: str) -> pa.Field:
    return one.with_metadata({**(one.metadata or {}), b"sqluice.mask": mask}) if mask else one
