"""What stands in one revision and not in another.

Takes: two meshes. Gives: for products, policies, grants, exceptions, entitlements and ceilings
which are new, gone or changed. Never says what a change lets through: `tighten` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from catalog.model import Mesh
from catalog.own_products import DOMAIN
from gateway.policies.widening import plain


@dataclass(frozen=True, slots=True)
class Changes:
    """Names, sorted."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def changes(before: Mesh | None, after: Mesh) -> Mapping[str, Changes]:
    """What changed, by kind; without `before` everything is new."""
    older = _held(before) if before is not None else {}
    return {kind: _changes(older.get(kind, {}), now) for kind, now in _held(after).items()}


def _held(mesh: Mesh) -> dict[str, dict[str, object]]:
    products = {
        f"{one.address}@{one.major}": plain(one) for one in mesh.products if one.domain != DOMAIN
    }
    grants = [one for one in mesh.grants if one.domain != DOMAIN]
    return {
        "products": products, "policies": _by_id(mesh.policies), "grants": _by_id(grants),
        "exceptions": _by_id(mesh.exceptions), "entitlements": _by_id(mesh.entitlements),
        "ceilings": _by_id(mesh.ceilings),
    }  # fmt: skip


def _by_id(values: Iterable[Any]) -> dict[str, object]:
    return {str(one.id): plain(one) for one in values}


def _changes(before: Mapping[str, object], after: Mapping[str, object]) -> Changes:
    both = before.keys() & after.keys()
    return Changes(
        tuple(sorted(after.keys() - before.keys())),
        tuple(sorted(before.keys() - after.keys())),
        tuple(sorted(one for one in both if before[one] != after[one])),
    )
