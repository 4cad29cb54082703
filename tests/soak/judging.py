"""Whether what a gateway holds after much work is what it may hold.

Takes: counts at rest, after the second and after the last third, and memory all along. Gives:
problems, in words. Never judges time.

Nothing may run, be active at a source or lie in a folder. What pools may keep (idle connections,
threads of executors) grows with the most that ever ran at once, which still happens in the last
third: so many more are tolerated. Memory is compared by medians, at rest and at work: an allocator
keeps what was once needed at the same time, so that a peak tells little, and what leaks with each
statement shows in the median. The bound is 4 % and 24 MiB: in ten minutes that is about 2 KiB a
statement.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.soak.counts import Counts

# Pools of the gateway: 8 connections for each of two PostgreSQL sources.
MOST_SESSIONS = 16
MORE_THREADS, MORE_DESCRIPTORS, MORE_SOCKETS = 24, 10, 8
MORE_MEMORY, MORE_SHARE = 24 << 20, 0.04


def left(last: Counts) -> list[str]:
    """What is held at rest, and ought not to be."""
    found = []
    if last.running:
        found.append(f"{last.running} statements run still, and nobody waits for them")
    if last.active:
        found.append(f"{last.active} sessions of PostgreSQL are not idle")
    if last.sessions > MOST_SESSIONS:
        found.append(f"{last.sessions} sessions of PostgreSQL are more than the pools may keep")
    if last.files:
        found.append(f"{len(last.files)} temporary files are left: {', '.join(last.files[:3])}")
    if found and last.statements:
        found[0] += f" ({'; '.join(last.statements[:5])})"
    return found


def grown(second: Counts, last: Counts) -> list[str]:
    """What pools hold more and more of."""
    found = []
    for what, before, after, more in (
        ("threads", second.threads, last.threads, MORE_THREADS),
        ("file descriptors", second.descriptors, last.descriptors, MORE_DESCRIPTORS),
        ("sockets", second.sockets, last.sockets, MORE_SOCKETS),
    ):
        if after > before + more:
            found.append(f"{what} have grown from {before} to {after}")
    return found


def growth(second: Sequence[int], last: Sequence[int], when: str) -> list[str]:
    """What memory has grown beyond its bound."""
    before, after = statistics.median(second), statistics.median(last)
    if after <= before * (1 + MORE_SHARE) + MORE_MEMORY:
        return []
    return [f"memory {when} has grown from {int(before) >> 20} to {int(after) >> 20} MiB"]
