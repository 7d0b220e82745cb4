"""A run that ended in time has ended so, however late its worker hears of it or can say it."""

import asyncio
import errno
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from queuectl import JobState, OutcomeKind, QueueEngine
from queuectl.engine.domain.lifecycle import Outcome
from queuectl.engine.runtime import watching
from queuectl.engine.runtime.clock import SystemClock, file_time
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.notes import run_note
from queuectl.engine.runtime.outcomes import noted_outcome, noted_reason
from queuectl.engine.runtime.process import ShellProcess, ShellRunner
from queuectl.engine.runtime.reaper import ProcessResult
from queuectl.engine.runtime.recording import EndedRun, Recorder
from queuectl.engine.runtime.run import Run, StopReason
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.runner import RunRequest
from queuectl.engine.store.base import JobStore
from queuectl.engine.testing import FakeClock, FakeProcess, FakeRun
from tests.factories import NOW, make_job
from tests.integration.orphans import GATE
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


async def test_an_end_that_nobody_has_heard_of_yet_comes_before_a_stop_during_the_start() -> None:
    run = Run(make_job())
    run.stop(StopReason.SHUTDOWN)
    result = await run.ended_or_stopped(Unheard())

    assert result is not None
    assert (result.exit_code, run.stop_reason) == (0, None)


async def test_what_a_worker_that_died_had_decided_comes_before_an_end() -> None:
    run = Run(make_job())
    run.stop_as_before(StopReason.TIMEOUT)

    assert await run.ended_or_stopped(Unheard()) is None
    assert run.stop_reason is StopReason.TIMEOUT


class LeavingError(Exception):
    """What a program is left by, with its workers."""


class ToldLate(ShellRunner):
    """One whose starts return when what they started has ended, and is wanted no more."""

    def __init__(self) -> None:
        super().__init__()
        self.is_at_it = asyncio.Event()

    async def start(self, request: RunRequest) -> ShellProcess | None:
        process = await super().start(request)
        assert process is not None
        await wait_until(process.has_ended)
        self.is_at_it.set()
        await wait_until(lambda: not request.is_wanted())
        return process


class ToldSoon(ToldLate):
    """One whose turn to start something comes when that is wanted no more."""

    async def start(self, request: RunRequest) -> ShellProcess | None:
        self.is_at_it.set()
        await wait_until(lambda: not request.is_wanted())
        return await ShellRunner.start(self, request)


async def left_while_starting(engine: QueueEngine, runner: ToldLate) -> None:
    """Leave the workers of a program, which ends what they run, while they are at a start."""
    with suppress(LeavingError):
        async with engine.workers():
            await runner.is_at_it.wait()
            raise LeavingError


async def test_a_command_that_ended_before_its_worker_was_stopped_is_not_run_again(
    db_path: Path, tmp_path: Path
) -> None:
    runner = ToldLate()

    async with QueueEngine(db_path, runner=runner) as engine:
        await engine.enqueue("exit 7", id="job", cwd=tmp_path, max_retries=0)
        await left_while_starting(engine, runner)
        job = await engine.get("job")

    assert (job.state, job.exit_code, job.run_count) == (JobState.DEAD, 7, 1)


async def test_a_command_whose_worker_was_stopped_before_it_began_is_not_begun(
    db_path: Path, tmp_path: Path
) -> None:
    runner = ToldSoon()

    async with QueueEngine(db_path, runner=runner) as engine:
        await engine.enqueue("echo >> ran", id="job", cwd=tmp_path)
        await left_while_starting(engine, runner)
        job = await engine.get("job")
        [run] = await engine.attempts("job")

    assert not (tmp_path / "ran").exists()
    assert (job.state, job.attempts, job.interruptions) == (JobState.PENDING, 0, 1)
    assert run.reason == "its worker was stopped before it began"


async def test_a_command_that_was_cancelled_before_it_began_is_not_begun(
    db_path: Path, tmp_path: Path
) -> None:
    runner = ToldSoon()

    async with QueueEngine(db_path, runner=runner) as engine, engine.workers():
        await engine.enqueue("echo >> ran", id="job", cwd=tmp_path)
        await runner.is_at_it.wait()
        await engine.cancel("job", reason="not today")
        job = await engine.wait("job", timeout=10)

    assert not (tmp_path / "ran").exists()
    assert (job.state, job.reason) == (JobState.CANCELLED, "not today")


