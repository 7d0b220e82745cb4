"""One attempt, ours or adopted: its files, its start, and its outcome once it has ended."""

import errno
import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.domain.models import Job
from queuectl.engine.runtime import proc
from queuectl.engine.runtime.adoption import Orphan, OrphanProcess, take_over
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.outcomes import (
    run_outcome,
    spawn_outcome,
    system_outcome,
    unstarted_outcome,
)
from queuectl.engine.runtime.reaper import ProcessResult
from queuectl.engine.runtime.recording import EndedRun, Recorder
from queuectl.engine.runtime.run import Run
from queuectl.engine.runtime.run_folder import RunFilesPool
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.runner import Runner, RunningProcess, RunRequest
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.runtime.tree import RunTree
from queuectl.engine.runtime.watching import RunWatcher

if TYPE_CHECKING:
    from queuectl.engine.runtime.tracing import Tracing

_log = logging.getLogger(__name__)

_NO_TIME: Final = timedelta()

# The second says more of the first, and of no other.
_TRACEPARENT, _TRACESTATE = "TRACEPARENT", "TRACESTATE"


class Executor:
    """
    Runs attempts for one worker.

    Args:
        recorder: Records how they ended.
        runner: Starts processes.
        clock: Tells the time.
        files: The worker's run files.
        grace: Seconds between TERM and KILL.
        home: The worker's folder.
        database: The database, absolute.
        tracing: Traces runs; None where nobody does.
    """

    def __init__(
        self,
        *,
        recorder: Recorder,
        runner: Runner,
        clock: Clock,
        files: RunFilesPool,
        grace: float,
        home: Path,
        database: Path,
        tracing: "Tracing | None" = None,
    ) -> None:
        self._token = home.name
        self._database = str(database)
        self._recorder = recorder
        self._tracing = tracing
        self._runner = runner
        self._clock = clock
        self._files = files
        self._watcher = RunWatcher(recorder, clock, grace)
        # What is ours is set anew for each job: a worker may itself run as one.
        self._environ = {
            name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")
        } | {"QUEUECTL_DB": self._database}

    async def run(self, run: Run, *, process_ended: Callable[[], None]) -> None:
        """
        Run a claimed job and record how it ended.

        Args:
            run: The run.
            process_ended: Called when its processes are gone and only the
                record is left to be written.
        """
        started_at = self._clock.now()

        if self._tracing is not None:
            run.span = self._tracing.begin(run.job, started_at)

        try:
            files = self._files.take(run.note)
        except OSError as error:
            process_ended()
            outcome = system_outcome(error.strerror)
            await self._record_unstarted(run, outcome, started_at)
            self._leave_span(run)
            return

        try:
            is_free = await self._run_with(files, run, started_at, process_ended)
        finally:
            run.files = None
            files.close()
            self._leave_span(run)

        if is_free:
            self._files.give_back(files)

    async def adopt(self, run: Run, orphan: Orphan, *, process_ended: Callable[[], None]) -> None:
        """
        Go on with a run that another worker started, and record how it ended.

        Args:
            run: The run, in our name.
            orphan: What is there of it.
            process_ended: As for `run`.
        """
        started_at = run.job.started_at or self._clock.now()
        files = orphan.files

        try:
            await self._trace_adopted(run, orphan, started_at)
            result = await self._watch(run, orphan, started_at)
            process_ended()

            if result is None:
                return

            def took() -> timedelta:
                return max((orphan.ended_at() or self._clock.now()) - started_at, _NO_TIME)

            # Its files stay as long as its worker's folder, which is counted through.
            await self._settle(run, files, result, started_at, took)
        finally:
            run.files = None
            files.close()
            self._leave_span(run)

    async def _trace_adopted(self, run: Run, orphan: Orphan, started_at: datetime) -> None:
        """Begin a span of our own for a run whose first one is its dead worker's."""
        if self._tracing is None:
            return

        shell = orphan.shell
        environ = b"" if shell is None else await in_thread(proc.first_environ, shell.pid)
        run.span = self._tracing.begin(run.job, started_at, environ=environ)

        if run.span is not None:
            run.span.tell_adopted(self._clock.now())

    def _leave_span(self, run: Run) -> None:
        """End the span of a run that was not recorded here: whoever records it begins another."""
        if run.span is not None:
            run.span.leave(self._clock.now())

    async def _record_unstarted(
        self, run: Run, outcome: Outcome, started_at: datetime, note_in: RunFiles | None = None
    ) -> bool:
        """Record a run of which nothing was started."""
        ended = EndedRun(job=run.job, outcome=outcome, started_at=started_at, span=run.span)
        return await self._recorder.record(ended, has_to_go=run.has_to_go, note_in=note_in)

    async def _watch(self, run: Run, orphan: Orphan, started_at: datetime) -> ProcessResult | None:
        """Wait for the end of an adopted run, whatever keeps us from watching it for a while."""

        async def take() -> OrphanProcess:
            return take_over(run, orphan)

        # Once: it overwrites what it goes by.
        process = await self._watcher.insist(run, take)

        if process is None:
            return None

        wait = partial(self._wait_for_orphan, run, process, orphan.files, started_at)
        return await self._watcher.insist(run, wait)

    async def _wait_for_orphan(
        self, run: Run, process: OrphanProcess, files: RunFiles, started_at: datetime
    ) -> ProcessResult | None:
        if run.files is None and files.open_output(self._recorder.output_path(run.job)):
            run.files = files

        age = process.age()
        # The shell's age, as far as that is known: the wall clock may have jumped.
        gone = self._clock.now() - started_at if age is None else timedelta(seconds=age)
        return await self._watcher.wait(run, process, files, gone=gone)

    async def _settle(
        self,
        run: Run,
        files: RunFiles,
        result: ProcessResult,
        started_at: datetime,
        took: Callable[[], timedelta],
    ) -> bool:
        """
        Name how a run ended, and record it.

        Returns:
            False where that is left to somebody else, with its files as they are.
        """
        judged = await self._watcher.insist(run, partial(self._judge, run, result, took))

        if judged is None:
            return False

        outcome, duration = judged
        ended = EndedRun(
            job=run.job,
            outcome=outcome,
            started_at=started_at,
            took=duration,
            result=result,
            output_of=run.files,
            span=run.span,
        )
        return await self._recorder.record(ended, has_to_go=run.has_to_go, note_in=files)

    async def _judge(
        self, run: Run, result: ProcessResult, took: Callable[[], timedelta]
    ) -> tuple[Outcome, timedelta]:
        return run_outcome(run, result), took()

    async def _run_with(
        self,
        files: RunFiles,
        run: Run,
        started_at: datetime,
        process_ended: Callable[[], None],
    ) -> bool:
        """
        Run a job with its files.

        Returns:
            Whether they can be used again: nobody needs them as evidence, and its
            shell could write into them.
        """
        began = self._clock.monotonic()
        process = await self._start(run, files)

        if process is None or isinstance(process, Outcome):
            process_ended()

            if process is None:
                return False

            return await self._record_unstarted(run, process, started_at, note_in=files)

        files.close_lock()
        run.files = files
        wait = partial(self._watcher.wait, run, process, files)
        result = await self._watcher.insist(run, wait)
        process_ended()

        if result is None:
            return False

        def took() -> timedelta:
            return timedelta(seconds=(run.ended_at or self._clock.monotonic()) - began)

        is_recorded = await self._settle(run, files, result, started_at, took)

        if is_recorded and not result.has_begun:
            _drop(self._files, files)

        return is_recorded and result.has_begun

    async def _start(self, run: Run, files: RunFiles) -> RunningProcess | Outcome | None:
        """
        Start the process of a run.

        Returns:
            An outcome where nothing was started; None where nobody can say yet
            whether it was, and the worker has to go.
        """
        request = self._request(run, files)

        try:
            return await self._runner.start(request) or unstarted_outcome(run)
        except (OSError, ValueError, RuntimeError) as error:
            # Else it would tell of nobody but us.
            files.close_lock()
            look = partial(_started_unwatched, run.job, request, error)
            return await self._watcher.insist(run, look)

    def _mark(self, job: Job) -> Mark:
        return Mark.of(self._token, job.run_key, self._database)

    def _request(self, run: Run, files: RunFiles) -> RunRequest:
        job = run.job
        return RunRequest(
            command=job.command,
            note=run.note,
            mark=self._mark(job),
            cwd=job.cwd,
            env=self._environ_for(run),
            files=files,
            is_wanted=run.is_wanted,
        )

    def _environ_for(self, run: Run) -> dict[str, str]:
        """Return the whole environment of a run."""
        job = run.job
        # Where nobody traces, what was stored with the job.
        traced = {} if run.span is None else run.span.variables()
        added = {**job.env, **traced}
        environ = {
            **self._environ,
            **added,
            "QUEUECTL_JOB_ID": job.id,
            "QUEUECTL_ATTEMPT": str(job.run_count),
            "QUEUECTL_MAX_RETRIES": str(job.max_retries),
        }

        if _TRACEPARENT in added and _TRACESTATE not in (traced or added):
            environ.pop(_TRACESTATE, None)

        return environ


