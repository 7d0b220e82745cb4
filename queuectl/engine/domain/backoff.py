"""How long a failed job waits before its next run."""

from datetime import timedelta
from typing import Final

import msgspec

from queuectl.engine.domain.durations import LONGEST

_FURTHEST: Final = LONGEST.total_seconds()


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """
    Exponential backoff with a cap and jitter.

    Attributes:
        base: Seconds; the wait after the n-th run is ``base ** n``.
        longest: Seconds; no wait is longer.
        jitter: The largest share that is added to a wait, 0.1 for 10 %.
    """

    base: float
    longest: float
    jitter: float

    def delay(self, attempts: int, luck: float) -> timedelta:
        """
        Return the wait after this many runs.

        It is never shorter than the formula, unless the cap says so, and never
        longer than the cap: jitter is added before the cap is applied.

        Args:
            attempts: Runs so far, 1 or more.
            luck: Where in the jitter's range to land, 0.0 to 1.0.
        """
        try:
            # A whole base would be raised to a whole number of a million digits.
            seconds = float(self.base) ** attempts * (1 + self.jitter * luck)
        except OverflowError:
            seconds = self.longest

        return timedelta(seconds=min(seconds, self.longest, _FURTHEST))
