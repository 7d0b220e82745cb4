"""What dead workers left: ended and removed, whatever gets in the way."""

import ctypes
import errno
import logging
import os
import signal
import sys
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from queuectl.engine.runtime import proc, sweep
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.liveness import LOCK_NAME, open_lock
from queuectl.engine.runtime.locks import is_locked, release, try_lock
from queuectl.engine.runtime.marks import Mark
from queuectl.engine.runtime.proc import Process
from queuectl.engine.runtime.run_folder import FoundRun, find_runs, has_gaps
from queuectl.engine.runtime.sweep import Sweeper, end_leftovers
from queuectl.engine.runtime.threads import in_thread
from queuectl.engine.store.base import JobStore
from tests.integration.orphans import STAY, a_process
from tests.integration.processes import is_running
from tests.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def folder(db_path: Path) -> StateFolder:
    folder = StateFolder(db_path)
    folder.make()
    return folder


def left_home(folder: StateFolder, token: str) -> Path:
    """Make the folder of a worker that is dead and settled."""
    home = folder.worker(token)
    home.mkdir(mode=0o700)
    (home / LOCK_NAME).touch(mode=0o600)
    return home


async def test_what_the_system_refuses_for_one_process_is_done_for_the_others(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = left_home(folder, "dead")
    marks = [Mark(token=home.name, seq=n, run=1, database=str(folder.database)) for n in range(3)]
    send = proc.send

    async with AsyncExitStack() as stack:
        first, second, third = [
            await stack.enter_async_context(a_process(STAY, mark=mark)) for mark in marks
        ]

        def refuse_one(process: Process, number: signal.Signals) -> bool:
            if process.pid == second:
                raise OSError(38, "Function not implemented")

            return send(process, number)

        monkeypatch.setattr(proc, "send", refuse_one)
        left = await end_leftovers(home, str(folder.database), 0.3)
        running = [is_running(pid) for pid in (first, second, third)]

    assert [(found.process.pid, *found.key) for found in left] == [(second, 1, 1)]
    assert running == [False, True, False]


async def test_a_sweep_that_is_cancelled_keeps_no_lock(
    store: JobStore, folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = left_home(folder, "dead")
    begun, cancelled, done = threading.Event(), threading.Event(), threading.Event()

    def lock_when_cancelled(descriptor: int) -> bool:
        begun.set()
        assert cancelled.wait(PATIENCE)
        is_ours = try_lock(descriptor)
        done.set()
        return is_ours

    monkeypatch.setattr(sweep, "try_lock", lock_when_cancelled)

    async with anyio.create_task_group() as sweeping:
        sweeping.start_soon(Sweeper(store, folder).sweep)
        await wait_until(begun.is_set)
        sweeping.cancel_scope.cancel()
        cancelled.set()

    # The thread has an end of its own.
    with anyio.CancelScope(shield=True):
        await wait_until(done.is_set)

    assert not is_locked(home / LOCK_NAME)


@pytest.mark.parametrize("by_file", [True, False])
def test_a_child_that_is_forked_meanwhile_does_not_keep_a_dead_workers_lock(
    folder: StateFolder, *, by_file: bool
) -> None:
    home = left_home(folder, "0123456789abcdef")
    lock = open_lock(home, by_file=by_file)
    assert try_lock(lock)
    # It does not go on as Python, which would close it.
    child = ctypes.CDLL(None).fork()

    if not child:
        signal.pause()

    try:
        release(lock)
        again = open_lock(home, by_file=by_file)
        is_free = try_lock(again)
        release(again)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    assert is_free


async def test_a_lock_that_the_system_refuses_is_not_kept_open(
    store: JobStore, folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = left_home(folder, "dead")
    was_refused = []

    def refuse(descriptor: int) -> bool:
        was_refused.append(descriptor)
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(sweep, "try_lock", refuse)
    await Sweeper(store, folder).sweep()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(*was_refused)
    assert home.exists()


async def test_each_process_that_cannot_be_ended_is_reported_once(
    store: JobStore,
    folder: StateFolder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokens = ["one", "two"]
    monkeypatch.setattr(sweep, "_GRACE", 0.0)
    monkeypatch.setattr("queuectl.engine.runtime.ending._LONGEST_DEATH", 0.0)
    # As for a process that has become another user's.
    monkeypatch.setattr(proc, "send", lambda *_: False)
    sweeper = Sweeper(store, folder)

    async with AsyncExitStack() as stack:
        for token in tokens:
            left_home(folder, token)
            mark = Mark(token=token, seq=1, run=1, database=str(folder.database))
            await stack.enter_async_context(a_process(STAY, mark=mark))

        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                await sweeper.sweep()

    reports = [record for record in caplog.records if "cannot be ended" in record.message]
    assert len(reports) == 2
    assert sorted(home.name for home in folder.workers.iterdir()) == tokens


async def test_a_folder_that_fails_in_a_way_nobody_foresaw_keeps_no_other(
    store: JobStore,
    folder: StateFolder,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, good = left_home(folder, "bad"), left_home(folder, "good")

    def fail_for_one(home: Path) -> list[FoundRun]:
        if home == bad:
            raise ValueError("not foreseen")

        return find_runs(home)

    monkeypatch.setattr(sweep, "find_runs", fail_for_one)
    await Sweeper(store, folder).sweep()

    assert bad.exists()
    assert not good.exists()
    assert [record.getMessage() for record in caplog.records] == ["cannot remove the folder bad"]
    assert "not foreseen" in caplog.text


async def test_a_folder_goes_whatever_the_names_of_the_files_in_it(
    store: JobStore, folder: StateFolder
) -> None:
    home = left_home(folder, "dead")

    for name in ("\N{SUPERSCRIPT TWO}", "0", "9" * 200):
        (home / f"{name}.lock").touch()
        (home / f"{name}.exit").touch()

    assert await in_thread(find_runs, home) == []
    assert not await in_thread(has_gaps, home, 0)
    await Sweeper(store, folder).sweep()
    assert not home.exists()


async def test_a_folder_goes_when_its_last_process_has(
    store: JobStore, folder: StateFolder
) -> None:
    home = left_home(folder, "dead")
    mark = Mark(token=home.name, seq=1, run=1, database=str(folder.database))

    async with a_process(STAY, mark=mark) as pid:
        await Sweeper(store, folder).sweep()
        was_running = is_running(pid)

    assert not was_running
    assert not home.exists()
