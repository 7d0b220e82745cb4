"""What takes many transactions, with room for others in between; what takes one has a limit."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

import anyio

from queuectl.engine.errors import InvalidValueError


class Step(Protocol):
    """What a step did."""

    @property
    def after(self) -> int | None:
        """Behind what the next one goes on; None where this one was the last."""


S = TypeVar("S", bound=Step)

# Seconds between two steps, of which one takes about as long: another program that waits for
# the database looks now and then whether it is free.
_PAUSE: Final = 0.02

# What one transaction changes that must not be several, because it is all or nothing: a
# fifth of a second, or half of one on a busy machine.
MOST_IDS: Final = 5000


def check_number(ids: Sequence[str], *, everything: str | None = None) -> None:
    """
    Refuse more ids than one transaction takes.

    Args:
        ids: What was asked for.
        everything: How to take all there are instead, where that can be.

    Raises:
        InvalidValueError: There are more.
    """
    if len(ids) > MOST_IDS:
        raise InvalidValueError(
            f"{len(ids)} ids at once are too many: the most is {MOST_IDS}, all or none",
            hint=f"{everything}; else give them in several calls"
            if everything
            else "give them in several calls",
        )


async def in_steps(take: Callable[[int], Awaitable[S]]) -> AsyncIterator[S]:
    """
    Yield what each step did, until nothing is left to do.

    Args:
        take: Does a step, from behind what it is given: where the one before has ended.
    """
    after: int | None = 0

    while after is not None:
        step = await take(after)
        yield step
        after = step.after

        if after is not None:
            await anyio.sleep(_PAUSE)
