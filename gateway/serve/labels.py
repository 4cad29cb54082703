"""What travels with the schema of an answer beside names and types.

Takes: a result. Gives: its schema with the query id and the masked columns as metadata, for every
endpoint that speaks Arrow. Never changes a field.
"""

from __future__ import annotations

import json

import pyarrow as pa

from gateway.result import Result


def labelled(result: Result) -> pa.Schema:
    """The schema with `sqluice.query_id` and `sqluice.masked`, a list of columns as JSON."""
    known = {
        "sqluice.query_id": result.query_id,
        "sqluice.masked": json.dumps(list(result.masked)),
    }
    return result.schema.with_metadata(known)
