"""One attempt: prepare, spawn, wait, name the outcome, decide, finish."""

import errno
import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import anyio

from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.domain.models import Job, OutcomeKind
from queuectl.engine.runtime.clock import Clock
from queuectl.engine.runtime.process import Runner, RunningProcess, RunRequest
from queuectl.engine.runtime.reaper import ProcessResult
from queuectl.engine.runtime.recording import Recorder
from queuectl.engine.runtime.runfiles import RunFiles, RunFilesPool, run_note

_log = logging.getLogger(__name__)

# The system's fault, not the command's: given back uncharged, tried later.
_SYSTEM_ERRORS: Final = frozenset(
    {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO}
)
_SYSTEM_PAUSE: Final = timedelta(seconds=1)


class StopReason(StrEnum):
    """Why a run was ended from outside."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    SHUTDOWN = "shutdown"


class Run:
    """
    A run that is under way, as its worker holds it.

    Args:
        job: As claimed.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.stop_reason: StopReason | None = None
        self.stop_words: str | None = None
        self._is_over = False
        self._scope = anyio.CancelScope()

    def stop(self, reason: StopReason, words: str | None = None) -> None:
        """End it, where it has not ended by itself; the first reason stays."""
        if not self._is_over and self.stop_reason is None:
            self.stop_reason = reason
            self.stop_words = words
            self._scope.cancel()

    async def ended_or_stopped(self, process: RunningProcess) -> ProcessResult | None:
        """Return how it ended by itself, or None where it is to be ended."""
        with self._scope:
            result = await process.wait()
            # It was faster than whoever wanted to end it, now or while what it
            # left running is being ended.
            self._is_over = True
            self.stop_reason = None
            return result

        return None


class Executor:
    """
    Runs attempts for one worker.

    Args:
        recorder: Records how they ended.
        runner: Starts processes.
        clock: Tells the time.
        files: The worker's run files.
        grace: Seconds between TERM and KILL.
        environ: Variables that every job gets.
    """

    def __init__(
        self,
        *,
        recorder: Recorder,
        runner: Runner,
        clock: Clock,
        files: RunFilesPool,
        grace: float,
        environ: dict[str, str],
    ) -> None:
        self._recorder = recorder
        self._runner = runner
        self._clock = clock
        self._files = files
        self._grace = grace
        # What is ours is set anew for each job: a worker may itself run as one.
        self._environ = {
            name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")
        } | environ

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
            await self._recorder.record(run.job, _system_outcome(error), started_at=started_at)
            return

        try:
            await self._run_with(files, run, started_at, process_ended)
        finally:
            self._files.give_back(files)

    async def _run_with(
        self,
        files: RunFiles,
        run: Run,
        started_at: datetime,
        process_ended: Callable[[], None],
    ) -> None:
        began = self._clock.monotonic()

        try:
            process = await self._runner.start(self._request(run.job, files))
        except OSError as error:
            process_ended()
            await self._recorder.record(run.job, _spawn_outcome(error), started_at=started_at)
            return

        files.close_lock()
        result, took = await self._wait(run, process, began)
        process_ended()
        await self._recorder.record(
            run.job,
            _outcome(run, result),
            started_at=started_at,
            took=took,
            result=result,
            files=files,
        )

    def _request(self, job: Job, files: RunFiles) -> RunRequest:
        return RunRequest(
            command=job.command,
            note=run_note(job.seq, job.run_count),
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
        self, run: Run, process: RunningProcess, began: float
    ) -> tuple[ProcessResult, timedelta]:
        """Wait for the process, end it where it is to be ended, and end what it left."""
        timer = None

        if run.job.timeout is not None:
            timer = self._clock.call_later(
                run.job.timeout.total_seconds(), lambda: run.stop(StopReason.TIMEOUT)
            )

        result = await run.ended_or_stopped(process)

        if timer is not None:
            timer.cancel()

        ended = self._clock.monotonic()

        if not await process.end_group(self._grace):
            _log.error("job %s: its processes could not be ended", run.job.id)

        if result is None:
            result = await process.wait()
            ended = self._clock.monotonic()

        return result, timedelta(seconds=ended - began)


def _spawn_outcome(error: OSError) -> Outcome:
    """Name what kept a command from starting: the job's own fault, or the system's."""
    if error.errno in _SYSTEM_ERRORS:
        return _system_outcome(error)

    subject = f": {os.fsdecode(error.filename)}" if error.filename else ""
    return Outcome(
        kind=OutcomeKind.SPAWN_FAILED, reason=f"could not start: {error.strerror}{subject}"
    )


def _system_outcome(error: OSError) -> Outcome:
    return Outcome(
        kind=OutcomeKind.INTERRUPTED,
        reason=f"the system could not start it: {error.strerror}",
        pause=_SYSTEM_PAUSE,
    )


def _outcome(run: Run, result: ProcessResult) -> Outcome:
    """Name how a run ended: what ended it from outside comes before what it said itself."""
    code, signal = result.exit_code, result.signal

    match run.stop_reason:
        case StopReason.TIMEOUT:
            return Outcome(
                kind=OutcomeKind.TIMED_OUT, exit_code=code, signal=signal, reason="timeout"
            )
        case StopReason.CANCEL:
            return Outcome(
                kind=OutcomeKind.CANCELLED,
                exit_code=code,
                signal=signal,
                reason=run.stop_words or "cancelled",
            )
        case StopReason.SHUTDOWN:
            return Outcome(
                kind=OutcomeKind.INTERRUPTED, exit_code=code, signal=signal, reason="interrupted"
            )
        case None:
            return exit_outcome(code, signal)


def exit_outcome(code: int | None, signal: str | None) -> Outcome:
    """Name the outcome of a command that ended by itself."""
    if code == 0:
        return Outcome(kind=OutcomeKind.COMPLETED, exit_code=0)

    reason = f"signal={signal}" if code is None else f"exit_code={code}"
    return Outcome(kind=OutcomeKind.FAILED, exit_code=code, signal=signal, reason=reason)
