"""Waiting with a deadline: what tests do instead of sleeping."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from queuectl import QueueEngine
from queuectl.engine.domain.events import Event, EventKind

PATIENCE: Final = 10.0
_LOOK: Final = 0.005


async def wait_for_event(
    engine: QueueEngine,
    kind: EventKind,
    job_id: str | None = None,
    *,
    since: int = 0,
    seconds: float = PATIENCE,
) -> Event:
    """
    Return the first event of a kind; one that has happened already counts.

    Args:
        engine: Open.
        kind: What is to happen.
        job_id: To which job; None for any.
        since: Only behind this sequence number.
        seconds: The deadline.

    Raises:
        AssertionError: It did not happen in time; the message tells what did.
    """
    seen: list[str] = []

    with anyio.move_on_after(seconds):
        async for event in engine.events(since=since):
            seen.append(f"{event.job_id} {event.kind}")

            if event.kind is kind and job_id in {None, event.job_id}:
                return event

    raise AssertionError(f"no {kind} of {job_id or 'any job'} in {seconds:g} s, but {seen}")


async def wait_until(
    condition: Callable[[], bool | Awaitable[bool]],
    *,
    seconds: float = PATIENCE,
) -> None:
    """
    Return when a condition holds; for what tells nobody, as files and processes.

    Raises:
        AssertionError: It did not hold in time.
    """
    with anyio.move_on_after(seconds):
        while True:
            holds = condition()

            if await holds if inspect.isawaitable(holds) else holds:
                return

            await anyio.sleep(_LOOK)

    raise AssertionError(f"{condition} did not hold within {seconds:g} s")
