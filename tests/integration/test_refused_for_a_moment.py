"""What the system or the database refuses for a moment changes no outcome, and holds nobody up."""

import asyncio
import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from queuectl import EventKind, JobState, OnCrash, OutcomeKind, QueueEngine
from queuectl.engine.domain.models import RunKey
from queuectl.engine.errors import StoreError
from queuectl.engine.runtime import watching
from queuectl.engine.runtime.adoption import OrphanProcess
from queuectl.engine.runtime.ending import Remains
from queuectl.engine.runtime.notes import run_note
from queuectl.engine.runtime.process import ShellProcess
from queuectl.engine.runtime.run import StopReason
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.tree import RunTree
from queuectl.engine.store.sqlite.store import SqliteStore
from tests.integration.orphans import GATE, orphaned
from tests.integration.processes import is_running
from tests.waiting import wait_for_event, wait_until


@pytest.fixture(autouse=True)
def opened_gate(tmp_path: Path) -> Iterator[None]:
    """Let jobs that outlive their worker come to their end, however the test went."""
    yield
    (tmp_path / "go").touch()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_STUCK_PAUSE", 0.01)


def fail_once(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method whose first call finds no free descriptor."""
    failures = iter([OSError(errno.EMFILE, "Too many open files")])

    def failing(*args: Any, **given: Any) -> Any:
        for failure in failures:
            raise failure

        return call(*args, **given)

    return failing


def files_of_first_run(db_path: Path) -> RunFiles:
    """Return the files of the only run that there was."""
    [lock] = db_path.parent.glob("queue.db-run/workers/*/1.lock")
    return RunFiles(lock.parent, 1)


async def test_a_run_that_a_dead_worker_was_stopping_is_ended_although_that_fails_at_first(
    engine: QueueEngine, db_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await engine.enqueue(GATE, id="job", cwd=tmp_path)
    shell = await orphaned(db_path, tmp_path)
    files_of_first_run(db_path).note_end(run_note(RunKey(job.seq, 1)), StopReason.SHUTDOWN)
    monkeypatch.setattr(RunTree, "end", fail_once(RunTree.end))

    async with engine.workers():
        await wait_for_event(engine, EventKind.RELEASED, "job")
        was_running = is_running(shell)
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=10)

    runs = await engine.attempts("job")
    assert [run.outcome for run in runs] == [OutcomeKind.INTERRUPTED, OutcomeKind.COMPLETED]
    assert (was_running, job.attempts) == (False, 1)


async def test_a_run_that_was_left_to_a_successor_goes_on_although_it_cannot_be_watched_at_first(
    engine: QueueEngine, db_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await engine.enqueue(GATE, id="job", cwd=tmp_path, on_crash=OnCrash.KILL)
    await orphaned(db_path, tmp_path)
    files_of_first_run(db_path).note_end(run_note(RunKey(job.seq, 1)), StopReason.LEAVE)
    monkeypatch.setattr(OrphanProcess, "wait", fail_once(OrphanProcess.wait))

    async with engine.workers():
        await wait_for_event(engine, EventKind.ADOPTED, "job")
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.run_count) == (JobState.COMPLETED, 1)


async def test_the_files_of_an_adopted_run_that_is_somebody_elses_by_now_are_left_to_him(
    engine: QueueEngine, db_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await engine.enqueue(GATE, id="job", cwd=tmp_path)
    await orphaned(db_path, tmp_path)
    files = files_of_first_run(db_path)

    async def refuse(*_: object, **__: object) -> None:
        """Say that the run is another's."""

    monkeypatch.setattr(SqliteStore, "finish", refuse)

    async with engine.workers():
        await wait_for_event(engine, EventKind.ADOPTED, "job")
        (tmp_path / "go").touch()

    left = files.exit_note(run_note(RunKey(job.seq, 1)))
    assert left is not None
    assert (files.note(), left.code) == (run_note(RunKey(job.seq, 1)), 0)


async def test_that_a_run_was_left_is_struck_out_when_it_is_adopted_although_that_fails_at_first(
    engine: QueueEngine, db_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await engine.enqueue(GATE, id="job", cwd=tmp_path, on_crash=OnCrash.KILL)
    await orphaned(db_path, tmp_path)
    files, note = files_of_first_run(db_path), run_note(RunKey(job.seq, 1))
    files.note_end(note, StopReason.LEAVE)
    monkeypatch.setattr(RunFiles, "note_end", fail_once(RunFiles.note_end))

    async with engine.workers():
        await wait_for_event(engine, EventKind.ADOPTED, "job")
        await wait_until(lambda: files.noted_end(note) is None)
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.run_count) == (JobState.COMPLETED, 1)


async def test_an_engine_can_be_left_while_what_a_shell_wrote_cannot_be_read(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = asyncio.Event()

    def refuse(*_: object) -> None:
        refused.set()
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as meanwhile, anyio.fail_after(8):
        async with engine.workers(grace=0):
            meanwhile.setattr(RunFiles, "exit_note", refuse)
            await engine.enqueue("exit 125", id="job", max_retries=0)
            await refused.wait()

    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.reason, job.run_count) == (JobState.DEAD, "exit_code=125", 1)


async def test_how_a_run_ended_is_not_lost_where_a_worker_goes_before_what_it_left_has_ended(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> Remains:
        return Remains.LEFT

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(ShellProcess, "end_group", refuse)

        with anyio.fail_after(8):
            async with engine.workers(grace=0):
                await engine.enqueue("kill -9 $$", id="job", max_retries=0)
                await wait_for_event(engine, EventKind.STUCK, "job")

    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.reason, job.run_count) == (JobState.DEAD, "signal=SIGKILL", 1)


@pytest.mark.parametrize(
    ("job", "reason", "output"),
    [
        ({"command": "echo out; exit 7"}, "exit_code=7", b"out\n"),
        ({"command": "echo out; kill -9 $$"}, "signal=SIGKILL", b"out\n"),
        (
            {"command": "echo out; (setsid sleep 60) & kill -9 $$"},
            "signal=SIGKILL",
            b"out\n",
        ),
        (
            {"command": ":", "cwd": "/no/such/folder"},
            "could not start: No such file or directory: /no/such/folder",
            b"",
        ),
    ],
    ids=["code", "signal", "signal and what is left", "not started"],
)
async def test_an_engine_can_be_left_while_the_database_refuses_a_result_which_is_not_lost(
    engine: QueueEngine,
    monkeypatch: pytest.MonkeyPatch,
    db_path: Path,
    job: dict[str, Any],
    reason: str,
    output: bytes,
) -> None:
    refused = asyncio.Event()

    async def refuse(*_: object, **__: object) -> bool:
        refused.set()
        raise StoreError(str(db_path), "the disk is full")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(SqliteStore, "finish", refuse)

        with anyio.fail_after(8):
            async with engine.workers(grace=0):
                await engine.enqueue(**job, id="job", max_retries=0)
                await refused.wait()

    async with engine.workers():
        ended = await engine.wait("job", timeout=10)

    assert (ended.state, ended.reason, ended.run_count) == (JobState.DEAD, reason, 1)
    assert await engine.output_bytes("job") == output
