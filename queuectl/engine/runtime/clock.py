"""The only reader of the clocks."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Timer(Protocol):
    """A call that will be made."""

    def cancel(self) -> None:
        """Do not make it."""


class Clock(Protocol):
    """Tells the time, and calls when some has passed."""

    def now(self) -> datetime:
        """Return the time of day, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that nobody sets back; only differences mean anything."""

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call on the running loop when this many seconds have passed."""


class SystemClock:
    """
    The machine's clocks.

    Waiting goes by the loop's clock, which stands still while the machine is
    suspended and does not jump when the time of day is set.
    """

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        now = datetime.now(UTC)
        # What is kept is kept in milliseconds; so nothing changes on its way.
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        """Return the loop's seconds."""
        return asyncio.get_running_loop().time()

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call on the running loop when this many seconds have passed."""
        return asyncio.get_running_loop().call_later(seconds, call)


async def sleep(clock: Clock, seconds: float) -> None:
    """Return when this many seconds of the clock have passed."""
    passed = asyncio.Event()
    timer = clock.call_later(seconds, passed.set)

    try:
        await passed.wait()
    finally:
        timer.cancel()
