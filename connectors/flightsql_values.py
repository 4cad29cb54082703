"""Bound values as another gateway reads them.

Takes: values of a fragment's parameters. Gives: values that Arrow has. Never rounds one.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pyarrow as pa

from connectors.key_texts import as_list

_LARGEST = 2**63 - 1


def sent(value: object) -> object:
    """A value that Arrow has; the other gateway reads it as Python's again. Keys are one text."""
    if isinstance(value, pa.Array):
        return as_list(value)
    if isinstance(value, UUID):
        return str(value)
    is_large = isinstance(value, int) and not -_LARGEST <= value <= _LARGEST
    return Decimal(str(value)) if is_large else value