async def test_a_code_that_was_there_before_the_run_was_told_to_end_counts(
    engine: QueueEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_end = watching._note_end

    def note_late(files: RunFiles, run: Run) -> None:
        # As on a disk that takes its time.
        (tmp_path / "go").touch()

        while files.exit_code(run.note) is None:
            os.sched_yield()

        at = files.written_at()
        assert at is not None

        while file_time() < at.timestamp() + 0.001:
            os.sched_yield()

        note_end(files, run)

    monkeypatch.setattr(watching, "_note_end", note_late)
    await engine.enqueue(GATE, id="job", cwd=tmp_path)

    async with engine.workers():
        await pid_in(tmp_path / "pid")
        await engine.cancel("job")
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.exit_code) == (JobState.COMPLETED, 0)


async def test_a_run_that_timed_out_has_timed_out_though_looks_at_its_end_are_refused(
    engine: QueueEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    had_ended = watching._had_ended
    refusals = [OSError(errno.EMFILE, "Too many open files"), OSError(errno.EIO, "error")]

    def refused(run: Run, files: RunFiles, result: ProcessResult, told_at: float | None) -> bool:
        if refusals:
            raise refusals.pop()

        return had_ended(run, files, result, told_at)

    monkeypatch.setattr(watching, "_had_ended", refused)
    monkeypatch.setattr(watching, "_STUCK_PAUSE", 0.01)
    command = """exec sh -c 'trap "exit 0" TERM; while :; do sleep 0.02; done'"""
    await engine.enqueue(command, id="job", cwd=tmp_path, timeout=0.2, max_retries=0)

    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    assert not refusals
    assert (job.state, job.reason) == (JobState.DEAD, "timeout")


async def test_why_a_run_is_ended_is_not_kept_where_it_ended_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job()
    run = Run(job)
    run.stop(StopReason.TIMEOUT)
    files = RunFiles(tmp_path, 1)
    files.make_exit_file()
    assert files.open(run.note)
    monkeypatch.setattr(watching, "_had_ended", lambda *_: True)
    recorder = Recorder(
        cast("JobStore", SilentStore()), SystemClock(), StateFolder(tmp_path / "queue.db")
    )
    clock = FakeClock(NOW)
    process = FakeProcess(FakeRun(exit_code=0, takes=1), clock, pid=1)

    result = await watching.RunWatcher(recorder, clock, 5.0).wait(run, process, files)
    files.close()

    assert result is not None
    assert (noted_reason(files, run.note), run.stop_reason) == (None, None)


def test_what_nobody_else_may_have_is_noted_as_cancelled(tmp_path: Path) -> None:
    job = make_job()
    files = RunFiles(tmp_path, 1)
    files.make_exit_file()
    assert files.open(run_note(job.run_key))
    recorder = Recorder(
        cast("JobStore", SilentStore()),
        SystemClock(),
        StateFolder(tmp_path / "queue.db"),
        gives_back=False,
    )

    interrupted = Outcome(kind=OutcomeKind.INTERRUPTED, signal="SIGTERM", reason="interrupted")
    recorder.note_outcome(job, interrupted, files)
    files.close()

    noted = noted_outcome(files, run_note(job.run_key))
    assert noted == Outcome(kind=OutcomeKind.CANCELLED, signal="SIGTERM", reason="interrupted")


@pytest.mark.parametrize(
    "words",
    [
        b'{"kind": "failed", "exit_code": 1e30}',
        b'{"kind": "failed", "exit_code": 9223372036854775808}',
        b'{"kind": "failed", "exit_code": -1}',
        b'{"kind": "interrupted", "pause": "P99999999D"}',
        b'{"kind": "interrupted", "pause": "-P1D"}',
    ],
)
def test_an_outcome_that_no_worker_writes_down_is_none(tmp_path: Path, words: bytes) -> None:
    files = RunFiles(tmp_path, 1)
    files.make_exit_file()
    assert files.open("1 1")
    files.note_end("1 1", outcome=words)
    files.close()

    assert noted_outcome(files, "1 1") is None


class SilentStore:
    """One that never answers."""

    async def settings(self) -> None:
        await asyncio.Event().wait()


async def test_a_result_that_is_being_recorded_when_the_loop_ends_is_left_in_the_files(
    tmp_path: Path,
) -> None:
    job = make_job()
    outcome = Outcome(kind=OutcomeKind.FAILED, signal="SIGKILL", reason="signal=SIGKILL")
    files = RunFiles(tmp_path, 1)
    files.make_exit_file()
    assert files.open(run_note(job.run_key))
    recorder = Recorder(
        cast("JobStore", SilentStore()), SystemClock(), StateFolder(tmp_path / "queue.db")
    )
    ended = EndedRun(job=job, outcome=outcome, started_at=NOW)
    recording = asyncio.create_task(recorder.record(ended, note_in=files))
    await asyncio.sleep(0)

    recording.cancel()
    await asyncio.wait([recording])
    files.close()

    assert noted_outcome(files, run_note(job.run_key)) == outcome
