"""Several workers on one database, and the order in which jobs meet them."""

import signal
import time
from itertools import pairwise

import pytest

from tests.acceptance.home import Home
from tests.acceptance.jobs import appending, gated


@pytest.mark.slow
async def test_of_400_short_jobs_on_4_worker_processes_each_runs_exactly_once(
    home: Home,
) -> None:
    ids = [f"job-{number:03}" for number in range(400)]
    workers = [await home.start("worker", "start", "--count", "2") for _ in range(4)]

    for worker in workers:
        await worker.says("started: pid")

    await home.enqueue(*(appending("ran", id=job_id) for job_id in ids))
    jobs = await home.json("wait", *ids, "--timeout", "40")

    for worker in workers:
        worker.send(signal.SIGTERM)

    assert [await worker.ended() for worker in workers] == [0] * 4
    assert sorted(home.lines("ran")) == ids
    assert {(job["state"], job["run_count"]) for job in jobs} == {("completed", 1)}


async def test_a_worker_runs_as_many_jobs_at_once_as_it_has_slots(home: Home) -> None:
    await home.enqueue(*(gated(f"job-{number}") for number in range(5)))
    await home.worker("--count", "3")
    await home.has_lines("began", 3)
    counts = (await home.json("status"))["counts"]
    [worker] = await home.json("worker", "list")
    home.file("go").touch()

    assert (counts["processing"], counts["pending"]) == (3, 2)
    assert (worker["concurrency"], worker["busy"]) == (3, 3)


async def test_higher_priorities_run_first_and_ties_in_the_order_of_arrival(
    home: Home,
) -> None:
    await home.enqueue(
        appending("ran", id="usual-1"),
        appending("ran", id="low", priority=-5),
        appending("ran", id="high-1", priority=200),
        appending("ran", id="usual-2"),
    )
    await home.ok("enqueue", "--id", "high-2", "-p", "200", "--command", "echo high-2 >> ran")
    await home.ok("enqueue", "--id", "usual-3", "--command", "echo usual-3 >> ran")
    assert await (await home.start("worker", "start", "--drain")).ended() == 0

    assert home.lines("ran") == ["high-1", "high-2", "usual-1", "usual-2", "usual-3", "low"]


async def test_a_job_that_arrives_with_a_higher_priority_overtakes_those_that_wait(
    home: Home,
) -> None:
    await home.enqueue(gated("first"), appending("ended", id="usual"))
    await home.worker()
    await home.has_lines("began")
    await home.enqueue(appending("ended", id="urgent", priority=1000))
    home.file("go").touch()
    await home.ok("wait", "usual", "--timeout", "15")

    assert home.lines("ended") == ["first", "urgent", "usual"]


async def test_delayed_jobs_are_never_early_and_hardly_late(home: Home) -> None:
    await home.worker("--count", "4")
    asked = time.time()  # noqa: TID251 (the jobs look at the same clock)
    run_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(asked + 2))
    command = "date +%s.%N >> times"
    await home.enqueue(
        {"id": "delay", "command": command, "delay": 1},
        {"id": "run-at", "command": command, "run_at": run_at},
    )
    jobs = await home.json("wait", "delay", "run-at", "--timeout", "15")

    first, second = sorted(map(float, home.lines("times")))
    assert first >= asked + 1
    assert second >= int(asked) + 2
    assert second < asked + 12
    assert all(job["started_at"] >= job["run_at"] for job in jobs)


async def test_failed_jobs_are_retried_after_the_backoff_and_keep_every_output(
    home: Home,
) -> None:
    await home.ok("config", "set", "backoff-base", "1")
    command = "date +%s.%N >> times; echo run $QUEUECTL_ATTEMPT; exit $QUEUECTL_ATTEMPT"
    await home.enqueue({"id": "job", "command": command, "max_retries": 2})
    worker = await home.start("worker", "start", "--drain")
    assert await worker.ended() == 0

    times = [float(text) for text in home.lines("times")]
    job = await home.job("job")
    gaps = [after - before for before, after in pairwise(times)]
    assert (job["state"], job["attempts"], job["reason"]) == ("dead", 3, "exit_code=3")
    assert [run["reason"] for run in job["runs"]] == ["exit_code=1", "exit_code=2", "exit_code=3"]
    assert len(gaps) == 2
    assert all(1 <= gap < 6 for gap in gaps)

    for number in (1, 2, 3):
        assert await home.ok("logs", "job", "--attempt", number) == f"run {number}\n"

    [dead] = await home.json("dlq", "list")
    assert dead["id"] == "job"


async def test_a_dead_job_that_is_retried_twice_at_once_is_put_back_once(home: Home) -> None:
    await home.enqueue({"id": "job", "command": "echo x >> ran; exit 1", "max_retries": 0})
    assert await (await home.start("worker", "start", "--drain")).ended() == 0
    retries = [await home.start("dlq", "retry", "job") for _ in range(2)]
    codes = sorted([await retry.ended() for retry in retries])
    assert await (await home.start("worker", "start", "--drain")).ended() == 0

    assert codes == [0, 4]
    assert home.lines("ran") == ["x", "x"]


async def test_a_changed_config_holds_for_workers_that_run_already(home: Home) -> None:
    await home.worker()
    await home.ok("config", "set", "timeout-sec", "0.3")
    await home.ok("config", "set", "max-retries", "0")
    await home.enqueue({"id": "job", "command": "sleep 600"})
    result = await home.run("wait", "job", "--timeout", "15")

    job = await home.job("job")
    assert result.code == 6
    assert (job["state"], job["reason"], job["timeout_sec"]) == ("dead", "timeout", 0.3)
