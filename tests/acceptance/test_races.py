"""Two who want opposite things of one job at once: one wins, and both are told."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from queuectl import Job, JobState, JobStateError, QueueEngine
from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.store.base import JobStore
from queuectl.engine.testing import FakeClock, FakeRun, FakeRunner
from tests.acceptance.home import Home
from tests.conftest import OpenStore
from tests.contract.steps import add_one, end, take
from tests.factories import NOW
from tests.waiting import wait_until

ROUNDS: Final = 200
TERMINAL: Final = {JobState.COMPLETED, JobState.CANCELLED, JobState.DEAD}


@pytest.fixture
async def engines(db_path: Path) -> AsyncIterator[list[QueueEngine]]:
    """Three engines on one database, whose runs are pretended and take no time."""
    async with AsyncExitStack() as stack:
        clock = FakeClock(NOW)
        made = [QueueEngine(db_path, clock=clock, runner=FakeRunner(clock)) for _ in range(3)]
        yield [await stack.enter_async_context(engine) for engine in made]


async def outcome(call: Awaitable[object]) -> str:
    """Return what became of a call: done, or the error by its name."""
    try:
        await call
    except JobStateError as error:
        return type(error).__name__

    return "done"


async def histories(engine: QueueEngine) -> dict[str, list[str]]:
    """Return what happened to each job, in order."""
    last = await engine.last_event()
    seen: dict[str, list[str]] = {}

    async for event in engine.events(since=0):
        seen.setdefault(event.job_id, []).append(event.kind.value)
        if event.seq >= last:
            return seen

    raise AssertionError(seen)


async def in_any_order(*calls: Awaitable[str], luck: random.Random) -> list[str]:
    """Make calls in an order of chance; return their answers in the given order.

    Two times in three each starts when the one before it has ended, so that every order
    comes up however long a store takes; else they meet, and who is first is not ours to say.
    """
    order = luck.sample(range(len(calls)), k=len(calls))
    if luck.randrange(3):
        answers = {number: await calls[number] for number in order}
    else:
        met = await asyncio.gather(*(calls[number] for number in order))
        answers = dict(zip(order, met, strict=True))
    return [answers[number] for number in range(len(calls))]


async def test_of_a_claim_and_a_cancellation_one_comes_first(
    store: JobStore, opened: OpenStore, db_path: Path
) -> None:
    other = await opened(db_path)
    luck = random.Random(1)  # noqa: S311 (an order, no secret)
    firsts: Counter[str] = Counter()

    for number in range(ROUNDS):
        job = await add_one(store, f"j{number}")

        async def claim() -> str:
            return f"{len(await take(store, 1))} claimed"

        async def cancel(job_id: str) -> str:
            return (await other.cancel(job_id, None, now=NOW)).state

        claimed, state = await in_any_order(claim(), cancel(job.id), luck=luck)
        firsts[f"{claimed}, {state}"] += 1
        assert (claimed, state) in {
            ("1 claimed", JobState.PROCESSING),
            ("0 claimed", JobState.CANCELLED),
        }

        if claimed == "1 claimed":
            # The cancellation is kept as an order, and comes true at the end.
            orders = await store.orders(1)
            assert list(orders.cancels) == [(job.seq, 1)]
            [held] = await store.held_jobs(1)
            assert await end(store, held, OutcomeKind.FAILED)

        assert (await store.get(job.id)).state is JobState.CANCELLED

    # Both orders came up, else nothing was raced.
    assert len(firsts) == 2
    assert min(firsts.values()) > ROUNDS // 20


async def test_of_an_end_and_a_cancellation_the_first_holds_and_the_other_is_told(
    store: JobStore, opened: OpenStore, db_path: Path
) -> None:
    other = await opened(db_path)
    luck = random.Random(2)  # noqa: S311 (an order, no secret)
    ends: Counter[str] = Counter()

    for number in range(ROUNDS):
        kind = OutcomeKind.COMPLETED if number % 2 else OutcomeKind.FAILED
        await add_one(store, f"j{number}", max_retries=0)
        [job] = await take(store, 1)

        async def finish(held: Job, how: OutcomeKind) -> str:
            return str(await end(store, held, how))

        finished, told = await in_any_order(
            finish(job, kind), outcome(other.cancel(job.id, None, now=NOW)), luck=luck
        )
        state = (await store.get(job.id)).state
        ends[f"{kind} {told} {state}"] += 1
        assert finished == "True"
        assert state in TERMINAL
        assert len(await store.runs(job.id)) == 1

    # One that completed has completed, whoever asked; one that failed is cancelled where the
    # cancellation came first.
    assert set(ends) == {
        "completed done completed",
        "completed JobStateError completed",
        "failed done cancelled",
        "failed JobStateError dead",
    }


async def test_of_two_who_end_one_run_one_is_told_that_it_is_not_his(
    store: JobStore, opened: OpenStore, db_path: Path
) -> None:
    other = await opened(db_path)
    luck = random.Random(3)  # noqa: S311 (an order, no secret)

    for number in range(ROUNDS):
        await add_one(store, f"j{number}")
        [stale] = await take(store, 1)
        # Given back in its name, as after it was taken for dead, and taken by another.
        await other.release([stale], now=NOW)
        [fresh] = await take(other, 2)

        async def finish(each: JobStore, held: Job, how: OutcomeKind) -> str:
            return str(await end(each, held, how))

        answers = await in_any_order(
            finish(store, stale, OutcomeKind.FAILED),
            finish(other, fresh, OutcomeKind.COMPLETED),
            luck=luck,
        )

        assert answers == ["False", "True"]
        assert (await store.get(stale.id)).state is JobState.COMPLETED
        assert [run.outcome for run in await store.runs(stale.id)] == [OutcomeKind.COMPLETED]


async def test_jobs_that_are_cancelled_while_workers_take_them_end_once(
    engines: list[QueueEngine],
) -> None:
    asking, *working = engines

    async with AsyncExitStack() as stack:
        for engine in working:
            await stack.enter_async_context(engine.workers(4))

        for number in range(ROUNDS):
            job = await asking.enqueue("true", id=f"j{number}")
            await asyncio.gather(
                *(outcome(engine.cancel(job.id)) for engine in engines[: 1 + number % 3])
            )

        await asking.wait_all([f"j{number}" for number in range(ROUNDS)], timeout=20)

    ends = {"completed", "cancelled", "died"}
    seen = await histories(asking)
    assert {job.state for job in await asking.list()} == {JobState.COMPLETED, JobState.CANCELLED}
    assert all(sum(kind in ends for kind in kinds) == 1 for kinds in seen.values())
    assert len(seen) == ROUNDS


async def test_a_job_that_three_put_back_at_once_has_one_new_life(
    engines: list[QueueEngine],
) -> None:
    first, second, _ = engines

    for number in range(ROUNDS // 2):
        job_id = f"j{number}"
        await first.enqueue("true", id=job_id, run_at=NOW + timedelta(days=1))
        await first.cancel(job_id)
        calls = (first.retry, second.retry, second.retry)

        told = await asyncio.gather(*(outcome(call(job_id)) for call in calls))

        assert sorted(told) == ["JobStateError", "JobStateError", "done"]

    seen = await histories(first)
    assert {tuple(kinds) for kinds in seen.values()} == {("enqueued", "cancelled", "retried")}


async def test_dead_jobs_that_are_put_back_twice_at_once_run_once_more(db_path: Path) -> None:
    clock = FakeClock(NOW)
    runner = FakeRunner(clock)
    runner.script("bad", FakeRun(exit_code=1))
    names = [f"j{number}" for number in range(100)]

    async with (
        QueueEngine(db_path, clock=clock, runner=runner) as first,
        QueueEngine(db_path, clock=clock, runner=runner) as second,
    ):
        for name in names:
            await first.enqueue("bad", id=name, max_retries=0)
        await first.drain(4)

        async with second.workers(4):
            told = await asyncio.gather(
                *(outcome(each.dlq.retry(name)) for name in names for each in (first, second))
            )
            await first.wait_all(names, timeout=20)

        jobs = await first.list()

    # Where the worker was faster than the second who asked, it was dead again.
    done = told.count("done")
    assert done >= 100
    assert sum(job.run_count for job in jobs) == 100 + done
    assert {job.state for job in jobs} == {JobState.DEAD}


async def test_a_job_keeps_the_timeout_and_retries_that_it_was_enqueued_with(
    db_path: Path,
) -> None:
    clock = FakeClock(NOW)
    runner = FakeRunner(clock)
    runner.script("bad", FakeRun(exit_code=1, takes=5.0))

    async with (
        QueueEngine(db_path, clock=clock, runner=runner) as engine,
        QueueEngine(db_path, clock=clock, runner=runner) as other,
    ):
        await other.config.set("max-retries", 1)
        job = await engine.enqueue("bad", id="job")

        async with engine.workers():
            for change in range(100):
                await other.config.set("timeout-sec", 1 + change % 3)
                await other.config.set("max-retries", change % 9)
            await wait_until(lambda: bool(runner.started))
            await other.config.set("backoff-base", 7)
            await other.config.set("backoff-jitter", 0)
            clock.advance(5)
            await wait_until(lambda: is_in(engine, JobState.FAILED))
            failed = await engine.get("job")

    # The timeout and the retries are the job's; how long it waits, the config says at the time.
    assert (failed.timeout, failed.max_retries) == (job.timeout, 1)
    assert failed.reason == "exit_code=1"
    assert failed.run_at - clock.now() == timedelta(seconds=7)


async def is_in(engine: QueueEngine, state: JobState) -> bool:
    return (await engine.get("job")).state is state


async def test_a_worker_with_a_hundred_jobs_that_wait_for_a_retry_stops_at_once(
    home: Home,
) -> None:
    await home.enqueue(
        *({"id": f"j{n}", "command": "exit 1", "backoff_base": 600} for n in range(100))
    )
    worker = await home.worker("--count", "4")
    await wait_until(lambda: worker.err.count(" failed j") == 100, seconds=20)
    began = asyncio.get_running_loop().time()

    worker.send(signal.SIGTERM)

    assert await worker.ended() == 0
    assert asyncio.get_running_loop().time() - began < 2
    jobs = await home.json("list", "--state", "failed")
    assert len(jobs) == 100


async def test_a_stop_among_retries_leaves_every_job_with_its_next_time(db_path: Path) -> None:
    clock = FakeClock(NOW)
    runner = FakeRunner(clock)
    runner.script("bad", FakeRun(exit_code=1))
    names = [f"j{number}" for number in range(100)]

    async with QueueEngine(db_path, clock=clock, runner=runner) as engine:
        for name in names:
            await engine.enqueue("bad", id=name, backoff_base=60)

        for _ in range(20):
            async with engine.workers(4):
                await asyncio.sleep(0)

        async with engine.workers(4):
            await wait_until(lambda: len(runner.started) >= 100)

        jobs = await engine.list()

    assert {job.state for job in jobs} == {JobState.FAILED}
    assert {job.attempts for job in jobs} == {1}
    assert all(timedelta(seconds=60) <= job.run_at - NOW <= timedelta(seconds=66) for job in jobs)
    assert len(runner.started) == 100
