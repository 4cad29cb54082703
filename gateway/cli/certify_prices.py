"""What `sqluice certify --prices` shows: by which prices the planner chooses.

Takes: the prices of a state, sources. Gives: a table or JSON: declared or certified, learned, in
force. Never asks a source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from catalog.model import Source
from gateway.choosing import Prices
from gateway.cli.output import print_json, print_table
from gateway.prices import LearnedPrices

_NAMES = ("statement", "row", "key", "byte")


def show_prices(
    prices: LearnedPrices, sources: Sequence[Source], forget: bool, as_json: bool
) -> None:
    """Show the prices of sources; with `forget` those that are left."""
    for one in sources if forget else ():
        prices.forget(one.identity)
    found: dict[str, dict[str, Prices | None]] = {
        one.identity: {
            "measured": prices.measured(one), "learned": prices.learnt(one.identity),
            "in_force": prices.of(one),
        }
        for one in sources
    }  # fmt: skip
    if as_json:
        print_json({"prices": {
            name: {what: asdict(one) if one is not None else None for what, one in held.items()}
            for name, held in found.items()
        }})  # fmt: skip
        return
    print_table(
        ["source", "", "ms a statement", "µs a row", "µs a key", "µs a byte"],
        [
            [name, what.replace("_", " "), *(f"{getattr(one, each):.4g}" for each in _NAMES)]
            for name, held in found.items()
            for what, one in held.items()
            if one is not None
        ],
    )
