"""A run that ended in time has ended so, however late its worker hears of it."""

import asyncio
import os
import signal
import time
from pathlib import Path

from queuectl import JobState, QueueEngine
from queuectl.engine.runtime.run import Run, StopReason
from queuectl.engine.testing import FakeClock, FakeProcess, FakeRun
from tests.factories import NOW, make_job
from tests.integration.processes import WORK, engine_process, is_running, pid_in
from tests.waiting import wait_until

# Seconds.
TIMEOUT = 0.6


async def test_a_run_that_ended_in_time_while_its_worker_stood_still_has_not_timed_out(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    command = "echo $$ > pid; sleep 0.2; exit 7"
    await engine.enqueue(command, id="job", cwd=tmp_path, timeout=TIMEOUT, max_retries=0)

    async with engine_process(WORK, db_path, 1) as worker:
        pid = await pid_in(tmp_path / "pid")
        os.kill(worker.pid, signal.SIGSTOP)
        late = time.monotonic() + TIMEOUT
        await wait_until(lambda: not is_running(pid) and time.monotonic() > late)
        os.kill(worker.pid, signal.SIGCONT)
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.exit_code, job.reason) == (JobState.DEAD, 7, "exit_code=7")


class Unheard(FakeProcess):
    """A process that has ended, of which nobody has been told."""

    def __init__(self) -> None:
        super().__init__(FakeRun(exit_code=0, takes=1), FakeClock(NOW), pid=1)

    def has_ended(self) -> bool:
        self._ended.set()
        return True


async def test_an_end_that_nobody_has_heard_of_yet_comes_before_a_stop() -> None:
    run = Run(make_job())
    waiting = asyncio.create_task(run.ended_or_stopped(Unheard()))
    await asyncio.sleep(0)

    run.stop(StopReason.TIMEOUT)
    result = await waiting

    assert result is not None
    assert (result.exit_code, run.stop_reason) == (0, None)
