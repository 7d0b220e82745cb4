"""Runs that go on when their worker was killed: taken over with everything that holds for them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from queuectl import Event, EventKind, JobState, LeftoverProcessError, OutcomeKind, QueueEngine
from queuectl.engine.domain.models import RunKey
from queuectl.engine.runtime.notes import run_note
from queuectl.engine.runtime.plans import Stop
from queuectl.engine.runtime.runfiles import RunFiles
from queuectl.engine.runtime.worker import Worker
from tests.integration.orphans import GATE, orphaned
from tests.integration.processes import WORK, end, engine_process, is_running, pid_in
from tests.waiting import wait_for_event, wait_until

# A worker that gives what it ends a minute.
PATIENT = WORK.replace("kill_grace=0.3", "kill_grace=60").replace("int(sys.argv[2])", "1")


# A worker in a program that forks a child while a job runs, and tells its number.
FORKING = """
import asyncio, os, sys, time
from queuectl import QueueEngine

async def main():
    async with QueueEngine(sys.argv[1], kill_grace=0.3) as engine:
        async with engine.workers(1):
            while (await engine.get("job")).state != "processing" or not await started(engine):
                await asyncio.sleep(0.01)
            child = os.fork()
            if not child:
                # Whoever reads that waits for its end.
                os.close(1)
                time.sleep(60)
                os._exit(0)
            print("ready", flush=True)
            print("child", child, flush=True)
            await asyncio.Event().wait()

async def started(engine):
    folder = f"{sys.argv[1]}-run/workers"
    [home] = os.listdir(folder)
    return os.path.exists(f"{folder}/{home}/1.log")

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def opened_gate(tmp_path: Path) -> Iterator[None]:
    """Let jobs that outlive their worker come to their end, however the test went."""
    yield
    (tmp_path / "go").touch()


@pytest.fixture
def stopped_when_it_adopts(monkeypatch: pytest.MonkeyPatch) -> Callable[[Stop], None]:
    """Have workers told to stop when a run has just become theirs."""
    start = Worker._start_orphans

    def arrange(how: Stop) -> None:
        def stop_and_start(worker: Worker) -> None:
            if worker._orphans:
                worker.stop(how)

            start(worker)

        monkeypatch.setattr(Worker, "_start_orphans", stop_and_start)

    return arrange


async def test_an_adopted_run_belongs_to_the_worker_that_adopted_it(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path)
    await orphaned(db_path, tmp_path)

    async with engine.workers():
        event = await wait_for_event(engine, EventKind.ADOPTED)
        job = await engine.get("job")
        (worker,) = await engine.list_workers()
        (tmp_path / "go").touch()
        await engine.wait("job", timeout=10)

    (run,) = await engine.attempts("job")
    assert (job.state, job.worker, event.reason) == (JobState.PROCESSING, "w2", "w2 from w1")
    assert (worker.id, worker.busy) == ("w2", 1)
    assert (run.worker, run.outcome) == ("w2", OutcomeKind.COMPLETED)
    assert (run.cpu, run.max_rss_bytes) == (None, None)


async def test_the_timeout_of_an_adopted_run_counts_from_its_start(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path, timeout=1.5, max_retries=0)
    pid = await orphaned(db_path, tmp_path)

    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.reason, job.exit_code) == (JobState.DEAD, "timeout", None)
    assert job.duration is not None
    assert 1.5 <= job.duration.total_seconds() < 4
    assert not is_running(pid)


async def test_an_adopted_run_can_be_cancelled(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(f"sleep 60 & {GATE}", id="job", cwd=tmp_path)
    pid = await orphaned(db_path, tmp_path)

    async with engine.workers():
        await wait_for_event(engine, EventKind.ADOPTED)
        await engine.cancel("job", reason="enough")
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.reason) == (JobState.CANCELLED, "enough")
    assert not is_running(pid)


