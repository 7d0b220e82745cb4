"""What `top` looks at: the queue, what runs, and what went wrong lately."""

import re
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from heapq import nlargest
from typing import TYPE_CHECKING, Final, NamedTuple

from queuectl import (
    EventKind,
    EventsPrunedError,
    JobNotFoundError,
    JobState,
    OutputMissingError,
    RunNotFoundError,
)

if TYPE_CHECKING:
    from queuectl import Event, Job, QueueEngine, QueueStats

# How many failures are remembered, and how many events are searched for them at first.
_FAILURES: Final = 100
_FIRST_EVENTS: Final = 1000

# As many running jobs as one page may have; those that run longest are among them, unless
# there are more.
_RUNNING: Final = 1000

# Bytes from the end of an output in which its last line is looked for.
_TAIL: Final = 4096

# Select Graphic Rendition (ECMA-48, 8.3.117): colours, which are not the job's to choose here.
_COLOUR: Final = re.compile(r"\x1b\[[0-9;:]*m")
_END_OF_LINE: Final = re.compile(r"[\r\n]+")
_CONTINUATIONS: Final = bytes(range(0x80, 0xC0))

_NOTHING: Final = timedelta()
_STATES: Final = {EventKind.FAILED: JobState.FAILED, EventKind.DIED: JobState.DEAD}


class RunningJob(NamedTuple):
    """
    A job that runs.

    Attributes:
        job: The job.
        age: How long its run has taken so far.
        last_line: The last line of its output that is not blank, as it was
            written, but for colours; empty where there is none.
    """

    job: "Job"
    age: timedelta
    last_line: str


class Failure(NamedTuple):
    """
    A run that went wrong.

    Attributes:
        at: When it ended, in UTC.
        job_id: Of which job.
        attempt: The number of the run.
        state: What became of the job then: ``failed`` or ``dead``.
        reason: Why it did not succeed.
    """

    at: datetime
    job_id: str
    attempt: int
    state: JobState
    reason: str


class Look(NamedTuple):
    """
    What `top` shows.

    Attributes:
        at: When it was looked, in UTC.
        database: The database.
        stats: The queue at a glance.
        running: The jobs that have run longest, these in front.
        failures: What went wrong lately, the latest in front.
    """

    at: datetime
    database: str
    stats: "QueueStats"
    running: tuple[RunningJob, ...]
    failures: tuple[Failure, ...]


class Observer:
    """
    Looks at a queue again and again, and remembers what went wrong.

    Args:
        engine: Open.
    """

    def __init__(self, engine: "QueueEngine") -> None:
        self._engine = engine
        self._failures: dict[tuple[str, int], Failure] = {}
        # The last event that was looked at; None before the first look.
        self._seen: int | None = None

    async def look(self, most: int) -> Look:
        """
        Look at the queue.

        Args:
            most: How many running jobs, and how many failures, at the most.

        Raises:
            StoreError: The database cannot be used.
        """
        engine = self._engine
        stats = await engine.stats()
        page = await engine.page(JobState.PROCESSING, limit=_RUNNING)
        await self._learn()
        now = engine.now()

        return Look(
            at=now,
            database=str(engine.database),
            stats=stats,
            running=tuple([job async for job in self._running(page.jobs, most, now)]),
            failures=tuple(nlargest(most, self._failures.values())),
        )

    async def _running(
        self, jobs: "Iterable[Job]", most: int, now: datetime
    ) -> AsyncIterator[RunningJob]:
        """Yield those that have run longest, with the ends of their outputs."""
        oldest = sorted(jobs, key=lambda job: (job.started_at or now, job.seq))[:most]

        for job in oldest:
            try:
                tail = await self._engine.output_bytes(job.id, attempt=job.run_count, last=_TAIL)
            except (JobNotFoundError, OutputMissingError, RunNotFoundError):
                # It has ended since, and was deleted, or given back.
                continue

            age = max(now - (job.started_at or now), _NOTHING)
            yield RunningJob(
                job=job, age=age, last_line=last_line(tail, is_whole=len(tail) < _TAIL)
            )

    async def _learn(self) -> None:
        """Take note of what went wrong since the last look; the first time, of what is known."""
        newest = await self._engine.last_event()

        try:
            if self._seen is None:
                await self._learn_anew()
            else:
                await self._learn_from(self._engine.past_events(since=self._seen))
        except EventsPrunedError:
            # We were stopped for longer than events are kept.
            await self._learn_anew()

        self._seen = newest
        latest = nlargest(_FAILURES, self._failures.values())
        self._failures = {(failure.job_id, failure.attempt): failure for failure in latest}

    async def _learn_from(self, events: "AsyncIterator[Event]") -> None:
        async for event in events:
            if state := _STATES.get(event.kind):
                self._add(Failure(event.at, event.job_id, event.attempt, state, event.reason or ""))

    async def _learn_anew(self) -> None:
        """Take note of what the last events tell, and of jobs that failed before them."""
        await self._learn_from(self._engine.past_events(last=_FIRST_EVENTS))

        for state in (JobState.FAILED, JobState.DEAD):
            for job in (await self._engine.page(state, limit=_FAILURES)).jobs:
                at = job.finished_at or job.updated_at
                self._add(Failure(at, job.id, job.run_count, state, job.reason or ""))

    def _add(self, failure: Failure) -> None:
        self._failures[failure.job_id, failure.attempt] = failure


def last_line(output: bytes, *, is_whole: bool = True) -> str:
    """
    Return the last line of an output that is not blank, without colours.

    What a program writes over with a carriage return, as a progress bar, counts as
    a line. The rest is as it was written: it has to be escaped where it is shown.

    Args:
        output: The output, or its end.
        is_whole: Whether it begins at a character's beginning.
    """
    if not is_whole:
        output = output.lstrip(_CONTINUATIONS)

    text = _COLOUR.sub("", output.decode(errors="backslashreplace"))
    lines = (line.strip() for line in reversed(_END_OF_LINE.split(text)))
    return next(filter(None, lines), "")
