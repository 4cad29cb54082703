"""A text with its type is copied with the tree that holds it."""

from __future__ import annotations

import copy
import pickle

from gateway.computed import TypedText


def test_copies_keep_the_type() -> None:
    made = TypedText("2013-07-01", "DATE")
    for other in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert (other, other.type_name) == ("2013-07-01", "DATE")
