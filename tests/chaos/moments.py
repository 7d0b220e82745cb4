"""Times of day, as processes of one machine compare them."""

import time
from typing import Final

_BILLION: Final = 1_000_000_000


def wall() -> float:
    """Return the time of day in seconds."""
    return time.time_ns() / _BILLION


def boot_offset() -> float:
    """Return what to add to a time of /proc/uptime to have the time of day."""
    return wall() - time.clock_gettime(time.CLOCK_BOOTTIME)
