"""Files that somebody has moved, replaced or locked, or the system refused: nobody else pays."""

import errno
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from queuectl import EventKind, JobState, OnCrash, QueueEngine
from queuectl.engine.domain.models import RunKey
from queuectl.engine.runtime.adoption import Orphan
from queuectl.engine.runtime.clock import SystemClock
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.liveness import (
    LOCK_NAME,
    Home,
    boot_id,
    is_alive,
    pid_namespace,
    sets_counted,
)
from queuectl.engine.runtime.locks import is_locked, open_private
from queuectl.engine.runtime.notes import run_note
from queuectl.engine.runtime.outcomes import left_outcome
from queuectl.engine.runtime.recording import Recorder
from queuectl.engine.runtime.recovery import Recovery
from queuectl.engine.runtime.run_folder import RunFilesPool, has_gaps
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.store.base import JobStore, WorkerRow
from tests.factories import NOW, make_job
from tests.integration.orphans import GATE, orphaned
from tests.integration.processes import WORK, engine_process, is_running, pid_in
from tests.waiting import wait_for_event, wait_until

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def folder(db_path: Path) -> StateFolder:
    folder = StateFolder(db_path)
    folder.make()
    return folder


@pytest.fixture(autouse=True)
def opened_gate(tmp_path: Path) -> Iterator[None]:
    """Let jobs that outlive their worker come to their end, however the test went."""
    yield
    (tmp_path / "go").touch()


def _lay_link(path: Path) -> None:
    target = path.parents[3] / "target"
    target.write_text("somebody's")
    path.symlink_to(target)


@pytest.mark.parametrize("lay", [_lay_link, Path.mkdir, os.mkfifo])
@pytest.mark.parametrize("is_over", [False, True])
async def test_a_run_whose_output_was_replaced_comes_to_its_end_without_it(
    engine: QueueEngine, db_path: Path, tmp_path: Path, lay: object, *, is_over: bool
) -> None:
    assert callable(lay)
    await engine.enqueue(f"{GATE}; exit 7", id="job", cwd=tmp_path, max_retries=0)
    pid = await orphaned(db_path, tmp_path)
    [log] = db_path.parent.glob("queue.db-run/workers/*/1.log")
    log.unlink()
    lay(log)

    if is_over:
        (tmp_path / "go").touch()
        await wait_until(lambda: not is_running(pid))

    async with engine.workers():
        if not is_over:
            await wait_for_event(engine, EventKind.ADOPTED)
            (tmp_path / "go").touch()

        job = await engine.wait("job", timeout=5)

    assert (job.state, job.exit_code, job.run_count) == (JobState.DEAD, 7, 1)
    assert await engine.output("job") == ""
    if lay is _lay_link:
        assert (tmp_path / "target").read_text() == "somebody's"


@linux_only
@pytest.mark.parametrize("lay", [_lay_link, Path.mkdir, os.mkfifo, Path.touch])
@pytest.mark.parametrize("is_over", [False, True])
async def test_a_run_whose_lock_was_replaced_is_not_taken_for_one_that_never_began(
    engine: QueueEngine, db_path: Path, tmp_path: Path, lay: object, *, is_over: bool
) -> None:
    assert callable(lay)
    await engine.enqueue(f"{GATE}; exit 7", id="job", cwd=tmp_path, max_retries=0)
    pid = await orphaned(db_path, tmp_path)
    [lock] = db_path.parent.glob("queue.db-run/workers/*/1.lock")
    lock.unlink()
    lay(lock)

    if is_over:
        (tmp_path / "go").touch()
        await wait_until(lambda: not is_running(pid))

    async with engine.workers():
        if not is_over:
            await wait_for_event(engine, EventKind.ADOPTED)
            (tmp_path / "go").touch()

        job = await engine.wait("job", timeout=5)

    assert (job.state, job.exit_code, job.run_count) == (JobState.DEAD, 7, 1)
    assert (tmp_path / "runs").read_text() == "ended\n"
    if lay is _lay_link:
        assert (tmp_path / "target").read_text() == "somebody's"


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _write_into(path: Path) -> None:
    path.write_text("somebody's")


def _write_a_line(path: Path) -> None:
    path.write_text("hello\n")


def _write_over(path: Path) -> None:
    with path.open("r+") as file:
        file.write("0\n")


