"""What `diagnose` sees of workers that lost their files, or left runs that nobody watches."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from queuectl import Finding, QueueEngine, diagnose
from queuectl.engine.domain.models import WorkerInfo, WorkerState
from queuectl.engine.runtime.doctor import look
from tests.integration.doctors import NOTE, OK, PROBLEM, follow, only
from tests.integration.orphans import orphaned
from tests.integration.processes import WORK, end, engine_process


def of_workers(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.check == "workers"]


@pytest.mark.parametrize("gone", ["", "workers", "workers/*", "workers/*/lock"])
async def test_a_live_worker_whose_files_are_gone_is_a_problem_and_can_be_stopped_in_order(
    gone: str, db_path: Path
) -> None:
    state = db_path.with_name("queue.db-run")

    async with engine_process(WORK, db_path, 1) as live:
        [place] = state.glob(gone) if gone else [state]
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        alive, found = of_workers(await diagnose(db_path))

        assert alive.words == "1 live worker with 1 slot: w1"
        assert found.verdict is PROBLEM
        assert f"worker w1 (pid {live.pid} on " in found.words
        assert f"is alive, and its files are gone: {state}/workers/" in found.words
        assert found.advice is not None
        assert "do not delete these files" in found.advice
        follow(found, after="while workers live: ")
        assert only(await diagnose(db_path), "workers").words == "no worker is alive"


async def test_a_lock_in_the_place_of_a_live_workers_own_is_a_problem(db_path: Path) -> None:
    async with engine_process(WORK, db_path, 1):
        [lock] = db_path.with_name("queue.db-run").glob("workers/*/lock")
        lock.rename(lock.with_name("elsewhere"))
        lock.touch(mode=0o600)

        assert [found.verdict for found in of_workers(await diagnose(db_path))] == [OK, PROBLEM]


async def test_a_dead_worker_whose_files_are_gone_is_only_dead(db_path: Path) -> None:
    async with engine_process(WORK, db_path, 1) as dying:
        await dying.kill()

    shutil.rmtree(db_path.with_name("queue.db-run"))
    _, found = of_workers(await diagnose(db_path))

    assert (found.verdict, "is dead, and has 0 jobs" in found.words) == (NOTE, True)


async def test_runs_that_nobody_watches_over_are_a_problem_until_a_worker_is_started(
    db_path: Path, tmp_path: Path
) -> None:
    async with QueueEngine(db_path) as engine:
        await engine.enqueue("echo $$ > pid; exec sleep 60", id="job", cwd=tmp_path)
        pid = await orphaned(db_path, tmp_path)
        try:
            _, found = of_workers(await engine.doctor())
            assert found.verdict is PROBLEM
            assert "is dead, and nobody watches over the 1 running job that it left" in found.words
            assert "timeouts, limits and cancellations wait" in found.words
            await engine.cancel("job")
            follow(found, after="what runs: ")
            assert (await engine.wait("job", timeout=10)).state == "cancelled"
            await engine.stop_workers()
            assert only(await engine.doctor(), "workers").verdict is OK
        finally:
            end(pid)


def worker(name: str, state: WorkerState, *, busy: int) -> WorkerInfo:
    return WorkerInfo(
        id=name,
        state=state,
        host="here",
        pid=77,
        concurrency=2,
        busy=busy,
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_runs_of_a_dead_worker_are_only_noted_where_another_is_alive(db_path: Path) -> None:
    dead = worker("w3", WorkerState.DEAD, busy=2)
    alive = worker("w4", WorkerState.RUNNING, busy=0)
    _, found = look._workers(db_path, [dead, alive])

    assert (found.verdict, "is dead, and has 2 jobs" in found.words) == (NOTE, True)
    assert found.advice == "nothing has to be done: the live workers settle what it left"


def test_a_worker_that_does_not_answer_is_a_problem(db_path: Path) -> None:
    _, found = look._workers(db_path, [worker("w3", WorkerState.UNRESPONSIVE, busy=1)])

    assert (found.verdict, "w3 (pid 77 on here)" in found.words) == (PROBLEM, True)
