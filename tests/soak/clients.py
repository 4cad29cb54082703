"""All kinds of clients, by name.

Takes: nothing. Gives: what `soak` runs side by side. Never one that needs more than a few seconds
for a turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tests.soak import over_flight, over_http, over_postgres
from tests.soak.running import Turn

CLIENTS: Mapping[str, Turn] = MappingProxyType(
    {
        f"{name}-{turn.__name__}": turn
        for name, turns in {
            "http": (
                over_http.formats, over_http.tokens, over_http.errors, over_http.guessing,
                over_http.cancelling, over_http.leaving, over_http.slowly, over_http.metadata,
            ),
            "flight": (
                over_flight.adbc, over_flight.prepared, over_flight.abandoned, over_flight.options,
                over_flight.cancelling, over_flight.errors, over_flight.own, over_flight.alchemy,
                over_flight.slowly,
            ),
            "postgres": (
                over_postgres.forms, over_postgres.cursors, over_postgres.copy,
                over_postgres.cancelling, over_postgres.errors, over_postgres.leaving,
                over_postgres.slowly,
            ),
        }.items()
        for turn in turns
    }
)  # fmt: skip
