"""The half of the facade that only looks."""

import builtins
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Final

from queuectl.engine.domain.attempts import attempts_of
from queuectl.engine.domain.filters import job_filter
from queuectl.engine.domain.findings import Finding
from queuectl.engine.domain.looks import LARGEST_NUMBER, DatabaseInfo, JobPage
from queuectl.engine.domain.models import Attempt, Job, WorkerInfo
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import InvalidValueError, plain
from queuectl.engine.runtime.context import EngineContext
from queuectl.engine.runtime.liveness import has_live_worker
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.store.base import CheckReport

_PAGE: Final = 1000


class EngineLookups(EngineContext):
    """The part of an engine that only looks: each method is a read."""

    @property
    def database(self) -> Path:
        """The SQLite file, absolute."""
        return self._path

    @property
    def state_folder(self) -> Path:
        """The folder beside the database, for its owner alone."""
        return self._life.folder.path

    @property
    def log_folder(self) -> Path:
        """The folder for what detached workers say."""
        return self._life.folder.logs

    def now(self) -> datetime:
        """Return the time by which the engine goes, in UTC; for ages of what it returned."""
        return self._clock.now()

    def has_live_worker(self) -> bool:
        """Whether any worker, in any process, is alive on this database."""
        return has_live_worker(self._life.folder)

    async def get(self, job_id: str) -> Job:
        """
        Return a job as it is now.

        Raises:
            JobNotFoundError: There is none.
        """
        return await self._store.get(job_id)

    async def attempts(self, job_id: str, *, last: int | None = None) -> builtins.list[Attempt]:
        """
        Return the runs of a job, the first in front; the last may be under way.

        Args:
            job_id: The job.
            last: Only so many, the last ones; else all, which may be many thousands.

        Raises:
            JobNotFoundError: There is none.
            InvalidValueError: ``last`` is not 1 or more.
        """
        if last is not None and last < 1:
            msg = f"last must be 1 or more, not {plain(last)}"
            raise InvalidValueError(msg)

        job = await self._store.get(job_id)
        recorded = await self._store.runs(job_id, until=job.run_count, last=last)
        found = attempts_of(job, recorded)
        return found if last is None else found[-last:]

    async def list(
        self,
        state: JobState | str | None = None,
        *,
        tag: str | None = None,
        search: str | None = None,
        limit: int | None = None,
    ) -> builtins.list[Job]:
        """
        Return jobs in the order of their arrival.

        Args:
            state: Only jobs in this state.
            tag: Only jobs with this tag.
            search: Only jobs with this text in their command, id or reason; A to Z
                and a to z are the same.
            limit: Only this many, those that arrived last.

        Raises:
            InvalidValueError: There is no such state, or nothing like that can be found.
        """
        if limit is not None:
            return await self._store.last_jobs(job_filter(state, tag, search=search), limit=limit)

        return [job async for job in self.iterate(state, tag=tag, search=search)]

    async def iterate(
        self,
        state: JobState | str | None = None,
        *,
        tag: str | None = None,
        search: str | None = None,
    ) -> AsyncIterator[Job]:
        """
        Yield jobs in the order of their arrival, however many there are.

        Args:
            state: As for `list`.
            tag: As for `list`.
            search: As for `list`.
        """
        wanted = job_filter(state, tag, search=search)
        after = 0

        while page := await self._store.list_jobs(wanted, after=after, limit=_PAGE):
            for job in page:
                yield job

            after = page[-1].seq

    async def page(
        self,
        state: JobState | str | None = None,
        *,
        tag: str | None = None,
        search: str | None = None,
        reason: str | None = None,
        scheduled: bool = False,
        before: int | None = None,
        limit: int = 50,
    ) -> JobPage:
        """
        Return a page of jobs, those that arrived last in front.

        A page is read quickly, however many jobs there are: it stops after 50,000, and
        says so. The job whose id is the text that is searched for is on the first page,
        in front of all, unless ``scheduled``.

        Args:
            state: Only jobs in this state.
            tag: Only jobs with this tag.
            search: As for `list`.
            reason: Only jobs with exactly this reason; empty for those without one.
            scheduled: Only jobs whose time is still to come, those that are due next in
                front: pending ones, and failed ones that wait for their retry. No job
                is left out between two pages; where the last one of a page was
                deleted or moved, the next page may begin in front again.
            before: The ``older`` of the page before, asked for in the same way.
            limit: How many jobs at the most, 1 to 1000.

        Raises:
            InvalidValueError: There is no such state, page or limit, or nothing like
                that can be found.
        """
        wanted = job_filter(state, tag, search=search, reason=reason)

        if not 1 <= limit <= _PAGE:
            msg = f"limit must be 1 to {_PAGE}, not {plain(limit)}"
            raise InvalidValueError(msg)

        if before is not None and not 0 <= before <= LARGEST_NUMBER:
            msg = f"no such page: {plain(before)}"
            raise InvalidValueError(msg)

        if not scheduled:
            return await self._store.page(wanted, before=before, limit=limit)

        return await self._store.page_of_scheduled(
            wanted, before=before, limit=limit, now=self._clock.now()
        )

    async def list_workers(self) -> builtins.list[WorkerInfo]:
        """Return the registered workers of every process, dead ones among them."""
        return await self._roster.list()

    async def output(self, job_id: str, *, attempt: int | None = None) -> str:
        """
        Return what a job wrote to its standard output and error, in that order.

        Bytes that are not UTF-8 are shown by their code, as Python writes them.

        Args:
            job_id: The job.
            attempt: The number of the run, else the latest.

        Raises:
            JobNotFoundError: There is no such job.
            RunNotFoundError: It has no such run.
            OutputMissingError: The output is a file, and that is gone.
        """
        raw = await self.output_bytes(job_id, attempt=attempt)
        return raw.decode(errors="backslashreplace")

    async def output_bytes(
        self, job_id: str, *, attempt: int | None = None, last: int | None = None
    ) -> bytes:
        """
        Return the output as `output` does, as it was written.

        Args:
            job_id: The job.
            attempt: The number of the run, else the latest.
            last: Only this many bytes from its end.
        """
        return await self._outputs.read(await self._store.get(job_id), attempt, last=last)

    async def output_size(self, job_id: str, *, attempt: int | None = None) -> int:
        """
        Return how many bytes a run has written so far.

        Args:
            job_id: The job.
            attempt: The number of the run, else the latest.

        Raises:
            JobNotFoundError: There is no such job.
            RunNotFoundError: It has no such run.
        """
        return await self._outputs.size(await self._store.get(job_id), attempt)

    async def follow(
        self, job_id: str, *, attempt: int | None = None, last: int | None = None
    ) -> AsyncIterator[bytes]:
        """
        Yield what a job writes, as it writes it, until the job is finished.

        A job that has not started is waited for. It begins with the latest
        run and goes on through the retries. What is written is seen within 0.05 s,
        after a quiet while within 0.2 s.

        Args:
            job_id: The job.
            attempt: Follow the run of this number alone.
            last: Begin with this many bytes from the end of what is there; else
                with all of it.

        Raises:
            JobNotFoundError: There is no such job.
            RunNotFoundError: The job is finished and never had that run.
            OutputMissingError: The output is a file, and that is gone.
        """
        async for chunk in self._outputs.follow(job_id, attempt, last=last):
            yield chunk

    async def check(self) -> CheckReport:
        """Read the whole database and report what is wrong with it."""
        return await self._store.check()

    async def doctor(self, *, full: bool = False) -> builtins.list[Finding]:
        """
        Look at the installation and at this database; see `queuectl.diagnose`.

        Args:
            full: Read a database of more than 1 GiB to its end, too.
        """
        from queuectl.engine.runtime.doctor.look import Doctor

        self._life.check()
        return await Doctor(self._path, self._clock, full=full).look()

    async def database_info(self) -> DatabaseInfo:
        """Return how large the database is, and what it is made with."""
        outputs_bytes = await in_thread(self._life.folder.size_of_outputs)
        return await self._store.describe(outputs_bytes=outputs_bytes)
