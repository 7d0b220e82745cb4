"""What a worker leaves that was killed: found, kept, and settled by another."""

import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from queuectl import Event, EventKind, Job, JobSpec, JobState, OutcomeKind, QueueEngine
from queuectl.engine.runtime.adoption import Orphan
from queuectl.engine.runtime.clock import SystemClock
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.recording import Recorder
from queuectl.engine.runtime.recovery import Recovery
from queuectl.engine.runtime.settling import Settler
from queuectl.engine.store.base import JobStore
from tests.conftest import OpenStore
from tests.integration.processes import WORK, end, engine_process, is_running, pid_in
from tests.waiting import wait_for_event, wait_until

# Tells its pid, and goes on when a file named go is there.
GATE = "echo began; echo $$ > pid; until [ -e go ]; do sleep 0.01; done; echo ended >> runs"


@pytest.fixture(autouse=True)
def opened_gate(tmp_path: Path) -> Iterator[None]:
    """Let jobs that outlive their worker come to their end, however the test went."""
    yield
    (tmp_path / "go").touch()


async def test_a_job_goes_on_when_its_worker_is_killed_and_is_completed_once(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(f"{GATE}; echo ended", id="job", cwd=tmp_path)

    async with engine_process(WORK, db_path, 1) as dying:
        pid = await pid_in(tmp_path / "pid")
        await dying.kill()
    async with engine.workers():
        await wait_until(lambda: is_running(pid), seconds=1)
        running = await engine.get("job")
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=10)

    (run,) = await engine.attempts("job")
    assert running.state is JobState.PROCESSING
    assert (job.state, job.exit_code, job.run_count) == (JobState.COMPLETED, 0, 1)
    assert run.outcome is OutcomeKind.COMPLETED
    assert await engine.output("job") == "began\nended\n"
    assert (tmp_path / "runs").read_text() == "ended\n"


async def test_a_job_that_ends_while_nobody_lives_is_settled_by_the_code_it_left(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.config.set("max-retries", 0)
    await engine.enqueue(f"{GATE}; head -c 20000 /dev/zero; exit 7", id="job", cwd=tmp_path)

    async with engine_process(WORK, db_path, 1) as dying:
        pid = await pid_in(tmp_path / "pid")
        await dying.kill()
    (tmp_path / "go").touch()
    await wait_until(lambda: not is_running(pid))
    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.exit_code, job.reason) == (JobState.DEAD, 7, "exit_code=7")
    assert len(await engine.output("job")) == 20_006
    assert (tmp_path / "runs").read_text() == "ended\n"


async def test_a_job_whose_processes_were_killed_too_is_lost_and_tried_again(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path, backoff_base=0)

    async with engine_process(WORK, db_path, 1) as dying:
        pid = await pid_in(tmp_path / "pid")
        await dying.kill()
    os.killpg(pid, signal.SIGKILL)
    await wait_until(lambda: not is_running(pid))
    (tmp_path / "go").touch()
    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    first, second = await engine.attempts("job")
    assert (first.outcome, first.reason) == (OutcomeKind.LOST, "lost")
    assert second.outcome is OutcomeKind.COMPLETED
    assert (job.attempts, job.run_count) == (2, 2)
    assert await engine.output("job", attempt=1) == "began\n"


async def test_a_lost_job_without_retries_is_dead(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path, max_retries=0)

    async with engine_process(WORK, db_path, 1) as dying:
        pid = await pid_in(tmp_path / "pid")
        await dying.kill()
    os.killpg(pid, signal.SIGKILL)
    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.reason) == (JobState.DEAD, "lost")


async def test_a_lost_job_that_was_to_be_cancelled_is_cancelled(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path)

    async with engine_process(WORK, db_path, 1) as dying:
        pid = await pid_in(tmp_path / "pid")
        await dying.kill()
    await engine.cancel("job", reason="too late")
    os.killpg(pid, signal.SIGKILL)
    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.reason) == (JobState.CANCELLED, "too late")


