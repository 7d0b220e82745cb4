"""
A run that is watched to its end: its time, why it is ended, and what it leaves.

Runs that were started here and runs that were adopted are watched alike.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from queuectl.engine.runtime.clock import Clock, Timer, sleep
from queuectl.engine.runtime.ending import Remains
from queuectl.engine.runtime.outcomes import run_outcome
from queuectl.engine.runtime.reaper import ProcessResult
from queuectl.engine.runtime.recording import Recorder
from queuectl.engine.runtime.run import Run, StopReason
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.runner import RunningProcess
from queuectl.engine.runtime.tree import HELD_UNSEEN

T = TypeVar("T")

_log = logging.getLogger(__name__)

_NO_TIME: Final = timedelta()

# What is lost of a file's time on its way here, in seconds.
_FILE_STEP: Final = 1e-5

# Seconds between two tries to end what cannot be ended.
_STUCK_PAUSE: Final = 1.0


class RunWatcher:
    """
    Watches runs to their ends, and ends those that are to be ended.

    Args:
        recorder: Says of which runs nobody can say that they are over.
        clock: Tells the time.
        grace: Seconds between TERM and KILL.
    """

    def __init__(self, recorder: Recorder, clock: Clock, grace: float) -> None:
        self._recorder = recorder
        self._clock = clock
        self._grace = grace

    async def insist(self, run: Run, look: Callable[[], Awaitable[T]]) -> T | None:
        """
        Look at a run, or at its files, as soon as the system allows it.

        Args:
            run: The run.
            look: What to do; raises OSError where that cannot be done now.

        Returns:
            None where the worker has to go before: whoever comes after it looks at them.
        """
        while True:
            try:
                return await look()
            except OSError as error:
                _log.error("job %s: cannot look at its files: %s", run.job.id, error)

                if run.has_to_go():
                    return None

            await sleep(self._clock, _STUCK_PAUSE)

    async def wait(
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

        Raises:
            OSError: That it has ended cannot be seen now.
        """
        timer = self._deadline(run, gone)

        try:
            result = await run.ended_or_stopped(process)
        finally:
            if timer is not None:
                timer.cancel()

        run.ended_at = self._clock.monotonic()

        if result is None:
            _note_end(files, run)

        if run.stop_reason is StopReason.LEAVE:
            return None

        if not await self._end(run, process, result):
            if result is not None and result.is_known:
                self._recorder.note_outcome(run.job, run_outcome(run, result), files)

            return None

        if result is not None:
            return result

        # Only this again where it is refused: that it was ended is decided.
        return await self.insist(run, partial(self._heard, run, process, files))

    async def _heard(self, run: Run, process: RunningProcess, files: RunFiles) -> ProcessResult:
        """
        Return how a run ended that was told to; by itself, if it was faster.

        Raises:
            OSError: That cannot be seen now.
        """
        result = await process.wait()
        run.ended_at = self._clock.monotonic()

        if _had_ended(run, files, result, process.told_at):
            run.mark_ended()
            # Why it was being ended: nobody is to read that now.
            _note_end(files, run)

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
        has_ended = result is not None and result.is_known
        end = process.end_group if has_ended else process.end_tree
        # As it was at the last try at which somebody could look.
        is_hidden = False

        while True:
            try:
                remains = await end(self._grace)
            except OSError as error:
                _log.error("cannot look for what is to be ended: %s", error)
            else:
                if remains is Remains.GONE:
                    return True

                is_hidden = remains is Remains.HIDDEN

            words = f"processes of session {process.pid} cannot be ended"
            await self._recorder.mark_stuck(run.job, HELD_UNSEEN if is_hidden else words)

            if run.has_to_go():
                return False

            await sleep(self._clock, _STUCK_PAUSE)


def _had_ended(run: Run, files: RunFiles, result: ProcessResult, told_at: float | None) -> bool:
    """Whether a run's shell had written down its code before it was told to end."""
    # Where a worker before us had decided it, that had told it.
    if result.exit_code is None or files.exit_code(run.note) is None or run.was_stopped_before:
        return False

    if told_at is None:
        return True

    written_at = files.written_at()
    return written_at is not None and written_at.timestamp() < told_at - _FILE_STEP


def _note_end(files: RunFiles, run: Run) -> None:
    """Write down why a run is being ended, if it is; where that cannot be done, go on."""
    try:
        files.note_end(run.note, run.stop_reason or "")
    except OSError as error:
        _log.warning("job %s: cannot note why its run is ended: %s", run.job.id, error)
