"""Whether a command began is proved by its shell, also where it cannot be started or watched."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Final

import pytest

from queuectl import JobState, OutcomeKind, QueueEngine
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.process import ShellProcess, ShellRunner
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.runner import RunRequest
from tests.integration.processes import DRAIN, engine_process

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

# A program that ignores the ends of its children, so that the kernel keeps none.
IGNORING: Final = f"""
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
{DRAIN}
"""

# What asyncio does by itself from Python 3.14 on, where each process has ended before
# it is watched.
UNWATCHED: Final = """
import asyncio, os, sys
from queuectl.engine.runtime import reaper

if sys.version_info < (3, 14):
    class Late(asyncio.PidfdChildWatcher):
        def add_child_handler(self, pid, *given):
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                super().add_child_handler(pid, *given)

    def get_late():
        watcher = Late()
        watcher.attach_loop(asyncio.get_running_loop())
        return watcher

    asyncio.get_event_loop_policy().get_child_watcher = get_late
    reaper._StandIn.__enter__ = reaper._StandIn.__exit__ = lambda *_: None
"""

# The same, where each is watched from its begin on.
WATCHED: Final = UNWATCHED.replace("os.waitpid(pid, 0)", "raise ChildProcessError")


async def test_a_command_whose_shell_cannot_write_that_it_began_does_not_begin(
    engine: QueueEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = RunFiles.make_exit_file

    def make_first_unwritable(files: RunFiles) -> None:
        make(files)

        if files.exit_path.name == "1.exit":
            # A file that even the superuser cannot write into.
            files.exit_path = Path("/proc/version")

    monkeypatch.setattr(RunFiles, "make_exit_file", make_first_unwritable)
    job = await engine.enqueue("echo ran >> runs", id="job", cwd=tmp_path, max_retries=0)

    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    first, second = await engine.attempts("job")
    assert (first.outcome, first.reason) == (
        OutcomeKind.INTERRUPTED,
        "the system could not start it: its shell could not write its first word",
    )
    assert (second.outcome, job.state, job.attempts) == (
        OutcomeKind.COMPLETED,
        JobState.COMPLETED,
        1,
    )
    assert (tmp_path / "runs").read_text() == "ran\n"


async def test_a_command_whose_shell_finds_the_workers_folder_removed_does_not_begin(
    engine: QueueEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = ShellRunner.start
    removed: list[Path] = []

    async def start_too_late(runner: ShellRunner, request: RunRequest) -> ShellProcess | None:
        if not removed:
            removed.append(request.files.exit_path.parent)
            await asyncio.to_thread(shutil.rmtree, removed[0])

        return await start(runner, request)

    monkeypatch.setattr(ShellRunner, "start", start_too_late)
    await engine.enqueue("echo ran >> runs", id="job", cwd=tmp_path, max_retries=0)

    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    runs = await engine.attempts("job")
    assert [run.outcome for run in runs] == [OutcomeKind.INTERRUPTED, OutcomeKind.COMPLETED]
    assert (job.state, job.attempts) == (JobState.COMPLETED, 1)
    assert (tmp_path / "runs").read_text() == "ran\n"


async def test_a_command_that_removes_the_workers_folder_and_ends_with_that_code_has_failed(
    engine: QueueEngine,
) -> None:
    command = 'rm -rf "$QUEUECTL_DB"-run/workers/*; exit 125'
    await engine.enqueue(command, id="job", max_retries=0)

    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.reason, job.run_count) == (JobState.DEAD, "exit_code=125", 1)


async def test_a_command_that_ends_with_the_code_of_a_shell_that_cannot_write_has_failed(
    engine: QueueEngine,
) -> None:
    await engine.enqueue("exit 125", id="job", max_retries=0)

    await engine.drain()

    job = await engine.get("job")
    assert (job.state, job.reason) == (JobState.DEAD, "exit_code=125")


@pytest.mark.parametrize(
    "before", ["", UNWATCHED, WATCHED], ids=["stand-in", "ended before", "ends later"]
)
async def test_exit_codes_are_right_in_a_program_that_ignores_the_ends_of_its_children(
    engine: QueueEngine, db_path: Path, before: str
) -> None:
    for code in (0, 7, 255):
        await engine.enqueue(f"exit {code}", id=f"job-{code}", max_retries=0)

    async with engine_process(before + IGNORING, db_path, 1) as ignoring:
        assert await ignoring.ended() == 0

    jobs = {job.id: (job.state, job.exit_code, job.run_count) for job in await engine.list()}
    assert jobs == {
        "job-0": (JobState.COMPLETED, 0, 1),
        "job-7": (JobState.DEAD, 7, 1),
        "job-255": (JobState.DEAD, 255, 1),
    }


async def test_a_killed_shell_of_which_nobody_can_say_how_it_ended_is_lost(
    engine: QueueEngine, db_path: Path
) -> None:
    await engine.enqueue("kill -9 0", id="job", max_retries=0)

    async with engine_process(WATCHED + IGNORING, db_path, 1) as ignoring:
        assert await ignoring.ended() == 0

    job = await engine.get("job")
    assert (job.state, job.reason, job.exit_code) == (JobState.DEAD, "lost", None)


async def test_a_command_that_the_workers_locale_cannot_say_fails_and_the_next_job_runs(
    engine: QueueEngine, db_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.enqueue("echo ä", id="job", max_retries=0)
    await engine.enqueue("echo ok", id="next")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")

    async with engine_process(DRAIN, db_path, 1) as worker:
        assert await worker.ended() == 0

    [run] = await engine.attempts("job")
    assert (run.outcome, run.reason) == (
        OutcomeKind.SPAWN_FAILED,
        "could not start: the encoding of the worker's locale, ascii, has no '\\xe4'",
    )
    assert (await engine.get("next")).state is JobState.COMPLETED


async def test_what_no_program_can_be_given_is_a_failed_attempt(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mark, "__str__", lambda _: "a\0b")
    await engine.enqueue("true", id="job", max_retries=0)

    await engine.drain()

    [run] = await engine.attempts("job")
    assert (run.outcome, run.reason) == (
        OutcomeKind.SPAWN_FAILED,
        "could not start: embedded null byte",
    )
