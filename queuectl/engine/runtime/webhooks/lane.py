"""What is remembered while messages are sent: how webhooks took them, and where they wait."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from queuectl.engine.domain.delivering import Answer, asked_for, decide_pause

# Seconds for which a webhook has to have refused all messages before those are given up
# that are overdue: those that waited behind others for longer than all attempts of one
# take, which is 27 hours at the most, and not only while nobody sent any.
REFUSED_SECONDS: Final = 28 * 3600.0


class Records:
    """
    Whether what comes of messages can be recorded: what cannot is sent again.

    Times are seconds of the clock's `monotonic`. As long as nothing can be recorded, less
    and less is sent.
    """

    def __init__(self) -> None:
        # How often in a row it was refused, and until when nothing is sent for that.
        self._refusals = 0
        self._held_until = 0.0

    @property
    def are_refused(self) -> bool:
        """Whether the last ones were."""
        return self._refusals > 0

    def hear(self, *, are_kept: bool, now: float) -> None:
        """Learn whether some were recorded."""
        if are_kept:
            self._refusals, self._held_until = 0, 0.0
        # Those that were on their way already say nothing new.
        elif now >= self._held_until:
            self._refusals += 1
            self._held_until = now + decide_pause((), self._refusals).total_seconds()

    def seconds_held(self, now: float) -> float:
        """Return for how much longer nothing is sent."""
        return max(0.0, self._held_until - now)


class Lane:
    """
    How a webhook takes what it is sent by us; times are seconds of the clock's `monotonic`.

    Attributes:
        is_busy: Whether it is being sent something.
        asked: The longest that it has asked to be left alone for since it took a message.
    """

    def __init__(self) -> None:
        self.is_busy = False
        self.asked: timedelta = timedelta()
        # How often in a row it took nothing, and since when.
        self._refusals = 0
        self._refused_since: float | None = None
        self._held_until: float | None = None
        # Whether it was released while it was being sent something.
        self._is_wanted = False

    def hear(self, answers: Sequence[Answer], now: float) -> None:
        """Learn what it answered to messages that were sent together, one or more."""
        refused = [answer for answer in answers if not answer.is_taken]

        if len(refused) < len(answers):
            self._refusals, self._refused_since, self.asked = 0, None, timedelta()
        else:
            self._refusals += 1
            self._refused_since = now if self._refused_since is None else self._refused_since

        self.asked = max(self.asked, asked_for(refused))

        if not self._is_wanted:
            self.hold(decide_pause(refused, self._refusals).total_seconds(), now)

        self._is_wanted = False

    def hold(self, seconds: float, now: float) -> None:
        """Leave it alone for so long."""
        self._held_until = now + seconds

    def release(self) -> None:
        """Try it again, also behind what it is being sent; where it refuses, hold it again."""
        self._held_until = None
        self._is_wanted = self.is_busy

    def seconds_held(self, now: float) -> float:
        """Return for how much longer it is left alone."""
        return 0.0 if self._held_until is None else max(0.0, self._held_until - now)

    def is_hopeless(self, now: float) -> bool:
        """Whether it has refused all messages for a while."""
        return self._refused_since is not None and now >= self._refused_since + REFUSED_SECONDS
