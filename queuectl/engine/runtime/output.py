"""What a run wrote: read it, follow it while it grows, wherever it is kept."""

import os
from collections.abc import AsyncIterator
from typing import Final

import anyio
import msgspec

from queuectl.engine.domain.models import Attempt, Job
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import RunNotFoundError
from queuectl.engine.runtime.bus import Bus, Changes
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.runfiles import RunFiles, find_runs, run_note
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.store.base import JobStore

# The most that is handed on at once.
_CHUNK: Final = 256 * 1024

# Seconds between two looks at a growing file.
_LOOK: Final = 0.05


class OutputReader:
    """
    Reads the outputs of one database's jobs.

    Args:
        store: Where small outputs are.
        folder: Where large outputs and running workers' files are.
        bus: Tells when a job's state changed.
    """

    def __init__(self, store: JobStore, folder: StateFolder, bus: Bus) -> None:
        self._store = store
        self._folder = folder
        self._bus = bus

    async def read(self, job: Job, attempt: int | None, *, last: int | None = None) -> bytes:
        """
        Return what a run wrote so far.

        Args:
            job: As last seen.
            attempt: The run's number, None for the latest.
            last: Only this many bytes from the end; None for all.

        Raises:
            RunNotFoundError: There is no such run.
        """
        number = _number(job, attempt)

        if number == 0:
            return b""

        source = await self._find(job, number)
        return await source.read_from(-last if last else 0, None)

    async def follow(self, job_id: str, attempt: int | None) -> AsyncIterator[bytes]:
        """
        Yield what a job writes as it is written, until the job is finished.

        It begins with the latest run, and goes on with those that come; with
        a number, it follows that run alone. A job that has not started is
        waited for.

        Raises:
            RunNotFoundError: The job is finished and never had that run.
        """
        with Changes(self._bus) as changes:
            job = await self._store.get(job_id)
            number = job.run_count if attempt is None else attempt

            while True:
                job = await self._store.get(job_id)
                number = max(number, 1)

                if job.run_count < number:
                    if job.is_finished:
                        if attempt is not None:
                            raise RunNotFoundError(job.id, attempt)
                        return

                    await changes.next(1.0)
                    continue

                async for chunk in self._follow_run(job, number):
                    yield chunk

                if attempt is not None:
                    return

                number += 1

    async def _follow_run(self, job: Job, number: int) -> AsyncIterator[bytes]:
        """Yield what one run writes, until it is recorded."""
        sent = 0

        while True:
            # Seen as running before the look: what it wrote until then is in
            # the file, or will be in the record.
            current = await self._store.get(job.id)
            is_running = current.state is JobState.PROCESSING and current.run_count == number
            source = await self._find(current, number)

            while chunk := await source.read_from(sent, _CHUNK):
                sent += len(chunk)
                yield chunk

            if not is_running:
                return

            await anyio.sleep(_LOOK)

    async def _find(self, job: Job, number: int) -> "_Source":
        """Return where the output of a run is now."""
        if job.state is JobState.PROCESSING and job.run_count == number:
            files = await self._find_live(job)

            if files is not None:
                return _LiveFile(note=run_note(job.seq, number), files=files)

            return _Kept(content=b"")

        content = await self._store.output(job.seq, number)

        if content is not None:
            return _Kept(content=content)

        return _LargeFile(path=str(self._folder.output(job.seq, number)))

    async def _find_live(self, job: Job) -> RunFiles | None:
        """Return the files of the running run, None where it has none yet."""
        workers = {f"w{worker.number}": worker.token for worker in await self._store.workers()}
        token = workers.get(job.worker or "")

        if token is None:
            return None

        note = run_note(job.seq, job.run_count)
        runs = await in_thread(find_runs, self._folder.worker(token))
        return next((run.files for run in runs if run.note == note), None)


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An output that is in memory."""

    content: bytes

    async def read_from(self, offset: int, size: int | None) -> bytes:
        end = None if size is None else offset + size
        return self.content[offset:end]


class _LargeFile(msgspec.Struct, frozen=True, kw_only=True):
    """An output that has a file of its own; missing where there was none."""

    path: str

    async def read_from(self, offset: int, size: int | None) -> bytes:
        return await in_thread(_read_file, self.path, offset, size)


class _LiveFile(msgspec.Struct, frozen=True, kw_only=True):
    """The output of a run that is under way, in files that another will use."""

    note: str
    files: RunFiles

    async def read_from(self, offset: int, size: int | None) -> bytes:
        path = str(self.files.output_path)
        content = await in_thread(_read_file, path, offset, size)

        # The files get their new note before the old output is cut.
        return content if self.files.note() == self.note else b""


_Source = _Kept | _LargeFile | _LiveFile


def _read_file(path: str, offset: int, size: int | None) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""

    with os.fdopen(descriptor, "rb") as file:
        if offset < 0:
            offset = max(0, os.fstat(descriptor).st_size + offset)

        file.seek(offset)
        return file.read(-1 if size is None else size)


def _number(job: Job, attempt: int | None) -> int:
    """Return the number of the run that is meant."""
    if attempt is None:
        return job.run_count

    if not 1 <= attempt <= job.run_count:
        raise RunNotFoundError(job.id, attempt)

    return attempt


def latest_attempt(job: Job) -> Attempt | None:
    """Return the attempt that is under way, None where none is."""
    if job.state is not JobState.PROCESSING or job.started_at is None:
        return None

    return Attempt(
        job_id=job.id,
        number=job.run_count,
        worker=job.worker or "",
        started_at=job.started_at,
        finished_at=None,
        outcome=None,
        exit_code=None,
        signal=None,
        reason=None,
        cpu=None,
        max_rss_bytes=None,
        output_bytes=0,
    )
