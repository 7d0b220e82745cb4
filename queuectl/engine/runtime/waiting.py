"""Waiting for jobs and for events: look, wait for a hint, look again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import anyio

from queuectl.engine.domain.events import Event
from queuectl.engine.domain.models import Job
from queuectl.engine.errors import WaitTimeoutError
from queuectl.engine.runtime.bus import Bus, Changes
from queuectl.engine.store.base import JobStore

# Seconds between two looks where no hint arrives.
LOOK: Final = 1.0

# Seconds between two looks, for each job that is looked at.
_PAUSE: Final = 0.00001

_PAGE: Final = 1000


class Waiting:
    """
    Waits for what happens in one database.

    Args:
        store: Where it happens.
        bus: Gives hints.
        check: Called before each look; raises where nothing can come any more.
    """

    def __init__(self, store: JobStore, bus: Bus, check: Callable[[], None]) -> None:
        self._store = store
        self._bus = bus
        self._check = check

    async def unfinished(self, job_ids: Sequence[str]) -> AsyncIterator[set[str]]:
        """
        Yield which of the jobs are not finished, at every change, down to none.

        Raises:
            JobNotFoundError: One is missing, or was deleted meanwhile.
        """
        missing = {job.id for job in await self._store.get_many(job_ids)}

        with Changes(self._bus) as changes:
            while missing := await self._store.unfinished(list(missing)):
                yield missing

                # A large set takes its time to look at.
                await anyio.sleep(_PAUSE * len(missing))
                await changes.next(LOOK)
                self._check()

        yield set()

    async def finish_of(self, job_ids: Sequence[str], timeout: float | None) -> list[Job]:
        """
        Return the jobs when all are finished.

        Raises:
            JobNotFoundError: One is missing, or was deleted meanwhile.
            WaitTimeoutError: Some are not finished in time; it names them.
        """
        missing = set(job_ids)

        try:
            async with asyncio.timeout(timeout):
                async for unfinished in self.unfinished(job_ids):
                    missing = unfinished
        except TimeoutError:
            waiting_for = [job_id for job_id in job_ids if job_id in missing]
            raise WaitTimeoutError(waiting_for, timeout or 0) from None

        return await self._store.get_many(job_ids)

    async def events(self, since: int | None, job_id: str | None = None) -> AsyncIterator[Event]:
        """
        Yield events behind a sequence number as they come.

        Args:
            since: The sequence number; None for what comes from now on.
            job_id: Only those of this job.
        """
        last = await self._store.last_event() if since is None else since

        with Changes(self._bus) as changes:
            while True:
                newest = last if job_id is None else await self._store.last_event()
                page = await self._store.events(since=last, limit=_PAGE, job_id=job_id)

                for event in page:
                    last = event.seq
                    yield event

                if not page:
                    # Those of other jobs are not looked at again.
                    last = max(last, newest)
                    await changes.next(LOOK)
                    self._check()

    async def changes(self, at_most_every: float, at_least_every: float) -> AsyncIterator[None]:
        """Yield at once, and when something has changed; not too often, and not too seldom."""
        now = asyncio.get_running_loop().time

        with Changes(self._bus) as changes:
            while True:
                since = now()
                yield

                await anyio.sleep(_pause(now() - since, at_most_every, at_least_every))
                await changes.next(max(since + at_least_every - now(), 0))
                self._check()


def _pause(took: float, at_most_every: float, at_least_every: float) -> float:
    """
    Return for how long not to look again, in seconds, where the last look took so long.

    As long as it took at the least: a look that is dear leaves half of the time to others.
    Who was stopped meanwhile, as by Ctrl-Z, does not make up for it.
    """
    return max(at_most_every - took, min(took, at_least_every), 0.0)
