"""What every worker does now and then: takes away what the database does not keep for ever."""

from typing import Final

import anyio

from queuectl.engine.runtime.clock import Clock, sleep
from queuectl.engine.runtime.reporting import store_errors_logged
from queuectl.engine.store.base import JobStore

# Seconds between two looks.
PRUNE_INTERVAL: Final = 60.0

# Seconds between two transactions of one look: the queue has the writer for itself nearly
# all the time, and twenty thousand events a second are more than jobs can make.
_PAUSE: Final = 0.05


async def prune_for_ever(store: JobStore, clock: Clock) -> None:
    """Delete old events and sum old figures up, now and then, until cancelled."""
    while True:
        with store_errors_logged("cannot delete old events"):
            await prune(store, clock)

        await sleep(clock, PRUNE_INTERVAL)


async def prune_once(store: JobStore, clock: Clock) -> None:
    """
    Delete some old events, and sum some old figures up, if there are any.

    For a worker that has one job: what it takes away is more than that job adds. Where it
    is cancelled, it goes on until it has looked; the writer does what it was asked for.
    """
    with store_errors_logged("cannot delete old events"):
        with anyio.CancelScope(shield=True):
            retention = (await store.settings()).event_retention
            is_due = await store.needs_pruning(now=clock.now(), retention=retention)

        if is_due:
            await store.prune(now=clock.now(), retention=retention)


async def prune(store: JobStore, clock: Clock) -> None:
    """Take everything away that is too old now, a little at a time."""
    retention = (await store.settings()).event_retention

    # Nothing is written where nothing is to be done.
    if not await store.needs_pruning(now=clock.now(), retention=retention):
        return

    while await store.prune(now=clock.now(), retention=retention):
        await sleep(clock, _PAUSE)