async def test_what_an_adopted_run_writes_can_be_followed(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(f"echo before; {GATE}; echo after", id="job", cwd=tmp_path)
    await orphaned(db_path, tmp_path)
    chunks = []

    async with engine.workers():
        await wait_for_event(engine, EventKind.ADOPTED)
        async for chunk in engine.follow("job"):
            chunks.append(chunk)
            (tmp_path / "go").touch()

    assert b"".join(chunks) == b"before\nafter\n"


async def test_an_adopted_run_that_writes_too_much_is_ended(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    flood = "echo $$ > pid; until [ -e go ]; do sleep 0.01; done; yes; echo ended >> runs"
    await engine.enqueue(flood, id="job", cwd=tmp_path, max_output_bytes=100_000, max_retries=0)
    pid = await orphaned(db_path, tmp_path)

    async with engine.workers():
        await wait_for_event(engine, EventKind.ADOPTED)
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.reason) == (JobState.DEAD, "output_limit=100000")
    assert len(await engine.output_bytes("job")) == 100_000
    assert not is_running(pid)


async def test_adopted_runs_take_slots_so_that_no_more_run_than_were_meant_to(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    gate = "echo $$ > pid-$QUEUECTL_JOB_ID; until [ -e go ]; do sleep 0.01; done"
    for number in range(2):
        await engine.enqueue(gate, id=f"long-{number}", cwd=tmp_path)
    async with engine_process(WORK, db_path, 2) as dying:
        for number in range(2):
            await pid_in(tmp_path / f"pid-long-{number}")
        await dying.kill()
    await engine.enqueue(":", id="next")

    async with engine.workers(2):
        await wait_until(
            lambda: len(list(tmp_path.glob("queue.db-run/workers/*/*.lock"))) >= 2, seconds=1
        )
        adopted = [event async for event in _until_adopted(engine, 2)]
        waiting = await engine.get("next")
        (tmp_path / "go").touch()
        done = await engine.wait_all(["long-0", "long-1", "next"], timeout=10)

    assert len(adopted) == 2
    assert waiting.state is JobState.PENDING
    assert {job.state for job in done} == {JobState.COMPLETED}


async def test_a_worker_that_is_stopped_now_ends_what_it_has_adopted(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(f"setsid sleep 61 & {GATE}", id="job", cwd=tmp_path)
    pid = await orphaned(db_path, tmp_path)

    async with QueueEngine(db_path, kill_grace=0.3) as other:
        working = asyncio.create_task(other.run())
        await wait_for_event(engine, EventKind.ADOPTED)
        await engine.stop_workers(now=True, timeout=10)
        await working

    job = await engine.get("job")
    assert (job.state, job.attempts, job.interruptions) == (JobState.PENDING, 0, 1)
    assert not is_running(pid)
    assert _sleepers("61") == []


async def test_what_goes_on_behind_an_exit_code_is_ended_before_the_job_is_done(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    command = f"{GATE}; (trap '' TERM; exec sleep 62) & exit 5"
    await engine.enqueue(command, id="job", cwd=tmp_path, max_retries=0)
    pid = await orphaned(db_path, tmp_path)
    (tmp_path / "go").touch()
    await wait_until(lambda: not is_running(pid))

    async with QueueEngine(db_path, kill_grace=0.3) as other, other.workers():
        job = await engine.wait("job", timeout=10)
        left = _sleepers("62")

    assert (job.state, job.exit_code) == (JobState.DEAD, 5)
    assert left == []


async def test_children_of_a_shell_that_was_killed_are_ended_before_the_job_runs_again(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    command = (
        "[ -e again ] && exit 0; touch again; setsid sleep 63 & sleep 63 & echo $$ > pid; wait"
    )
    await engine.enqueue(command, id="job", cwd=tmp_path, backoff_base=0)
    pid = await orphaned(db_path, tmp_path)
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: not is_running(pid))
    before = _sleepers("63")

    async with QueueEngine(db_path, kill_grace=0.3) as other, other.workers():
        job = await engine.wait("job", timeout=10)

    first, second = await engine.attempts("job")
    assert len(before) == 2
    assert (first.outcome, second.outcome) == (OutcomeKind.LOST, OutcomeKind.COMPLETED)
    assert (job.attempts, job.crashes) == (2, 0)
    assert _sleepers("63") == []


@pytest.mark.parametrize(
    ("on_crash", "state", "runs"),
    [("kill", JobState.COMPLETED, 2), ("dead", JobState.DEAD, 1)],
)
async def test_a_job_that_does_not_want_to_be_adopted_is_ended(
    engine: QueueEngine,
    db_path: Path,
    tmp_path: Path,
    on_crash: str,
    state: JobState,
    runs: int,
) -> None:
    command = "[ -e pid ] && exit 0; echo $$ > pid; sleep 64"
    await engine.enqueue(command, id="job", cwd=tmp_path, on_crash=on_crash, backoff_base=0)
    pid = await orphaned(db_path, tmp_path)

    async with QueueEngine(db_path, kill_grace=0.3) as other, other.workers():
        job = await engine.wait("job", timeout=10)

    first = (await engine.attempts("job"))[0]
    assert (first.outcome, first.reason) == (OutcomeKind.LOST, "worker died")
    assert (job.state, job.run_count) == (state, runs)
    assert not is_running(pid)


@pytest.mark.parametrize("how", [Stop.NOW, Stop.LEAVE], ids=str)
@pytest.mark.parametrize(
    "why",
    [("", "worker died"), ("timeout", "timeout")],
    ids=["not to be adopted", "timed out"],
)
async def test_a_run_that_has_to_end_ends_for_that_although_its_adopter_has_to_go(
    engine: QueueEngine,
    db_path: Path,
    tmp_path: Path,
    stopped_when_it_adopts: Callable[[Stop], None],
    why: tuple[str, str],
    how: Stop,
) -> None:
    noted, reason = why
    job = await engine.enqueue(GATE, id="job", cwd=tmp_path, max_retries=0, on_crash="dead")
    pid = await orphaned(db_path, tmp_path)
    RunFiles(_homes(db_path)[0], 1).note_end(run_note(RunKey(job.seq, 1)), noted)
    stopped_when_it_adopts(how)

    async with QueueEngine(db_path, kill_grace=0.3) as other:
        with suppress(LeftoverProcessError):
            await other.run()

    job = await engine.get("job")
    assert (job.state, job.reason, job.run_count) == (JobState.DEAD, reason, 1)
    assert not is_running(pid)


async def test_a_run_that_left_its_exit_code_has_that_although_its_adopter_is_stopped(
    engine: QueueEngine,
    db_path: Path,
    tmp_path: Path,
    stopped_when_it_adopts: Callable[[Stop], None],
) -> None:
    command = f"(setsid sleep 68) & {GATE}; exit 0"
    await engine.enqueue(command, id="job", cwd=tmp_path)
    pid = await orphaned(db_path, tmp_path)
    (tmp_path / "go").touch()
    await wait_until(lambda: not is_running(pid))
    stopped_when_it_adopts(Stop.NOW)

    async with QueueEngine(db_path, kill_grace=0.3) as other:
        await other.run()

    job = await engine.get("job")
    assert (job.state, job.exit_code, job.run_count) == (JobState.COMPLETED, 0, 1)


async def test_a_job_that_does_not_want_to_be_adopted_keeps_the_exit_code_that_it_left(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(f"{GATE}; exit 0", id="job", cwd=tmp_path, on_crash="dead")
    pid = await orphaned(db_path, tmp_path)
    (tmp_path / "go").touch()
    await wait_until(lambda: not is_running(pid))

    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.exit_code) == (JobState.COMPLETED, 0)


async def test_a_run_is_adopted_from_an_adopter_that_was_killed_too(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(f"{GATE}; exit 0", id="job", cwd=tmp_path)
    await orphaned(db_path, tmp_path)

    async with engine_process(WORK, db_path, 1) as adopter:
        await wait_for_event(engine, EventKind.ADOPTED)
        since = await engine.last_event()
        await adopter.kill()
    async with engine.workers():
        again = await wait_for_event(engine, EventKind.ADOPTED, since=since)
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=10)

    assert again.reason == "w3 from w2"
    assert (job.state, job.run_count) == (JobState.COMPLETED, 1)
    assert (tmp_path / "runs").read_text() == "ended\n"
    assert list(db_path.parent.glob("queue.db-run/workers/*/*.exit")) == []


async def test_a_death_is_noticed_at_once(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path)

    async with engine_process(WORK, db_path, 1) as dying:
        await pid_in(tmp_path / "pid")
        async with engine.workers():
            # It looks around each second; with that look behind it, only a sign can be faster.
            await wait_until(lambda: _watches(dying.pid))
            loop = asyncio.get_running_loop()
            await dying.kill()
            killed = loop.time()
            await wait_for_event(engine, EventKind.ADOPTED)
            took = loop.time() - killed
            (tmp_path / "go").touch()

    assert took < 0.5


async def test_a_job_that_takes_its_worker_along_each_time_is_dead_after_the_fifth(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(
        "kill -9 $PPID; kill -9 0", id="job", cwd=tmp_path, max_retries=100, backoff_base=0
    )

    for _ in range(5):
        async with engine_process(WORK, db_path, 1) as dying:
            await dying.ended()
    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.reason) == (JobState.DEAD, "lost 5 times in a row")
    assert (job.attempts, job.crashes) == (5, 5)


@pytest.mark.parametrize(
    ("job", "reason", "interruptions"),
    [
        ({"timeout": 0.2}, "timeout", 0),
        ({"max_output_bytes": 1000}, "output_limit=1000", 0),
        ({}, "interrupted", 1),
    ],
)
async def test_a_run_that_was_being_ended_when_its_worker_died_ends_for_that_reason(
    engine: QueueEngine,
    db_path: Path,
    tmp_path: Path,
    job: dict[str, Any],
    reason: str,
    interruptions: int,
) -> None:
    # TERM it outlasts, so that its worker dies between that and KILL.
    command = (
        "trap 'touch told' TERM; echo $$ > pid; head -c 2000 /dev/zero;"
        " while :; do sleep 0.01; done"
    )
    await engine.enqueue(command, id="job", cwd=tmp_path, max_retries=0, **job)

    async with engine_process(PATIENT, db_path) as dying:
        pid = await pid_in(tmp_path / "pid")
        if interruptions:
            dying.stop()
        await wait_until((tmp_path / "told").exists)
        await dying.kill()
    end(pid)
    async with engine.workers():
        await wait_until(lambda: _has_attempt(engine))
        (run, *_) = await engine.attempts("job")
        after = await engine.get("job")
        await engine.cancel("job") if not after.is_finished else None

    assert run.reason == reason
    assert after.interruptions == interruptions
    assert not is_running(pid)


async def test_a_job_whose_files_were_deleted_is_not_started_again_while_it_runs(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path, backoff_base=0)
    pid = await orphaned(db_path, tmp_path)
    for path in tmp_path.glob("queue.db-run/workers/*/*"):
        path.unlink()

    async with engine.workers():
        stuck = await wait_for_event(engine, EventKind.STUCK)
        job = await engine.get("job")
        (tmp_path / "go").touch()
        done = await engine.wait("job", timeout=10)

    assert stuck.reason == job.stuck == f"its files were deleted, and process {pid} of it goes on"
    # Its shell made the file for the code anew.
    assert (done.state, done.stuck, done.run_count) == (JobState.COMPLETED, None, 1)


async def test_what_escapes_its_session_is_ended_with_its_worker(
    engine: QueueEngine, tmp_path: Path
) -> None:
    daemon = (
        "setsid -f sh -c 'exec >/dev/null 2>&1; echo $$ > pid; exec sleep 65';"
        " until [ -e pid ]; do :; done"
    )
    await engine.enqueue(daemon, id="job", cwd=tmp_path)

    async with engine.workers():
        job = await engine.wait("job", timeout=10)
        pid = await pid_in(tmp_path / "pid")
        was_running = is_running(pid)

    assert job.state is JobState.COMPLETED
    assert was_running
    assert not is_running(pid)


async def test_what_a_stopped_worker_could_not_end_is_named(
    engine: QueueEngine, db_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = (
        "setsid -f sh -c 'exec >/dev/null 2>&1; echo $$ > pid; exec sleep 66';"
        " until [ -e pid ]; do :; done"
    )
    await engine.enqueue(daemon, id="job", cwd=tmp_path)
    # As for a process that has become another user's.
    monkeypatch.setattr("queuectl.engine.runtime.proc.send", lambda *_: False)
    monkeypatch.setattr("queuectl.engine.runtime.ending._LONGEST_DEATH", 0.1)

    async with QueueEngine(db_path, kill_grace=0.1) as other:
        working = asyncio.create_task(other.run())
        await engine.wait("job", timeout=10)
        pid = await pid_in(tmp_path / "pid")
        try:
            with pytest.raises(LeftoverProcessError) as caught:
                await engine.stop_workers(timeout=10)
            await working
        finally:
            end(pid)

    assert caught.value.pids == [pid]


async def test_a_worker_on_a_copy_of_the_database_leaves_the_jobs_of_the_original_alone(
    engine: QueueEngine, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    await engine.enqueue(GATE, id="job", cwd=tmp_path, max_retries=0)

    async with engine.workers():
        pid = await pid_in(tmp_path / "pid")
        await engine.backup(copy)
        async with QueueEngine(copy) as other, other.workers():
            copied = await other.wait("job", timeout=10)
        is_there = is_running(pid)
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=10)

    assert (copied.state, copied.reason) == (JobState.DEAD, "lost")
    assert is_there
    assert (job.state, job.exit_code) == (JobState.COMPLETED, 0)


async def test_a_process_that_the_host_forked_is_neither_a_runs_nor_a_workers(
    engine: QueueEngine, db_path: Path
) -> None:
    await engine.enqueue("sleep 67", id="job")

    async with engine_process(FORKING, db_path) as host:
        child = int((await host.line()).split()[1])
        await engine.cancel("job")
        job = await engine.wait("job", timeout=10)
        is_there = is_running(child)
        await host.kill()
    try:
        async with engine.workers():
            await wait_until(lambda: len(_homes(db_path)) == 1)
            (worker,) = await engine.list_workers()
    finally:
        end(child)

    assert job.state is JobState.CANCELLED
    assert is_there
    assert worker.id == "w2"


async def test_a_run_is_given_back_only_where_none_of_its_files_was_removed(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(GATE, id="job", cwd=tmp_path, backoff_base=0)
    pid = await orphaned(db_path, tmp_path)
    (set_lock,) = tmp_path.glob("queue.db-run/workers/*/1.lock")
    set_lock.unlink()

    async with engine.workers():
        stuck = await wait_for_event(engine, EventKind.STUCK)
        os.killpg(pid, signal.SIGKILL)
        (tmp_path / "go").touch()
        await engine.wait("job", timeout=10)

    first, second = await engine.attempts("job")
    assert stuck.attempt == 1
    assert (first.outcome, second.outcome) == (OutcomeKind.LOST, OutcomeKind.COMPLETED)


@pytest.mark.parametrize("removed", ["lock", "*"])
async def test_an_exit_code_counts_whatever_other_files_of_the_run_were_removed(
    engine: QueueEngine, db_path: Path, tmp_path: Path, removed: str
) -> None:
    await engine.enqueue(f"{GATE}; exit 3", id="job", cwd=tmp_path, max_retries=0)
    pid = await orphaned(db_path, tmp_path)

    for path in tmp_path.glob(f"queue.db-run/workers/*/1.{removed}"):
        path.unlink()

    (tmp_path / "go").touch()
    await wait_until(lambda: not is_running(pid))

    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    assert (job.state, job.reason) == (JobState.DEAD, "exit_code=3")


async def test_a_job_that_removes_the_workers_files_ends_neither_it_nor_others(
    engine: QueueEngine, tmp_path: Path
) -> None:
    command = 'rm -rf "$QUEUECTL_DB"-run/workers/*; touch gone; sleep 60'
    await engine.enqueue(command, id="rude", cwd=tmp_path, timeout=1, max_retries=0)
    wait = "until [ -e gone ]; do sleep 0.01; done; sleep 1.5; exit 5"
    await engine.enqueue(wait, id="other", cwd=tmp_path, max_retries=0)

    async with engine.workers(2):
        rude, other = await engine.wait_all(["rude", "other"], timeout=10)
        after = await engine.enqueue("echo after")
        await engine.wait(after.id, timeout=10)

    assert (rude.state, rude.reason) == (JobState.DEAD, "timeout")
    assert (other.state, other.exit_code) == (JobState.DEAD, 5)
    assert await engine.output(after.id) == "after\n"


async def test_an_adopted_run_whose_lock_was_removed_is_not_swept_away(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(f"{GATE}; exit 4", id="job", cwd=tmp_path, max_retries=0)
    pid = await orphaned(db_path, tmp_path)
    [home] = _homes(db_path)

    async with engine.workers():
        await wait_for_event(engine, EventKind.ADOPTED)
        (home / "1.lock").unlink()
        # A worker has looked around, and swept, before it begins and before it leaves.
        async with QueueEngine(db_path) as other, other.workers():
            is_there = is_running(pid), home.exists()
        (tmp_path / "go").touch()
        job = await engine.wait("job", timeout=10)
        await wait_until(lambda: not home.exists())

    assert is_there == (True, True)
    assert (job.state, job.exit_code, job.run_count) == (JobState.DEAD, 4, 1)


async def test_what_ran_when_the_machine_was_restarted_is_tried_again(
    engine: QueueEngine, db_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "[ -e pid ] && exit 0; echo $$ > pid; until [ -e go ]; do sleep 0.01; done"
    await engine.enqueue(command, id="job", cwd=tmp_path, backoff_base=0)
    await orphaned(db_path, tmp_path)
    # As if it were another boot's.
    monkeypatch.setattr("queuectl.engine.runtime.liveness.boot_id", lambda: "another")

    async with engine.workers():
        job = await engine.wait("job", timeout=10)

    first, second = await engine.attempts("job")
    assert (first.outcome, second.outcome) == (OutcomeKind.LOST, OutcomeKind.COMPLETED)
    assert (job.attempts, job.run_count) == (2, 2)


async def _has_attempt(engine: QueueEngine) -> bool:
    return bool(await engine.attempts("job")) and bool((await engine.attempts("job"))[0].outcome)


async def _until_adopted(engine: QueueEngine, count: int) -> AsyncIterator[Event]:
    async for event in engine.events(since=0):
        if event.kind is EventKind.ADOPTED:
            count -= 1
            yield event
        if not count:
            return


def _homes(db_path: Path) -> list[Path]:
    return list(db_path.parent.glob("queue.db-run/workers/*"))


def _sleepers(seconds: str) -> list[int]:
    """Return the processes that sleep for so long."""
    found = []

    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if path.read_bytes() == f"sleep\0{seconds}\0".encode():
                found.append(int(path.parent.name))

    return [pid for pid in found if is_running(pid)]


def _watches(pid: int) -> bool:
    """Whether this process has a descriptor of another process."""
    for path in Path("/proc/self/fdinfo").iterdir():
        with suppress(FileNotFoundError):
            if f"Pid:\t{pid}\n" in path.read_text():
                return True

    return False
