"""Ends runs that write more than they may, before they fill the disk."""

import asyncio
import logging
from typing import Final

from queuectl.engine.runtime.clock import SystemClock, sleep
from queuectl.engine.runtime.run import Run, StopReason

_log = logging.getLogger(__name__)

# Seconds between two looks at the outputs of running jobs: the shortest while
# one grows fast, the longest while none does.
_SHORTEST: Final = 0.02
_LONGEST: Final = 0.25


class OutputGuard:
    """Looks at the size of each run's output, often enough that little is written too much."""

    def __init__(self) -> None:
        self._sizes: dict[Run, int] = {}
        self._has_runs = asyncio.Event()

    def watch(self, run: Run) -> None:
        """Begin to watch a run, where there is a limit to what it may write."""
        if run.job.max_output_bytes is not None:
            self._sizes[run] = 0
            self._has_runs.set()

    def forget(self, run: Run) -> None:
        """Stop watching a run."""
        self._sizes.pop(run, None)

    async def serve(self) -> None:
        """Watch for ever; while nothing runs, do nothing."""
        while True:
            await self._has_runs.wait()
            pause = _SHORTEST

            while self._sizes:
                # What is written is written by real processes, in real time.
                await sleep(SystemClock(), pause)
                pause = self._look(pause)

            self._has_runs.clear()

    def _look(self, pause: float) -> float:
        """Look at every output; return how long to wait for the next look."""
        wanted = [_LONGEST, 2 * pause]

        for run, before in list(self._sizes.items()):
            limit = run.job.max_output_bytes

            if run.files is None or limit is None:
                continue

            try:
                size = run.files.output_size()
            except OSError as error:
                # Looked at again soon; at its end a run is judged by its size all the same.
                _log.debug("job %s: cannot look at its output: %s", run.job.id, error)
                continue

            self._sizes[run] = size

            if size > limit:
                run.stop(StopReason.OUTPUT)
                self.forget(run)
            elif size > before:
                # Half the time until it is too much, if it goes on like that.
                wanted.append(pause * (limit - size) / (size - before) / 2)

        return max(_SHORTEST, min(wanted))