@linux_only
@pytest.mark.parametrize("spoil", [Path.unlink, _empty, _write_into, _write_a_line, _write_over])
@pytest.mark.parametrize("before", ["", "trap : USR1; "])
async def test_a_run_whose_exit_file_was_spoiled_goes_on_and_keeps_its_exit_code(
    engine: QueueEngine, db_path: Path, tmp_path: Path, spoil: Callable[[Path], None], before: str
) -> None:
    # A daemon of the command's leads a session too, and is not its shell.
    daemon = "setsid sh -c 'until [ -e go ]; do sleep 0.01; done' &"
    command = f"{before}{daemon} {GATE}; exit 7"
    await engine.enqueue(command, id="job", cwd=tmp_path, max_retries=0)
    pid = await orphaned(db_path, tmp_path)
    [exit_file] = db_path.parent.glob("queue.db-run/workers/*/1.exit")
    spoil(exit_file)

    async with engine.workers():
        await wait_for_event(engine, EventKind.ADOPTED)
        await engine.list_workers()
        assert is_running(pid)
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=5)

    assert (job.state, job.exit_code, job.run_count) == (JobState.DEAD, 7, 1)
    assert (tmp_path / "runs").read_text() == "ended\n"


@linux_only
async def test_a_run_without_exit_file_whose_shell_was_killed_is_lost_and_all_of_it_ended(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    command = f"setsid sh -c 'echo $$ >daemon; sleep 60; true' & {GATE}"
    await engine.enqueue(command, id="job", cwd=tmp_path, max_retries=0)
    pid = await orphaned(db_path, tmp_path)
    daemon = await pid_in(tmp_path / "daemon")
    [exit_file] = db_path.parent.glob("queue.db-run/workers/*/1.exit")
    exit_file.unlink()

    async with engine.workers():
        await wait_for_event(engine, EventKind.ADOPTED)
        os.kill(pid, signal.SIGKILL)
        job = await engine.wait("job", timeout=5)

    assert (job.state, job.reason, job.run_count) == (JobState.DEAD, "lost", 1)
    assert not is_running(daemon)


def _remove_all(home: Path) -> None:
    for path in home.glob("1.*"):
        path.unlink()


def _empty_all(home: Path) -> None:
    for path in home.glob("1.*"):
        _empty(path)


def _remove_all_and_forget(home: Path) -> None:
    _remove_all(home)
    _empty(home / LOCK_NAME)


def _write_a_line_as_exit_code(home: Path) -> None:
    _write_a_line(home / "1.exit")


def _write_over_exit_code(home: Path) -> None:
    _write_over(home / "1.exit")


def _write_over_both(home: Path) -> None:
    for path in (home / "1.exit", home / "1.lock"):
        _write_over(path)


@linux_only
@pytest.mark.parametrize(
    "spoil",
    [
        _remove_all,
        _empty_all,
        _remove_all_and_forget,
        _write_a_line_as_exit_code,
        _write_over_exit_code,
        _write_over_both,
    ],
)
async def test_a_run_of_which_no_file_is_left_is_lost_and_not_begun_again_for_nothing(
    engine: QueueEngine, db_path: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path, on_crash=OnCrash.DEAD)
    pid = await orphaned(db_path, tmp_path)
    [home] = db_path.parent.glob("queue.db-run/workers/*")
    log = home / "1.log"
    spoil(home)
    os.kill(pid, signal.SIGKILL)
    # What its shell waited for still has the output for a moment.
    await wait_until(lambda: not is_running(pid) and not is_locked(log))

    async with engine.workers():
        job = await engine.wait("job", timeout=5)

    assert (job.state, job.reason) == (JobState.DEAD, "lost")
    assert (job.attempts, job.interruptions, job.crashes) == (1, 0, 1)


@contextmanager
def _refused_once(
    monkeypatch: pytest.MonkeyPatch, name: str, number: int, *, at: int = 0
) -> Iterator[None]:
    """Let the system refuse one call of a function of the os module in the context."""
    call = getattr(os, name)
    said = iter([*[None] * at, OSError(number, os.strerror(number))])

    def refuse_once(*args: Any, **kwargs: Any) -> Any:
        error = next(said, None)

        if error is not None:
            raise error

        return call(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, refuse_once)
        yield
        assert next(said, None) is None


@pytest.mark.parametrize(
    ("name", "at"), [("open", 0), ("open", 1), ("pwrite", 0)], ids=["lock", "exit file", "room"]
)
def test_a_set_of_files_that_could_not_be_made_is_not_missed_afterwards(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch, name: str, at: int
) -> None:
    home = Home(folder)
    pool = RunFilesPool(home.path, count=home.count_sets)

    with _refused_once(monkeypatch, name, errno.ENOSPC, at=at), pytest.raises(OSError, match="No"):
        pool.take(run_note(RunKey(1, 1)))

    kept, dropped = pool.take(run_note(RunKey(1, 1))), pool.take(run_note(RunKey(2, 1)))
    pool.give_back(kept)
    dropped.close()
    pool.drop(dropped)
    has_gaps_now = has_gaps(home.path, sets_counted(home.path))
    kept.exit_path.unlink()
    has_gaps_then = has_gaps(home.path, sets_counted(home.path))
    home.remove()

    assert (has_gaps_now, has_gaps_then) == (False, True)


def test_a_worker_that_cannot_write_into_its_lock_leaves_nothing_behind(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(Path("/dev/fd").iterdir())

    with _refused_once(monkeypatch, "pwrite", errno.ENOSPC), pytest.raises(OSError, match="No"):
        Home(folder)

    assert set(Path("/dev/fd").iterdir()) == before
    assert list(folder.workers.iterdir()) == []


def test_a_worker_that_cannot_make_its_lock_leaves_no_folder(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _refused_once(monkeypatch, "open", errno.EMFILE), pytest.raises(OSError, match="Too many"):
        Home(folder)

    assert list(folder.workers.iterdir()) == []


def test_a_run_whose_output_is_gone_ended_for_the_reason_that_was_noted(tmp_path: Path) -> None:
    job = make_job(run_count=1)
    note = run_note(job.run_key)
    files = RunFiles(tmp_path, 1)
    assert files.open(note)
    files.note_end(note, "timeout")
    files.close()
    files.output_path.unlink()

    assert left_outcome(job, files, None).reason == "timeout"


@linux_only
async def test_a_worker_whose_lock_was_moved_near_the_root_is_alive(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path)

    async with engine_process(WORK, db_path, 1):
        await pid_in(tmp_path / "pid")
        [lock] = db_path.parent.glob(f"queue.db-run/workers/*/{LOCK_NAME}")
        # As near as this file system has it.
        moved = Path(*tmp_path.parts[:2]) / lock.parent.name
        lock.rename(moved)

        try:
            [worker] = await engine.list_workers()
            # Who begins has looked around before.
            async with QueueEngine(db_path) as other, other.workers():
                job = await engine.get("job")
        finally:
            moved.rename(lock)

        (tmp_path / "go").touch()
        await engine.wait("job", timeout=10)

    assert worker.state == "running"
    assert (job.state, job.worker) == (JobState.PROCESSING, worker.id)


async def test_a_lock_that_cannot_be_read_keeps_no_other_worker_from_being_settled(
    engine: QueueEngine, db_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused_for_the_first(folder: StateFolder, worker: WorkerRow) -> bool:
        if worker.number == 1:
            raise PermissionError(13, "Permission denied")

        return is_alive(folder, worker)

    async with engine_process(WORK, db_path, 1) as idle:
        # It would adopt the run itself.
        await wait_until(lambda: len([*db_path.parent.glob("queue.db-run/workers/*/lock")]) == 1)
        await idle.kill()

    await engine.enqueue(f"{GATE}; exit 7", id="job", cwd=tmp_path, max_retries=0)
    async with engine_process(WORK, db_path, 1) as dying:
        await pid_in(tmp_path / "pid")
        await dying.kill()
    monkeypatch.setattr("queuectl.engine.runtime.recovery.is_alive", refused_for_the_first)

    async with engine.workers():
        await wait_for_event(engine, EventKind.ADOPTED, seconds=2)
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=10)

    assert job.exit_code == 7


@linux_only
async def test_a_look_that_is_cancelled_keeps_no_lock_of_a_dead_worker_open(
    store: JobStore, folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = folder.worker("dead")
    home.mkdir(mode=0o700)
    lock = open_private(home / LOCK_NAME)
    # As somebody else who looks: the lock is neither held by a worker nor free.
    fcntl.flock(lock, fcntl.LOCK_SH)
    await store.register_worker(
        token=home.name,
        host="",
        pid=0,
        boot_id=boot_id(),
        pid_namespace=pid_namespace(),
        lock_file=None,
        pipe=None,
        can_restart=False,
        concurrency=1,
        now=NOW,
    )
    clock = SystemClock()
    recovery = Recovery(
        store=store,
        recorder=Recorder(store, clock, folder),
        folder=folder,
        clock=clock,
        worker=99,
        adopt=_adopt_nothing,
    )
    monkeypatch.setattr("queuectl.engine.runtime.recovery._PAUSE", 60)

    async with anyio.create_task_group() as looking:
        looking.start_soon(recovery.tick)
        await wait_until(lambda: _times_open(home / LOCK_NAME) == 2)
        looking.cancel_scope.cancel()

    times_open = _times_open(home / LOCK_NAME)
    os.close(lock)
    assert times_open == 1


async def _adopt_nothing(_: Orphan) -> None:
    pass


def _times_open(path: Path) -> int:
    """Return how many descriptors this process has of a file."""
    found = path.stat()
    open_files = []

    for entry in Path("/proc/self/fd").iterdir():
        try:
            open_files.append(entry.stat())
        except FileNotFoundError:
            continue

    return sum(os.path.samestat(found, each) for each in open_files)
