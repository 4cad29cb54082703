"""What one execution needs besides its plan.

Takes: nothing. Gives: `Run`. Never runs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from catalog.model import Source
from connectors.base import Abilities
from gateway.choosing import Prices
from gateway.differencing import Atom
from gateway.draft import PlannedFragment
from gateway.engines.base import Engine
from gateway.errors import SqluiceError
from gateway.links import LinkCosts
from gateway.pools import Leases
from gateway.pseudonyms import KeyOf
from gateway.request import Limits
from gateway.result import Result

# Asks the differencing guard whether groups of a table may be shown; raises where they may not.
Admit = Callable[[PlannedFragment, Iterator[Atom]], None]


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one execution needs besides its plan.

    abilities: of a source by its identity, where keys may go. link_costs: of rows on their way.
    prices: of a source by its identity, as they were when the run began; else the declared ones.
    on_progress: told how many rows have left. on_step: told which share of its steps is done.
    """

    query_id: str
    sources: Mapping[str, Source]
    pools: Leases
    engine: Engine
    key_of: KeyOf
    schema: pa.Schema
    limits: Limits
    parameters: tuple[object, ...] = ()
    timezone: str = "UTC"
    on_progress: Callable[[int], None] = lambda _: None
    on_step: Callable[[float], None] = lambda _: None
    on_finish: Callable[[Result, SqluiceError | None], None] | None = None
    admit: Admit | None = None
    link_costs: LinkCosts = LinkCosts()
    abilities: Callable[[str], Abilities | None] = lambda _: None
    prices: Callable[[str], Prices | None] = lambda _: None