async def _started_unwatched(
    job: Job, request: RunRequest, error: OSError | ValueError | RuntimeError
) -> OrphanProcess | Outcome:
    """
    Return the shell of a run that was started although its start has failed.

    From Python 3.14 on asyncio begins to watch a process only after it has
    started it, and may fail at that: as an orphan it is watched without asyncio.

    Returns:
        What the error means, where nothing was started.

    Raises:
        OSError: It cannot be seen now whether anything was.
    """
    files = request.files
    is_held = files.is_held()
    # After that look: it writes first, and ends then.
    left = files.exit_note(request.note)

    if left is not None and left.leader is not None:
        orphan = Orphan(
            job=job,
            note=request.note,
            files=files,
            tree=RunTree(request.mark, files, left.leader, files.written_at()),
            shell=proc.find_process(left.leader) if is_held else None,
            leader=left.leader,
        )
        return OrphanProcess(orphan)

    if is_held:
        raise BlockingIOError(errno.EAGAIN, "its shell has not come to its first word")

    return spawn_outcome(error)


def _drop(pool: RunFilesPool, files: RunFiles) -> None:
    try:
        pool.drop(files)
    except OSError as error:
        # Whoever sweeps the folder of its worker finds it.
        _log.warning("cannot remove %s: %s", files.lock_path, error)
