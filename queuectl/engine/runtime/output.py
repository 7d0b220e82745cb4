"""What a run wrote: read it, follow it while it grows, wherever it is kept."""

import os
import stat
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import anyio
import msgspec

from queuectl.engine.domain.models import Attempt, Job, RunKey, worker_name
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import OutputMissingError, RunNotFoundError
from queuectl.engine.runtime.bus import Bus, Changes
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.notes import run_note
from queuectl.engine.runtime.run_folder import find_run
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.store.base import INLINE_OUTPUT_BYTES, JobStore

# The most that is handed on at once.
_CHUNK: Final = 256 * 1024

# Seconds between two looks at a growing file: as long as it grows, and where it has not
# for a while. Each look at one that is quiet makes the pause to the next a little longer.
_LOOK: Final = 0.05
_QUIET_LOOK: Final = 0.2
_LONGER: Final = 1.1


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
            OutputMissingError: Its output is a file, and that is gone.
        """
        number = _number(job, attempt)

        if number == 0:
            return b""

        if last == 0:
            return b""

        source = await self._find(job, number)
        return await source.read_from(0 if last is None else -last, None)

    async def size(self, job: Job, attempt: int | None) -> int:
        """
        Return how many bytes a run has written so far.

        Args:
            job: As last seen.
            attempt: The run's number, None for the latest.

        Raises:
            RunNotFoundError: There is no such run.
        """
        number = _number(job, attempt)

        if _is_running(job, number):
            live = await self._find_live(job)
            size = await live.size() if live is not None else 0

            # Else the file may be another run's by now.
            if _is_running(await self._store.get(job.id), number):
                return size

        run = await self._recorded(job, number)
        return 0 if run is None else run.output_bytes

    async def follow(
        self, job_id: str, attempt: int | None, *, last: int | None = None
    ) -> AsyncIterator[bytes]:
        """
        Yield what a job writes as it is written, until the job is finished.

        It begins with the latest run, and goes on with those that come; with
        a number, it follows that run alone. A job that has not started is
        waited for.

        Args:
            job_id: The job.
            attempt: The run's number, None for the latest and those that come.
            last: Begin this many bytes before the end of what is there; None
                to begin at its beginning.

        Raises:
            RunNotFoundError: The job is finished and never had that run.
            OutputMissingError: Its output is a file, and that is gone.
        """
        if attempt is not None and attempt < 1:
            raise RunNotFoundError(job_id, attempt)

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

                async for chunk in self._follow_run(job, number, last):
                    yield chunk

                if attempt is not None:
                    return

                # Of the runs that come, nothing was there.
                last = None

                # A run that was given back before it started is not counted.
                number = min(number, (await self._store.get(job_id)).run_count) + 1

    async def _follow_run(self, job: Job, number: int, last: int | None) -> AsyncIterator[bytes]:
        """Yield what one run writes, until it is recorded."""
        sent = None if last is not None else 0
        live: _Source | None = None
        pause = _LOOK

        while True:
            # Seen as running before the look: what it wrote until then is in
            # the file, or will be in the record.
            current = await self._store.get(job.id)
            is_running = _is_running(current, number)

            if is_running:
                live = live or await self._find_live(current)
                source = live or _NOTHING
            else:
                source = await self._find_recorded(current, number)

            if sent is None:
                sent = max(0, await source.size() - (last or 0))

            while chunk := await source.read_from(sent, _CHUNK):
                sent += len(chunk)
                pause = _LOOK
                yield chunk

            if not is_running:
                return

            await anyio.sleep(pause)
            pause = min(_LONGER * pause, _QUIET_LOOK)

    async def _find(self, job: Job, number: int) -> "_Source":
        """Return where the output of a run is now."""
        if _is_running(job, number):
            return await self._find_live(job) or _NOTHING

        return await self._find_recorded(job, number)

    async def _find_recorded(self, job: Job, number: int) -> "_Source":
        """Return where the output of a run that has ended is kept."""
        run = await self._recorded(job, number)

        if run is None or not run.output_bytes:
            return _NOTHING

        if run.output_bytes > INLINE_OUTPUT_BYTES:
            path = str(self._folder.output(RunKey(job.seq, number)))
            return _LargeFile(job_id=job.id, number=number, path=path)

        return _Kept(content=await self._store.output(job.seq, number) or b"")

    async def _recorded(self, job: Job, number: int) -> Attempt | None:
        """Return the run of a number, None where it has not ended."""
        runs = await self._store.runs(job.id, until=number, last=1)
        return next((run for run in runs if run.number == number), None)

    async def _find_live(self, job: Job) -> "_Source | None":
        """Return the output of the run that is under way, None where it has no files yet."""
        tokens = {worker_name(row.number): row.token for row in await self._store.workers()}
        token = tokens.get(job.worker or "")

        if token is None:
            return None

        note = run_note(job.run_key)

        look = partial(find_run, self._folder.workers, note, token=token)
        run = await in_thread(look)
        return None if run is None else _LiveFile(note=note, files=run.files)


def _is_running(job: Job, number: int) -> bool:
    return job.state is JobState.PROCESSING and job.run_count == number


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """An output that is in memory."""

    content: bytes

    async def read_from(self, offset: int, size: int | None) -> bytes:
        end = None if size is None else offset + size
        return self.content[offset:end]

    async def size(self) -> int:
        return len(self.content)


class _LargeFile(msgspec.Struct, frozen=True, kw_only=True):
    """An output that has a file of its own."""

    job_id: str
    number: int
    path: str

    async def read_from(self, offset: int, size: int | None) -> bytes:
        content = await in_thread(_read_file, self.path, offset, size)

        if content is None:
            raise OutputMissingError(self.job_id, self.number, self.path)

        return content

    async def size(self) -> int:
        return await in_thread(_size_of, self.path)


class _LiveFile(msgspec.Struct, frozen=True, kw_only=True):
    """The output of a run that is under way, in files that another will use."""

    note: str
    files: RunFiles

    async def read_from(self, offset: int, size: int | None) -> bytes:
        path = str(self.files.output_path)
        content = await in_thread(_read_file, path, offset, size)

        # The files get their new note before the old output is cut.
        return content if content and self.files.note() == self.note else b""

    async def size(self) -> int:
        return await in_thread(_size_of, str(self.files.output_path))


_Source = _Kept | _LargeFile | _LiveFile
_NOTHING: Final = _Kept(content=b"")


def _size_of(path: str) -> int:
    """Return the size of a file, 0 where there is none: reading it tells what that means."""
    try:
        return os.lstat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _read_file(path: str, offset: int, size: int | None) -> bytes | None:
    """Return a part of a file; None where there is none, or something else in its place."""
    try:
        # A pipe that was put there would keep us waiting.
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return None

    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None

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
