"""What rows cost on their way from each source.

Takes: what the session says, what sources and the mesh say. Gives: `cheap` or `dear` by source. The
session's word holds for all sources, a source's own goes before the default of the mesh.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from catalog.model import Source


@dataclass(frozen=True, slots=True)
class LinkCosts:
    """asked: by the session, empty where it says nothing. sources: by their identity."""

    asked: str = ""
    default: str = "cheap"
    sources: Mapping[str, Source] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def usual(self) -> str:
        """`cheap` or `dear`: of sources that say nothing themselves."""
        return self.asked or self.default

    def of(self, source: str) -> str:
        """`cheap` or `dear`, by the identity of a source."""
        known = self.sources.get(source)
        return self.asked or (known.link_cost if known is not None else "") or self.default

    def others(self, sources: Iterable[str]) -> Mapping[str, str]:
        """Of those among the sources that are not as usual."""
        found = {one: self.of(one) for one in sorted(set(sources))}
        return {one: cost for one, cost in found.items() if cost != self.usual}
