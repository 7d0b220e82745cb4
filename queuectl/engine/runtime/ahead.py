"""Jobs that are claimed ahead of a free slot: how many, for how long, and how they go back."""

import logging
from collections import deque
from collections.abc import Callable, Container, Iterable
from typing import Final

import anyio

from queuectl.engine.domain.models import Job, RunKey
from queuectl.engine.errors import StoreError
from queuectl.engine.runtime.clock import Clock, Timer
from queuectl.engine.runtime.outcomes import NOT_STARTED
from queuectl.engine.store.base import JobStore

_log = logging.getLogger(__name__)

# Jobs shorter than this are claimed ahead, so that a free slot does not wait
# for a commit: a commit takes about one millisecond. In seconds.
_SHORT_JOB: Final = 0.02
_MOST_AHEAD: Final = 32

# What is claimed ahead is given back when no slot became free for this long.
_LONGEST_AHEAD: Final = 0.05

# How much one more job changes the worker's idea of how long jobs take.
_WEIGHT: Final = 0.2


class Ahead:
    """
    The jobs that a worker has claimed and not started; its length is how many.

    Args:
        slots: How many the worker has.
        store: Where the jobs are.
        clock: Tells the time.
        notify: Called when they have waited too long.
        gives_back: Whether others may have them; else they are cancelled.
    """

    def __init__(
        self,
        *,
        slots: int,
        store: JobStore,
        clock: Clock,
        notify: Callable[[], object],
        gives_back: bool = True,
    ) -> None:
        self._most = min(_MOST_AHEAD, 8 * slots)
        self._store = store
        self._clock = clock
        self._notify = notify
        self._cancel_for = None if gives_back else NOT_STARTED
        self._jobs: deque[Job] = deque()
        # How long a job takes, in seconds; as long as nobody knows, too long.
        self._typical = 2 * _SHORT_JOB
        self._patience: Timer | None = None
        self._last_start = 0.0
        # Whether they are to be given back, for no slot became free.
        self.waited_too_long: bool = False

    def __len__(self) -> int:
        return len(self._jobs)

    def wanted(self, free: int) -> int:
        """Return how many jobs to claim for so many free slots, and ahead where jobs are short."""
        ahead = self._most if self._typical < _SHORT_JOB else 0
        missing = free + ahead - len(self._jobs)

        # Not one by one: half of what is claimed ahead may run out first.
        return missing if missing > ahead // 2 else 0

    def learn(self, took: float) -> None:
        """Learn how long jobs take from one that took so many seconds."""
        self._typical += _WEIGHT * (took - self._typical)

    def add(self, jobs: Iterable[Job]) -> None:
        """Add what was claimed, the one to run first in front."""
        self._jobs.extend(jobs)

    def next(self) -> Job:
        """Take the job to run first."""
        return self._jobs.popleft()

    async def give_back(self) -> None:
        """Release every job, or have them wait on where the database does not take that."""
        jobs = list(self._jobs)
        self._jobs.clear()
        self.waited_too_long = False

        with anyio.CancelScope(shield=True):
            try:
                await self._release(jobs)
            except StoreError as error:
                # They are kept, to be started or given back later; at the end
                # whoever recovers them finds that they have no files.
                _log.error("cannot give jobs back: %s", error)
                self.watch()

    async def give_back_runs(self, runs: Container[RunKey]) -> None:
        """
        Release the jobs of these runs.

        Raises:
            StoreError: It was not done, and they wait on.
        """
        jobs = [job for job in self._jobs if job.run_key in runs]

        for job in jobs:
            self._jobs.remove(job)

        await self._release(jobs)

    async def _release(self, jobs: list[Job]) -> None:
        if not jobs:
            return

        try:
            await self._store.release(jobs, now=self._clock.now(), cancel_for=self._cancel_for)
        except StoreError:
            self._jobs.extendleft(reversed(jobs))
            raise

    def watch(self) -> None:
        """See to it that no job waits long from now on, as behind a long one."""
        self._last_start = self._clock.monotonic()

        if self._jobs and self._patience is None:
            self._patience = self._clock.call_later(_LONGEST_AHEAD, self._let_go)

    def _let_go(self) -> None:
        self._patience = None

        if not self._jobs:
            return

        # One timer for many starts: each moves the time on, and none the timer.
        left = self._last_start + _LONGEST_AHEAD - self._clock.monotonic()

        if left > 0:
            self._patience = self._clock.call_later(left, self._let_go)
            return

        self.waited_too_long = True
        self._typical = 2 * _SHORT_JOB
        self._notify()
