"""From enqueue to the end: success, failure, retries, the dead letter queue, order, time."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from queuectl import (
    DuplicateJobError,
    EventKind,
    InvalidJobError,
    JobSpec,
    JobState,
    JobStateError,
    OutcomeKind,
    QueueEngine,
)
from queuectl.engine.testing import FakeClock, drain


async def test_the_example_of_the_library_works_as_written(tmp_path: Path) -> None:
    async with QueueEngine(tmp_path / "jobs.db") as engine:
        job = await engine.enqueue("echo done", timeout=600, priority=200)
        async with engine.workers(concurrency=4):
            job = await engine.wait(job.id)

        assert (job.state, job.exit_code) == ("completed", 0)
        assert await engine.output(job.id) == "done\n"


async def test_a_command_that_succeeds_completes_its_job(engine: QueueEngine) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)  # noqa: TID251 (compared with)
    job = await engine.enqueue("exit 0", id="fine")

    await engine.drain()

    job = await engine.get("fine")
    assert job.state is JobState.COMPLETED
    assert (job.exit_code, job.signal, job.reason) == (0, None, None)
    assert (job.attempts, job.run_count) == (1, 1)
    assert job.started_at is not None
    assert job.finished_at is not None
    assert before <= job.created_at <= job.started_at <= job.finished_at <= job.updated_at
    assert job.duration == job.finished_at - job.started_at


async def test_each_attempt_is_kept_with_how_it_ended(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    await still_engine.enqueue("exit $((QUEUECTL_ATTEMPT + 4))", id="job", max_retries=2)

    await drain(still_engine, clock)

    runs = await still_engine.attempts("job")
    assert [run.number for run in runs] == [1, 2, 3]
    assert [run.exit_code for run in runs] == [5, 6, 7]
    assert [run.reason for run in runs] == ["exit_code=5", "exit_code=6", "exit_code=7"]
    assert {run.outcome for run in runs} == {OutcomeKind.FAILED}
    assert all(run.finished_at is not None and run.worker == "w1" for run in runs)


async def test_a_job_that_always_fails_runs_once_and_three_times_more(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    await still_engine.config.set("backoff-jitter", 0)
    await still_engine.enqueue("exit 1", id="job")

    await drain(still_engine, clock)

    job = await still_engine.get("job")
    starts = [run.started_at for run in await still_engine.attempts("job")]
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert (job.state, job.attempts, job.reason) == (JobState.DEAD, 4, "exit_code=1")
    assert waits == [timedelta(seconds=2), timedelta(seconds=4), timedelta(seconds=8)]


async def test_a_job_that_recovers_is_completed_with_the_attempts_it_took(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    await still_engine.enqueue('test "$QUEUECTL_ATTEMPT" -eq 3', id="job")

    await drain(still_engine, clock)

    job = await still_engine.get("job")
    assert (job.state, job.attempts, job.exit_code, job.reason) == ("completed", 3, 0, None)


async def test_a_failed_job_says_when_it_will_be_tried_again(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    await still_engine.config.set("backoff-jitter", 0)
    await still_engine.enqueue("exit 3", id="job", backoff_base=10)

    async with still_engine.workers():
        async for event in still_engine.events(since=0):
            if event.kind is EventKind.FAILED:
                break

    job = await still_engine.get("job")
    assert (job.state, job.exit_code, job.reason) == (JobState.FAILED, 3, "exit_code=3")
    assert job.run_at == clock.now() + timedelta(seconds=10)


async def test_jitter_only_adds_to_the_wait_and_never_more_than_its_share(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    await still_engine.config.set("backoff-jitter", 0.5)
    await still_engine.enqueue_many([JobSpec(command="exit 1", max_retries=1)] * 20)

    async with still_engine.workers(4):
        failures = 0
        async for event in still_engine.events(since=0):
            failures += event.kind is EventKind.FAILED
            if failures == 20:
                break

    waits = [job.run_at - clock.now() for job in await still_engine.list("failed")]
    assert timedelta(seconds=2) <= min(waits) <= max(waits) <= timedelta(seconds=3.001)
    assert len(set(waits)) > 1


async def test_a_dead_job_retried_by_hand_begins_with_no_attempts(
    still_engine: QueueEngine, clock: FakeClock, tmp_path: Path
) -> None:
    await still_engine.enqueue(f"test -e {tmp_path}/mended", id="job", max_retries=1)
    await drain(still_engine, clock)
    dead = await still_engine.dlq.list()
    (tmp_path / "mended").touch()

    (retried,) = await still_engine.dlq.retry("job")
    await drain(still_engine, clock)

    job = await still_engine.get("job")
    assert [job.id for job in dead] == ["job"]
    assert (retried.state, retried.attempts, retried.reason) == (JobState.PENDING, 0, None)
    assert (job.state, job.attempts, job.run_count) == (JobState.COMPLETED, 1, 3)
    assert [run.number for run in await still_engine.attempts("job")] == [1, 2, 3]
    assert await still_engine.dlq.list() == []


async def test_the_whole_dead_letter_queue_is_retried_at_once(engine: QueueEngine) -> None:
    await engine.enqueue_many([JobSpec(command="exit 1", max_retries=0)] * 3)
    await engine.drain(2)

    retried = await engine.dlq.retry_all()

    assert retried == 3
    assert (await engine.stats()).counts[JobState.PENDING] == 3


async def test_a_job_that_is_not_dead_is_not_taken_from_the_dead_letter_queue(
    engine: QueueEngine,
) -> None:
    await engine.enqueue("exit 0", id="fine")
    await engine.drain()

    with pytest.raises(JobStateError) as raised:
        await engine.dlq.retry("fine")

    assert (raised.value.job_id, raised.value.state) == ("fine", "completed")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGSEGV", "SIGHUP"])
async def test_a_command_that_a_signal_ended_says_which(engine: QueueEngine, name: str) -> None:
    number = int(signal.Signals[name])
    await engine.enqueue(f"kill -{number} $$", id="job", max_retries=0)

    await engine.drain()

    job = await engine.get("job")
    assert (job.state, job.exit_code, job.signal) == (JobState.DEAD, None, name)
    assert job.reason == f"signal={name}"


async def test_a_command_with_traps_of_its_own_that_a_signal_ended_says_so_as_a_shell_does(
    engine: QueueEngine,
) -> None:
    await engine.enqueue("trap : USR1; kill -9 $$", id="job", max_retries=0)

    await engine.drain()

    # A second shell keeps its code; that shell cannot tell it from `exit 137`.
    job = await engine.get("job")
    assert (job.exit_code, job.signal, job.reason) == (137, None, "exit_code=137")


async def test_a_command_that_does_not_exist_ends_with_127(engine: QueueEngine) -> None:
    await engine.enqueue("no-such-program-anywhere", id="job", max_retries=0)

    await engine.drain()

    assert (await engine.get("job")).reason == "exit_code=127"


async def test_a_folder_that_is_missing_is_a_failed_attempt_with_its_name(
    still_engine: QueueEngine, clock: FakeClock, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    await still_engine.enqueue("true", id="job", cwd=folder, max_retries=1)

    await drain(still_engine, clock)

    runs = await still_engine.attempts("job")
    assert [run.outcome for run in runs] == [OutcomeKind.SPAWN_FAILED] * 2
    assert str(folder) in (runs[0].reason or "")
    assert (await still_engine.get("job")).state is JobState.DEAD


async def test_an_environment_that_the_system_refuses_is_a_failed_attempt(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        monkeypatch.setenv(f"LARGE_{number}", "x" * 100_000)
    await engine.enqueue("true", id="job", max_retries=0)

    await engine.drain()

    (run,) = await engine.attempts("job")
    assert run.outcome is OutcomeKind.SPAWN_FAILED
    assert "Argument list too long" in (run.reason or "")


async def test_higher_priorities_run_first_and_ties_in_order_of_arrival(
    engine: QueueEngine, tmp_path: Path
) -> None:
    priorities = {"a": 100, "b": 5, "c": 300, "d": 100, "e": 300, "f": -1}
    await engine.enqueue_many(
        [
            JobSpec(command=f"echo {name} >> order", cwd=str(tmp_path), priority=priority)
            for name, priority in priorities.items()
        ]
    )

    await engine.drain(1)

    assert (tmp_path / "order").read_text().split() == ["c", "e", "a", "d", "b", "f"]


async def test_a_job_waits_as_pending_until_its_time(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    at = clock.now() + timedelta(hours=1)
    await still_engine.enqueue("true", id="at", run_at=at)
    await still_engine.enqueue("true", id="delayed", delay=7200)

    await drain(still_engine, clock)
    before = [job.state for job in await still_engine.list()]
    clock.advance(3600)
    await drain(still_engine, clock)
    between = [job.state for job in await still_engine.list()]
    clock.advance(3600)
    await drain(still_engine, clock)

    assert before == ["pending", "pending"]
    assert between == ["completed", "pending"]
    assert (await still_engine.get("delayed")).state is JobState.COMPLETED


async def test_a_worker_that_waits_starts_a_delayed_job_when_it_is_due(
    engine: QueueEngine,
) -> None:
    await engine.config.set("worker-poll-interval", 60)

    async with engine.workers():
        job = await engine.enqueue("true", delay=0.2)
        job = await engine.wait(job.id, timeout=5)

    assert job.started_at is not None
    assert timedelta() <= job.started_at - job.run_at < timedelta(seconds=2)


async def test_an_id_that_exists_is_refused_and_nothing_is_overwritten(
    engine: QueueEngine,
) -> None:
    await engine.enqueue("echo first", id="job")

    with pytest.raises(DuplicateJobError):
        await engine.enqueue_many(
            [JobSpec(command="echo other", id="other"), JobSpec(command="echo second", id="job")]
        )

    assert [job.command for job in await engine.list()] == ["echo first"]


async def test_a_command_that_breaks_a_rule_adds_nothing(engine: QueueEngine) -> None:
    for command in ("", " \n", "a\0b", "x" * (120 * 1024 + 1)):
        with pytest.raises(InvalidJobError):
            await engine.enqueue_many(["true", command])

    assert await engine.list() == []


async def test_a_thousand_jobs_added_one_by_one_at_once_all_arrive(engine: QueueEngine) -> None:
    jobs = await asyncio.gather(*(engine.enqueue("true") for _ in range(1000)))

    assert len({job.id for job in jobs}) == 1000
    assert len(await engine.list()) == 1000


@pytest.mark.parametrize("round_number", range(5))
async def test_draining_on_a_clock_that_stands_still_always_comes_to_an_end(
    still_engine: QueueEngine, clock: FakeClock, round_number: int
) -> None:
    spec = JobSpec(command="exit 1", max_retries=round_number)
    await still_engine.enqueue_many([spec] * 15)

    async with asyncio.timeout(10):
        await drain(still_engine, clock, concurrency=3)

    assert len(await still_engine.dlq.list()) == 15
