"""What an engine tells of the queue as a whole: statistics, history, events."""

import builtins
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

from queuectl.engine.domain.activity import LONGEST, Point, Totals
from queuectl.engine.domain.events import Event
from queuectl.engine.domain.looks import LARGEST_NUMBER
from queuectl.engine.domain.stats import QueueStats
from queuectl.engine.errors import EventsPrunedError, InvalidValueError, plain
from queuectl.engine.runtime.context import EngineContext

_PAGE: Final = 1000
_MOST_LAST: Final = 100_000
_MINUTE: Final = timedelta(minutes=1)
_QUARTER: Final = timedelta(minutes=15)
_HOUR: Final = timedelta(hours=1)

# As stores keep it.
_BY_THE_MINUTE: Final = timedelta(hours=2)


class EngineFigures(EngineContext):
    """The part of an engine that tells how the queue is, was, and changes."""

    async def stats(self, *, tag: str | None = None) -> QueueStats:
        """
        Return the queue at a glance.

        Without a tag this is read from counters, however many jobs there are. The
        activity of the last minute is counted by steps of two seconds, that of the
        hour by the minute, that of the day by the quarter of an hour: of the step in
        which a period begins, a part is taken.

        Args:
            tag: Only of the jobs with this tag that are in the database; every one
                of them is read, some thousands at a time, each as it is then. The
                workers are all there are. Waits are not known of runs that were
                recorded by an older version.
        """
        stats = await self._store.stats(now=self._clock.now(), tag=tag)

        return QueueStats(
            counts=stats.counts,
            avg_duration=stats.avg_duration,
            oldest_pending=stats.oldest_pending,
            workers=tuple(await self._roster.list()),
            activity=stats.activity,
        )

    async def history(self, period: timedelta = _HOUR, *, steps: int = 60) -> builtins.list[Point]:
        """
        Return what happened step by step, the oldest first; for charts.

        The last step is the one that goes on now. Steps in which nothing happened are
        there too.

        Args:
            period: How far back to look, one day at the most.
            steps: How many; each must be a whole number of minutes long, and of
                quarters of an hour where the period is longer than two hours.

        Raises:
            InvalidValueError: The period or the number of steps is not possible.
        """
        step = _step(period, steps)
        return await self._store.history(now=self._clock.now(), step=step, steps=steps)

    async def totals(self) -> Totals:
        """Return what happened since the database was made: numbers that never fall."""
        return await self._store.totals()

    async def events(
        self, *, since: int | None = None, job_id: str | None = None
    ) -> AsyncIterator[Event]:
        """
        Yield changes of jobs' states as they are made, by any process, without end.

        None is left out. Events outlive their jobs, and are kept for as long as the
        config key ``event-retention`` says.

        Args:
            since: Begin behind this sequence number, 0 for all that is kept;
                else with what happens from now on.
            job_id: Only what happens to this job. Every event behind the number is
                looked at, of whichever job: some hundredths of a second a million.

        Raises:
            EventsPrunedError: The number is above 0, and some behind it are not
                kept any more; or some behind the last one that was yielded.
            InvalidValueError: No event has had that number yet, or can have it.
        """
        if since is not None:
            _check_whole("since", since, 0, LARGEST_NUMBER)

        async for event in self._waiting.events(since, job_id):
            yield event

    async def past_events(
        self, *, since: int = 0, last: int | None = None, job_id: str | None = None
    ) -> AsyncIterator[Event]:
        """
        Yield what has happened so far, in order; and end there.

        Args:
            since: Begin behind this sequence number, 0 for all that is kept.
            last: Only the last so many of all that is kept, 1 to 100,000: they are
                held at once.
            job_id: Only what happened to this job. Every event is looked at, of
                whichever job: some hundredths of a second a million.

        Raises:
            EventsPrunedError: The number is above 0, and some behind it are not
                kept any more.
            InvalidValueError: No event has had that number yet, or can have it, or
                ``last`` is out of range.
        """
        _check_whole("since", since, 0, LARGEST_NUMBER)

        if last is not None:
            _check_whole("last", last, 1, _MOST_LAST)

        newest = await self._store.last_event()

        if last is not None:
            for event in await self._store.last_events(limit=last, job_id=job_id):
                if event.seq > since:
                    yield event

            return

        wants_all = since == 0

        while page := await self._page(since, job_id, wants_all=wants_all):
            for event in page:
                if event.seq > newest:
                    return

                yield event

            since = page[-1].seq

    async def _page(
        self, since: int, job_id: str | None, *, wants_all: bool
    ) -> builtins.list[Event]:
        """Return the next events; with `wants_all` those that are kept still, whatever has gone."""
        while True:
            try:
                return await self._store.events(since=since, limit=_PAGE, job_id=job_id)
            except EventsPrunedError as error:
                if not wants_all:
                    raise

                since = error.oldest - 1

    async def changes(
        self, *, at_most_every: float = 0.25, at_least_every: float = 2.0
    ) -> AsyncIterator[None]:
        """
        Yield at once, and again when anything in the database has changed; for live views.

        It does not matter which process changed it. Several changes may be told as
        one, and where nothing changes it is told as well, for ages grow. Who takes long
        to look is told less often: there is as long between two looks as one takes.

        Args:
            at_most_every: Seconds between two of them at the least.
            at_least_every: Seconds between two of them at the most.

        Raises:
            InvalidValueError: The first is below 0, or above the second.
        """
        if not 0 <= at_most_every <= at_least_every:
            msg = f"cannot tell between every {at_most_every:g} and every {at_least_every:g} s"
            raise InvalidValueError(msg)

        async for _ in self._waiting.changes(at_most_every, at_least_every):
            yield

    async def last_event(self) -> int:
        """Return the sequence number of the last event, 0 before the first."""
        return await self._store.last_event()


def _check_whole(name: str, value: object, lowest: int, highest: int) -> None:
    """
    Check a whole number.

    Raises:
        InvalidValueError: It is none, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{name} must be a whole number, got {type(value).__name__}"
        raise InvalidValueError(msg)

    if not lowest <= value <= highest:
        msg = f"{name} must be {lowest} to {highest}, not {plain(value)}"
        raise InvalidValueError(msg)


def _step(period: timedelta, steps: int) -> timedelta:
    """
    Return how long one step is.

    Raises:
        InvalidValueError: See `EngineFigures.history`.
    """
    if not timedelta() < period <= LONGEST:
        msg = f"a history is of one day at the most, and not of {period}"
        raise InvalidValueError(msg)

    unit, words = (
        (_MINUTE, "minutes") if period <= _BY_THE_MINUTE else (_QUARTER, "quarters of an hour")
    )

    if steps < 1 or period % (steps * unit):
        msg = f"{period} cannot be divided into {steps} steps of whole {words}"
        raise InvalidValueError(msg)

    return period / steps
