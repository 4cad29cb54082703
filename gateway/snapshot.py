"""A revision of the mesh, ready to answer.

Takes: a mesh and its compiled policies. Gives: the immutable pair that one request works on from
start to end, whatever is published meanwhile. Never changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.model import Mesh
from gateway.decision import PolicyIndex


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A mesh and the index of its policies, of one revision."""

    mesh: Mesh
    index: PolicyIndex
