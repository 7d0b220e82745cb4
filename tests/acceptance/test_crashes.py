"""What becomes of jobs when a process of the queue is killed or suspended."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from tests.acceptance.home import PATIENCE, Home, is_running
from tests.acceptance.jobs import appending, gated
from tests.still import stand_still
from tests.waiting import wait_until

MANY = 10_000


def outcomes(job: dict[str, object]) -> list[str]:
    """Return how the runs of a job ended."""
    runs = msgspec.convert(job["runs"], list[dict[str, object]])
    return [str(run["outcome"]) for run in runs]


async def test_jobs_of_a_killed_worker_go_on_and_are_recorded_once_by_the_next(
    home: Home,
) -> None:
    ids = ["a", "b", "c"]
    await home.enqueue(*map(gated, ids), appending("ended", id="waiting"))
    first = await home.worker("--count", "3")
    pids = [int(pid) for pid in await home.has_lines("began", 3)]
    await first.kill()
    second = await home.worker("--count", "4")
    await home.ok("wait", "waiting", "--timeout", "15")

    assert all(map(is_running, pids))
    home.file("go").touch()
    await home.ok("wait", *ids, "--timeout", "15")
    second.send(signal.SIGTERM)
    assert await second.ended() == 0

    jobs = [await home.job(job_id) for job_id in ids]
    assert sorted(home.lines("ended")) == [*ids, "waiting"]
    assert len(home.lines("began")) == 3
    assert [(job["state"], job["attempts"], outcomes(job)) for job in jobs] == [
        ("completed", 1, ["completed"])
    ] * 3
    assert await home.ok("logs", "a") == "hello\ngoodbye\n"
    await home.is_quiet()


async def test_a_job_that_ends_while_no_worker_lives_is_recorded_as_it_ended(
    home: Home,
) -> None:
    gate = "echo $$ >> began; until [ -e go ]; do sleep 0.02; done; echo x >> ended"
    await home.enqueue(
        {"id": "fine", "command": gate},
        {"id": "bad", "command": f"{gate}; exit 7", "max_retries": 0},
        {"id": "shot", "command": f"{gate}; kill -9 $$", "max_retries": 0},
    )
    worker = await home.worker("--count", "3")
    await home.has_lines("began", 3)
    await worker.kill()
    [dead] = await home.json("worker", "list")
    home.file("go").touch()
    await home.is_quiet()
    assert await (await home.start("worker", "start", "--drain")).ended() == 0

    fine, bad, shot = await home.json("list")
    assert dead["state"] == "dead"
    assert (fine["state"], fine["exit_code"]) == ("completed", 0)
    assert (bad["state"], bad["exit_code"], bad["reason"]) == ("dead", 7, "exit_code=7")
    assert shot["state"] == "dead"
    assert [job["run_count"] for job in (fine, bad, shot)] == [1, 1, 1]
    assert home.lines("ended") == ["x"] * 3


async def test_a_job_that_dies_with_its_worker_runs_again(home: Home) -> None:
    command = "echo $$ >> began; [ $QUEUECTL_ATTEMPT = 2 ] || sleep 600"
    await home.enqueue({"id": "job", "command": command, "backoff_base": 1})
    worker = await home.worker()
    [pid] = await home.has_lines("began")
    await worker.kill()
    os.killpg(int(pid), signal.SIGKILL)
    assert await (await home.start("worker", "start", "--drain")).ended() == 0

    job = await home.job("job")
    assert (job["state"], job["run_count"]) == ("completed", 2)
    assert outcomes(job) == ["lost", "completed"]


async def test_a_killed_worker_of_short_jobs_loses_none_and_completes_none_twice(
    home: Home,
) -> None:
    ids = [f"job-{number:03}" for number in range(120)]
    await home.enqueue(*(appending("ran", id=job_id) for job_id in ids))

    for floor in (10, 40, 70):
        worker = await home.worker("--count", "4")
        await home.has_lines("ran", floor)
        await worker.kill()

    assert await (await home.start("worker", "start", "--drain")).ended() == 0
    jobs = await home.json("list")
    assert [job["state"] for job in jobs] == ["completed"] * 120
    assert sorted(home.lines("ran")) == ids
    assert {job["attempts"] for job in jobs} == {1}


async def test_the_jobs_of_a_suspended_worker_are_left_alone(home: Home) -> None:
    await home.enqueue(gated())
    first = await home.worker()
    await home.has_lines("began")
    await asyncio.to_thread(stand_still, first.pid, home.database)

    try:
        # Each looks for dead workers when it starts.
        for number in range(2):
            await home.enqueue(appending("ran", id=f"other-{number}"))
            assert await (await home.start("run", "--", "true")).ended() == 0

        second = await home.worker()
        await home.ok("wait", "other-0", "other-1", "--timeout", "15")
        home.file("go").touch()
        await home.has_lines("ended")
        assert (await home.job("job"))["state"] == "processing"
    finally:
        first.send(signal.SIGCONT)

    await home.ok("wait", "job", "--timeout", "15")
    job = await home.job("job")
    assert second.is_running
    assert (job["state"], job["run_count"], home.lines("ended")) == ("completed", 1, ["job"])


def size_of(file: Path) -> int:
    """Return the size of a file that may go at any moment, -1 where it is gone."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return -1


@pytest.mark.parametrize("moment", ["reading", "opening", "writing"])
async def test_a_bulk_enqueue_that_is_killed_has_added_all_or_nothing(
    home: Home, moment: str
) -> None:
    lines = b"".join(b'{"id": "n%d", "command": "true"}\n' % number for number in range(MANY))
    await home.enqueue({"id": "before", "command": "true"})
    log = home.database.with_name("queue.db-wal")

    if moment == "reading":
        reading, writing = os.pipe()

        try:
            enqueue = await home.start("enqueue", "-q", "-", stdin=reading)
            os.write(writing, lines[:30_000])
            await enqueue.kill()
        finally:
            os.close(reading)
            os.close(writing)
    else:
        home.file("jobs").write_bytes(lines)
        enqueue = await home.start("enqueue", "-q", "--file", "jobs")
        sizes = {"opening": 0, "writing": 500_000}
        await wait_until(
            lambda: size_of(log) >= sizes[moment] or not enqueue.is_running,
            seconds=PATIENCE,
        )
        await enqueue.kill()

    acknowledged = enqueue.out.count("\n")
    status = await home.json("status")
    found = status["counts"]["pending"] - 1
    assert found in {0, MANY}
    assert found >= acknowledged
    assert "ok" in await home.ok("db", "check")

    if found == 0:
        await home.ok("enqueue", "-q", "-", stdin=lines)

    assert (await home.json("status"))["counts"]["pending"] == MANY + 1
