"""The collector of cycles as in a gateway that serves.

Takes: a block of many statements. Gives: what is there by its beginning is not looked at again
until its end, and trees are collected less often. Never keeps anything beyond the block.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

# A tree of a statement is hundreds of objects: the collector's own measure is a few statements.
_COLLECTED_AFTER = 10_000


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """A tenth of the time would go into looking whether what stays may go."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER, 10, 10)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
