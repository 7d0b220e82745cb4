"""One attempt: prepare, spawn, wait, name the outcome, decide, finish."""

import logging
import os
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeGuard, TypeVar

from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.domain.models import Job
from queuectl.engine.runtime.adoption import Orphan, OrphanProcess
from queuectl.engine.runtime.clock import Clock, Timer, sleep
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.outcomes import run_outcome, system_outcome
from queuectl.engine.runtime.reaper import ProcessResult
from queuectl.engine.runtime.recording import Recorder
from queuectl.engine.runtime.run import Run, StopReason
from queuectl.engine.runtime.runfiles import RunFiles, RunFilesPool, run_note
from queuectl.engine.runtime.runner import Runner, RunningProcess, RunRequest
from queuectl.engine.runtime.takeover import note_end, started_unwatched, take_over
from queuectl.engine.runtime.tree import HELD_UNSEEN

T = TypeVar("T")

_log = logging.getLogger(__name__)

_NO_TIME: Final = timedelta()

# Seconds between two tries to end what cannot be ended.
_STUCK_PAUSE: Final = 1.0


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
    ) -> None:
        self._token = home.name
        self._database = str(database)
        self._recorder = recorder
        self._runner = runner
        self._clock = clock
        self._files = files
        self._grace = grace
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

        try:
            files = self._files.take(run_note(run.job.seq, run.job.run_count))
        except OSError as error:
            process_ended()
            await self._recorder.record(
                run.job,
                system_outcome(error.strerror),
                started_at=started_at,
                has_to_go=run.has_to_go,
            )
            return

        try:
            is_free = await self._run_with(files, run, started_at, process_ended)
        finally:
            run.files = None
            files.close()

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

    async def _watch(self, run: Run, orphan: Orphan, started_at: datetime) -> ProcessResult | None:
        """Wait for the end of an adopted run, whatever keeps us from watching it for a while."""
        # Once: it overwrites what it goes by.
        process = await self._insist(run, partial(take_over, run, orphan))

        if process is None:
            return None

        wait = partial(self._wait_for_orphan, run, process, orphan.files, started_at)
        return await self._insist_on_end(run, wait)

    async def _wait_for_orphan(
        self, run: Run, process: OrphanProcess, files: RunFiles, started_at: datetime
    ) -> ProcessResult | None:
        if run.files is None and files.open_output(self._recorder.output_path(run.job)):
            run.files = files

        age = process.age()
        # The shell's age, as far as that is known: the wall clock may have jumped.
        gone = self._clock.now() - started_at if age is None else timedelta(seconds=age)
        return await self._wait(run, process, files, gone=gone)

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
        judged = await self._judge(run, result, took)

        if judged is None:
            return False

        outcome, duration = judged
        return await self._recorder.record(
            run.job,
            outcome,
            started_at=started_at,
            took=duration,
            result=result,
            files=run.files,
            has_to_go=run.has_to_go,
            evidence=files,
        )

    async def _judge(
        self, run: Run, result: ProcessResult, took: Callable[[], timedelta]
    ) -> tuple[Outcome, timedelta] | None:
        return await self._insist(run, lambda: (run_outcome(run, result), took()))

    async def _insist(self, run: Run, look: Callable[[], T]) -> T | None:
        """
        Look at the files of a run, as soon as the system allows it.

        Args:
            run: The run.
            look: What to do; raises OSError where that cannot be done now.

        Returns:
            None where the worker has to go before: whoever comes after it looks at them.
        """
        while True:
            try:
                return look()
            except OSError as error:
                if not await self._may_try_again(run, error):
                    return None

    async def _insist_on_end(
        self, run: Run, wait: Callable[[], Awaitable[ProcessResult | None]]
    ) -> ProcessResult | None:
        """Wait for the end of a run, as `_insist` looks at its files."""
        while True:
            try:
                return await wait()
            except OSError as error:
                if not await self._may_try_again(run, error):
                    return None

    async def _may_try_again(self, run: Run, error: OSError) -> bool:
        """Wait for a moment where the system refuses something; False where we have to go."""
        _log.error("job %s: cannot look at its files: %s", run.job.id, error)

        if run.has_to_go():
            return False

        await sleep(self._clock, _STUCK_PAUSE)
        return True

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
            return process is not None and await self._recorder.record(
                run.job,
                process,
                started_at=started_at,
                has_to_go=run.has_to_go,
                evidence=files,
            )

        files.close_lock()
        run.files = files
        result = await self._insist_on_end(run, partial(self._wait, run, process, files))
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
        request = self._request(run.job, files)

        try:
            return await self._runner.start(request)
        except (OSError, ValueError, RuntimeError) as error:
            # Else it would tell of nobody but us.
            files.close_lock()
            return await self._insist(run, partial(started_unwatched, run.job, request, error))

    def _mark(self, job: Job) -> Mark:
        return Mark(token=self._token, seq=job.seq, run=job.run_count, database=self._database)

    def _request(self, job: Job, files: RunFiles) -> RunRequest:
        return RunRequest(
            command=job.command,
            note=run_note(job.seq, job.run_count),
            mark=self._mark(job),
            cwd=job.cwd,
            env={
                **self._environ,
                **job.env,
                "QUEUECTL_JOB_ID": job.id,
                "QUEUECTL_ATTEMPT": str(job.run_count),
                "QUEUECTL_MAX_RETRIES": str(job.max_retries),
            },
            files=files,
        )

    async def _wait(
        self, run: Run, process: RunningProcess, files: RunFiles, *, gone: timedelta = _NO_TIME
    ) -> ProcessResult | None:
        """
        Wait for the process, end it where it is to be ended, and end what it left.

        Args:
            run: The run.
            process: Its process.
            files: Its files.
            gone: How much of its time is gone.

        Returns:
            None where it is left to a successor.
        """
        timer = self._deadline(run, gone)

        try:
            result = await run.ended_or_stopped(process)
        finally:
            if timer is not None:
                timer.cancel()

        run.ended_at = self._clock.monotonic()

        if result is None:
            note_end(files, run)

        if run.stop_reason is StopReason.LEAVE:
            return None

        if not await self._end(run, process, result):
            if _is_known(result):
                self._recorder.leave(run.job, run_outcome(run, result), files)

            return None

        if result is None:
            result = await process.wait()
            run.ended_at = self._clock.monotonic()

        return result

    def _deadline(self, run: Run, gone: timedelta) -> Timer | None:
        """Return what stops a run at its timeout, None where it has none."""
        if run.job.timeout is None:
            return None

        # No clock, however it was set, gives a run more than its time.
        left = max(run.job.timeout - max(gone, _NO_TIME), _NO_TIME).total_seconds()
        return self._clock.call_later(left, lambda: run.stop(StopReason.TIMEOUT))

    async def _end(self, run: Run, process: RunningProcess, result: ProcessResult | None) -> bool:
        """
        End what is left of a run, however long it takes: else it might run twice.

        What has left the group of a run that ended by itself has been let go.

        Returns:
            False where that was given up, because the worker has to go.
        """
        end = process.end_group if _is_known(result) else process.end_tree

        while not await _try(end, self._grace):
            words = f"processes of session {process.pid} cannot be ended"
            await self._recorder.mark_stuck(run.job, HELD_UNSEEN if process.is_hidden else words)

            if run.has_to_go():
                return False

            await sleep(self._clock, _STUCK_PAUSE)

        return True


def _is_known(result: ProcessResult | None) -> TypeGuard[ProcessResult]:
    """Whether a run ended by itself, and the system could say how."""
    return result is not None and (result.exit_code, result.signal) != (None, None)


async def _try(end: Callable[[float], Awaitable[bool]], grace: float) -> bool:
    """End processes; where the system does not let us look for them, they are not ended."""
    try:
        return await end(grace)
    except OSError as error:
        _log.error("cannot look for what is to be ended: %s", error)
        return False


def _drop(pool: RunFilesPool, files: RunFiles) -> None:
    try:
        pool.drop(files)
    except OSError as error:
        # Whoever sweeps the folder of its worker finds it.
        _log.warning("cannot remove %s: %s", files.lock_path, error)
