"""The dead letter queue: jobs that failed for good."""

import builtins
from collections.abc import Callable
from typing import Final

from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.models import Job
from queuectl.engine.domain.states import JobState
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.store.base import JobStore

_DEAD: Final = JobFilter(state=JobState.DEAD)
_EVERY: Final = 2**62


class DeadLetterQueue:
    """
    The jobs that failed for good; reached as ``engine.dlq``.

    Args:
        store: Returns the open store.
        clock: Tells the time.
    """

    def __init__(self, store: Callable[[], JobStore], clock: Clock) -> None:
        self._store = store
        self._clock = clock

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
        """
        return await self._store().retry(job_ids, frozenset({JobState.DEAD}), now=self._clock.now())

    async def retry_all(self) -> int:
        """Put every dead job back to pending; return how many."""
        return await self._store().retry_dead(now=self._clock.now())
