"""In which type the values of a type leave the gateway.

Takes: the name of a DuckDB type. Gives: the same name, with text for what Arrow would lose. Never
looks at a value.
"""

from __future__ import annotations

import re

# Arrow keeps no offset of a time of day, and of bits nothing that a reader knows. A field of a
# struct may have such a name, which a type then follows.
_LOST = re.compile(
    r"""("(?:[^"]|"")*"|'(?:[^']|'')*')|(?:TIME WITH TIME ZONE|\bBIT)(?=$|[\[\),])"""
)


def answer_type(kind: str) -> str:
    """The type in which values of a type leave: text where Arrow has none that keeps them."""
    return _LOST.sub(lambda found: found[1] or "VARCHAR", kind)
