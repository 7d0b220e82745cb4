"""The dead letter queue: jobs that failed for good."""

import builtins
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from queuectl.engine.domain.durations import check_time
from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.looks import Cause
from queuectl.engine.domain.models import Job
from queuectl.engine.domain.states import JobState
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.runtime.steps import check_number, in_steps
from queuectl.engine.store.base import JobStore, Purged, Retried

_DEAD: Final = JobFilter(state=JobState.DEAD)
_EVERY: Final = 2**62


class DeadLetterQueue:
    """
    The jobs that failed for good; reached as ``engine.dlq``.

    Args:
        store: Returns the open store.
        clock: Tells the time.
        remove_files: Removes the outputs of deleted jobs that are files.
    """

    def __init__(
        self,
        store: Callable[[], JobStore],
        clock: Clock,
        remove_files: Callable[[Purged], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._remove_files = remove_files

    async def list(self, *, limit: int | None = None) -> list[Job]:
        """
        Return dead jobs in the order of their arrival.

        Args:
            limit: Only this many, those that arrived last.
        """
        return await self._store().last_jobs(_DEAD, limit=_EVERY if limit is None else limit)

    async def retry(self, *job_ids: str) -> builtins.list[Job]:
        """
        Put dead jobs back to pending with no attempts charged.

        Raises:
            JobNotFoundError: One is missing; none was changed.
            JobStateError: One is not dead; none was changed.
            InvalidValueError: They are more than 5000; see `retry_all`.
        """
        check_number(job_ids, everything="for all dead jobs: queuectl dlq retry --all")
        return await self._store().retry(job_ids, frozenset({JobState.DEAD}), now=self._clock.now())

    async def causes(self, *, limit: int = 50) -> builtins.list[Cause]:
        """
        Return why jobs are dead, the most frequent reason in front.

        Args:
            limit: Only this many.
        """
        return await self._store().causes(limit=limit)

    async def retry_all(self, reason: str | None = None, *, until: datetime | None = None) -> int:
        """
        Put every dead job back to pending with no attempts charged; return how many.

        They are put back some at a time, so that others can go on meanwhile: those that
        were put back before an error stay so. Each is put back once, also if it dies again.

        Args:
            reason: Only those with this reason; empty for those without one.
            until: Only those that had died by then: what a question was asked about, where
                more die until it is answered.

        Raises:
            InvalidValueError: The time is out of range.
        """
        store, jobs = self._store(), 0
        died_by = None if until is None else check_time(until)

        def put_back(after: int) -> Awaitable[Retried]:
            now = self._clock.now()
            return store.retry_dead(now=now, reason=reason, until=died_by, after=after)

        async for step in in_steps(put_back):
            jobs += step.jobs

        return jobs

    async def purge(self, reason: str | None = None, *, until: datetime | None = None) -> int:
        """
        Delete every dead job with its runs and outputs; return how many.

        They are deleted some at a time, as for `retry_all`.

        Args:
            reason: Only those with this reason; empty for those without one.
            until: Only those that had died by then, as for `retry_all`.

        Raises:
            InvalidValueError: The time is out of range.
        """
        store, jobs = self._store(), 0
        died_by = None if until is None else check_time(until)

        def delete(after: int) -> Awaitable[Purged]:
            return store.purge_dead(reason=reason, until=died_by, after=after)

        async for step in in_steps(delete):
            await self._remove_files(step)
            jobs += step.jobs

        return jobs
