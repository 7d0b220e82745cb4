"""What takes many transactions: one after the other, so that others can write in between."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

import anyio

from queuectl.engine.store.base import Purged, Retried

S = TypeVar("S", Purged, Retried)

# Seconds between two steps, of which one takes about as long: another program that waits for
# the database looks now and then whether it is free.
_PAUSE: Final = 0.02


async def in_steps(take: Callable[[int], Awaitable[S]]) -> AsyncIterator[S]:
    """
    Yield what each step did, until nothing is left to do.

    Args:
        take: Does a step, from behind the job that it is given.
    """
    after: int | None = 0

    while after is not None:
        step = await take(after)
        yield step
        after = step.after

        if after is not None:
            await anyio.sleep(_PAUSE)