async def test_jobs_that_were_claimed_and_not_started_come_back_uncharged(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    # Many short jobs let the worker claim ahead of the one that stays.
    short = [JobSpec(command=":") for _ in range(60)]
    after = [JobSpec(command=":", id=f"after-{n}") for n in range(20)]
    held = JobSpec(command=GATE, id="held", cwd=str(tmp_path))
    await engine.enqueue_many([*short, held, *after])

    async with engine_process(WORK, db_path, 1) as dying:
        pid = await pid_in(tmp_path / "pid")
        await dying.kill()
    try:
        # One slot is for the run that goes on.
        async with engine.workers(2):
            jobs = await engine.wait_all([spec.id or "" for spec in after], timeout=10)
            (tmp_path / "go").touch()
            await engine.wait("held", timeout=10)
    finally:
        end(pid)

    assert {(job.state, job.attempts, job.run_count) for job in jobs} == {("completed", 1, 1)}


async def test_a_job_that_fails_to_be_settled_in_a_way_nobody_foresaw_keeps_no_other(
    engine: QueueEngine,
    db_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    command = "echo $$ > pid-$QUEUECTL_JOB_ID; until [ -e go ]; do sleep 0.01; done"
    names = ["bad", "good"]
    await engine.enqueue_many([JobSpec(command=command, id=n, cwd=str(tmp_path)) for n in names])

    async with engine_process(WORK, db_path, 2) as dying:
        for name in names:
            await pid_in(tmp_path / f"pid-{name}")
        await dying.kill()

    settle = Settler.settle

    async def fail_for_one(self: Settler, worker: Any, job: Job, *rest: Any, **named: Any) -> None:
        if job.id == "bad":
            raise ValueError("not foreseen")

        await settle(self, worker, job, *rest, **named)

    with monkeypatch.context() as failing:
        failing.setattr(Settler, "settle", fail_for_one)

        async with engine.workers():
            await wait_for_event(engine, EventKind.ADOPTED, "good")
            (tmp_path / "go").touch()
            good = await engine.wait("good", timeout=10)

    async with engine.workers():
        bad = await engine.wait("bad", timeout=10)

    assert (good.state, bad.state) == (JobState.COMPLETED, JobState.COMPLETED)
    assert "cannot settle what job bad left" in caplog.text
    assert "not foreseen" in caplog.text


async def left_to_settle(engine: QueueEngine, db_path: Path, tmp_path: Path) -> list[str]:
    """Let three jobs of a worker that was killed end with 7; return their ids."""
    command = "echo $$ > pid-$QUEUECTL_JOB_ID; until [ -e go ]; do sleep 0.01; done; exit 7"
    names = ["one", "two", "three"]
    await engine.enqueue_many(
        [JobSpec(command=command, id=n, cwd=str(tmp_path), max_retries=0) for n in names]
    )

    async with engine_process(WORK, db_path, 3) as dying:
        pids = [await pid_in(tmp_path / f"pid-{name}") for name in names]
        await dying.kill()

    (tmp_path / "go").touch()
    await wait_until(lambda: not any(is_running(pid) for pid in pids))
    return names


def made_recovery(
    store: JobStore, db_path: Path, *, is_stopping: Callable[[], bool] = lambda: False
) -> Recovery:
    """Return what settles what others left, in a worker that adopts nothing."""

    async def adopt(_: Orphan) -> None:
        pass

    folder = StateFolder(db_path)
    clock = SystemClock()
    return Recovery(
        store=store,
        recorder=Recorder(store, clock, folder),
        folder=folder,
        clock=clock,
        worker=99,
        adopt=adopt,
        is_stopping=is_stopping,
    )


def on_settling(monkeypatch: pytest.MonkeyPatch, call: Callable[[str], object]) -> None:
    """Call a function with the id of each job before it is settled."""
    settle = Settler.settle

    async def call_and_settle(
        self: Settler, worker: Any, job: Job, *rest: Any, **named: Any
    ) -> None:
        call(job.id)
        await settle(self, worker, job, *rest, **named)

    monkeypatch.setattr(Settler, "settle", call_and_settle)


async def test_a_locked_database_ends_the_look_at_a_dead_worker_and_the_next_look_settles_it(
    engine: QueueEngine,
    opened: OpenStore,
    db_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = await left_to_settle(engine, db_path, tmp_path)
    tried: list[str] = []
    on_settling(monkeypatch, tried.append)
    monkeypatch.setattr("queuectl.engine.store.sqlite.connection.BUSY_SECONDS", 0.05)
    recovery = made_recovery(await opened(db_path), db_path)

    with closing(sqlite3.connect(db_path, isolation_level=None)) as intruder:
        intruder.execute("BEGIN IMMEDIATE")
        await recovery.tick()
        tried_in_vain = len(tried)
        intruder.execute("ROLLBACK")

    await recovery.tick()
    jobs = [await engine.get(name) for name in names]
    assert tried_in_vain == 1
    assert [(job.state, job.exit_code) for job in jobs] == [(JobState.DEAD, 7)] * 3


async def test_a_look_that_is_cancelled_settles_the_job_that_it_is_at_and_no_other(
    engine: QueueEngine,
    store: JobStore,
    db_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await left_to_settle(engine, db_path, tmp_path)

    with anyio.CancelScope() as looking:
        on_settling(monkeypatch, lambda _: looking.cancel())
        await made_recovery(store, db_path).tick()

    assert len(await engine.list(state=JobState.DEAD)) == 1


async def test_a_worker_that_is_told_to_stop_settles_the_job_that_it_is_at_and_no_other(
    engine: QueueEngine,
    store: JobStore,
    db_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await left_to_settle(engine, db_path, tmp_path)
    begun: list[str] = []
    on_settling(monkeypatch, begun.append)

    await made_recovery(store, db_path, is_stopping=lambda: bool(begun)).tick()

    assert len(await engine.list(state=JobState.DEAD)) == 1


async def test_a_killed_worker_is_shown_as_dead_and_then_gone(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path)

    async with engine_process(WORK, db_path, 2) as dying:
        pid = await pid_in(tmp_path / "pid")
        (before,) = await engine.list_workers()
        await dying.kill()
    (dead,) = await engine.list_workers()
    async with engine.workers():
        (tmp_path / "go").touch()
        await engine.wait("job", timeout=10)
        await wait_until(lambda: len(list(db_path.parent.glob("queue.db-run/workers/*"))) == 1)
        (alive,) = await engine.list_workers()

    assert not is_running(pid)
    assert (before.state, dead.state, dead.id) == ("running", "dead", before.id)
    assert alive.id != dead.id


async def test_engines_that_start_at_once_settle_a_dead_workers_jobs_once(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    command = "echo $$ > pid-$QUEUECTL_JOB_ID; until [ -e go ]; do sleep 0.01; done; exit 3"
    jobs = [
        JobSpec(command=command, id=f"job-{n}", cwd=str(tmp_path), max_retries=0) for n in range(8)
    ]
    await engine.enqueue_many(jobs)

    async with engine_process(WORK, db_path, 8) as dying:
        pids = [await pid_in(tmp_path / f"pid-job-{n}") for n in range(8)]
        await dying.kill()
    (tmp_path / "go").touch()
    await wait_until(lambda: not any(is_running(pid) for pid in pids))
    async with (
        QueueEngine(db_path) as one,
        QueueEngine(db_path) as two,
        engine.workers(),
        one.workers(),
        two.workers(),
    ):
        done = await engine.wait_all([f"job-{n}" for n in range(8)], timeout=10)

    died = [event async for event in _events_so_far(engine) if event.kind is EventKind.DIED]
    assert {(job.state, job.exit_code, job.run_count) for job in done} == {("dead", 3, 1)}
    assert len(died) == 8


async def _events_so_far(engine: QueueEngine) -> AsyncIterator[Event]:
    last = await engine.last_event()
    async for event in engine.events(since=0):
        yield event
        if event.seq == last:
            return


async def test_a_job_whose_worker_died_is_followed_to_its_end(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(f"{GATE}; echo ended", id="job", cwd=tmp_path)
    text = b""

    async with engine_process(WORK, db_path, 1) as dying:
        await pid_in(tmp_path / "pid")
        await dying.kill()
    async with engine.workers():
        async for chunk in engine.follow("job"):
            text += chunk
            (tmp_path / "go").touch()

    assert text == b"began\nended\n"


async def test_a_pipe_of_a_killed_process_is_removed_by_the_next_change(
    engine: QueueEngine, db_path: Path
) -> None:
    wake = db_path.parent / "queue.db-run" / "wake"

    async with engine_process(WORK, db_path, 1) as dying:
        before = set(wake.iterdir())
        await dying.kill()
    await engine.enqueue("true", id="job")
    async with engine.workers():
        await wait_for_event(engine, EventKind.COMPLETED, "job")
        after = set(wake.iterdir())

    assert len(before) == 1
    assert not before & after


async def test_a_run_whose_worker_is_on_no_list_is_adopted(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(f"{GATE}; exit 7", id="job", cwd=tmp_path, max_retries=0)

    async with engine_process(WORK, db_path, 1) as dying:
        await pid_in(tmp_path / "pid")
        await dying.kill()

    # As if it had been taken for dead, its jobs been settled, and it had then claimed this.
    with closing(sqlite3.connect(db_path)) as connection, connection:
        connection.execute("DELETE FROM workers")
        connection.execute("UPDATE jobs SET started_at = started_at - 11000")

    async with engine.workers():
        await wait_for_event(engine, EventKind.ADOPTED, "job")
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.exit_code, job.run_count) == (JobState.DEAD, 7, 1)
    assert (tmp_path / "runs").read_text() == "ended\n"


async def test_a_run_that_was_just_begun_by_a_worker_on_no_list_is_left_alone(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path)

    async with engine_process(WORK, db_path, 1) as dying:
        await pid_in(tmp_path / "pid")
        await dying.kill()

    with closing(sqlite3.connect(db_path)) as connection, connection:
        connection.execute("DELETE FROM workers")

    # The first look is over when the workers begin.
    async with engine.workers():
        job = await engine.get("job")

    kinds = [event.kind async for event in _events_so_far(engine)]
    assert kinds == [EventKind.ENQUEUED, EventKind.CLAIMED]
    assert job.state is JobState.PROCESSING
