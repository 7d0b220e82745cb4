"""The only reader of the time of day; and how to wait."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

# CLOCK_REALTIME_COARSE, which Python has no name for: linux/time.h, and clock_gettime(2).
_FILE_CLOCK: Final = 5 if sys.platform == "linux" else time.CLOCK_REALTIME


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


def file_time() -> float:
    """Return the time of day in seconds as files are dated with it, which is not the finest."""
    return time.clock_gettime(_FILE_CLOCK)


async def sleep(clock: Clock, seconds: float) -> None:
    """Return when this many seconds of the clock have passed."""
    passed = asyncio.Event()
    timer = clock.call_later(seconds, passed.set)

    try:
        await passed.wait()
    finally:
        timer.cancel()


async def until(
    look: Callable[[], Awaitable[bool | None]], seconds: float, pauses: Sequence[float]
) -> bool:
    """
    Look again and again until something outside this program is so, in real time.

    Args:
        look: Returns whether it is so; None where to wait for it any longer is no use.
        seconds: To wait for it at the most.
        pauses: Seconds between two looks, one after the other; the last one stays.

    Returns:
        Whether it is so.
    """
    clock = SystemClock()
    deadline = clock.monotonic() + seconds
    rest = iter(pauses)

    while not (is_so := await look()):
        if is_so is None or clock.monotonic() >= deadline:
            return False

        await sleep(clock, next(rest, pauses[-1]))

    return True
