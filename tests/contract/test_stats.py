"""The queue at a glance says what counting one by one would say."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import JobStore
from tests.contract.steps import (
    RUN_TIME,
    add,
    add_due_at,
    add_in,
    add_one,
    decided,
    end,
    make_run,
    take,
    take_one,
    true_counts,
)
from tests.factories import NOW, make_new_job

LATER = NOW + timedelta(minutes=1)

Step = Callable[[JobStore], Awaitable[object]]


async def release_one(store: JobStore) -> None:
    await store.release([await take_one(store, now=LATER)], now=LATER)


async def cancel_running(store: JobStore) -> None:
    job = await take_one(store, now=LATER)
    await store.cancel(job.id, None, now=LATER)
    await end(store, job, OutcomeKind.FAILED, now=LATER)


async def end_twice(store: JobStore) -> None:
    job = await take_one(store, now=LATER)
    await end(store, job, now=LATER)
    await end(store, job, now=LATER)


async def fail_one(store: JobStore) -> None:
    await end(store, await take_one(store, now=LATER), OutcomeKind.FAILED, now=LATER)


async def interrupt_one(store: JobStore) -> None:
    await end(store, await take_one(store, now=LATER), OutcomeKind.INTERRUPTED, now=LATER)


# In this order: each step finds what the ones before it left.
STEPS: list[tuple[str, Step]] = [
    ("insert", lambda store: add(store, *(make_new_job(id=f"j{n}") for n in range(9)))),
    ("insert for later", lambda store: add_due_at(store, "later", LATER + LATER.resolution)),
    (
        "insert and claim",
        lambda store: store.insert_claimed(lambda _: make_new_job(id="claimed"), worker=2, now=NOW),
    ),
    ("claim", take_one),
    ("release", release_one),
    ("complete, twice", end_twice),
    ("fail", fail_one),
    ("interrupt", interrupt_one),
    ("cancel waiting", lambda store: store.cancel("later", None, now=NOW)),
    ("cancel running", cancel_running),
    ("retry", lambda store: store.retry(["later"], frozenset(JobState), now=NOW)),
    ("delete", lambda store: store.delete("later")),
    ("retry dead", lambda store: store.retry_dead(now=NOW)),
    ("purge", lambda store: store.purge([JobState.COMPLETED], until=LATER)),
    ("purge all", lambda store: store.purge(list(JobState), until=LATER)),
]


async def test_the_counts_are_true_after_every_operation(store: JobStore) -> None:
    for name, step in STEPS:
        await step(store)

        assert (await store.stats(now=LATER)).counts == await true_counts(store), name
        assert (await store.check()).problems == [], name


async def test_every_state_is_counted_in_an_empty_queue(store: JobStore) -> None:
    stats = await store.stats(now=NOW)

    assert stats.counts == dict.fromkeys(JobState, 0)
    assert (stats.avg_duration, stats.oldest_pending) == (None, None)


async def test_the_average_is_of_completed_jobs_alone(store: JobStore) -> None:
    await add_in(store, JobState.DEAD, "dead")
    assert (await store.stats(now=NOW)).avg_duration is None

    for name, seconds in (("a", 1), ("b", 4)):
        await add_one(store, name)
        job = await take_one(store)
        run = make_run(took=timedelta(seconds=seconds))
        await store.finish(job, decided(job, OutcomeKind.COMPLETED), run, now=NOW)

    assert (await store.stats(now=NOW)).avg_duration == timedelta(seconds=2.5)


async def test_the_average_forgets_what_is_purged(store: JobStore) -> None:
    await add_in(store, JobState.COMPLETED)
    assert (await store.stats(now=NOW)).avg_duration == RUN_TIME

    await store.purge([JobState.COMPLETED], until=LATER)

    assert (await store.stats(now=NOW)).avg_duration is None


async def test_the_average_is_of_the_last_run_where_a_job_was_retried(store: JobStore) -> None:
    await add_in(store, JobState.DEAD)
    await store.retry_dead(now=NOW)
    await end(store, await take_one(store))

    assert (await store.stats(now=NOW)).avg_duration == RUN_TIME


async def test_the_wait_is_of_the_oldest_job_that_is_due(store: JobStore) -> None:
    await add_due_at(store, "later", NOW + timedelta(seconds=10))
    assert (await store.stats(now=NOW)).oldest_pending is None

    await add_one(store, "a", run_at=NOW - timedelta(seconds=5))
    await add_one(store, "b", run_at=NOW - timedelta(seconds=3), priority=999)

    assert (await store.stats(now=NOW)).oldest_pending == timedelta(seconds=5)
    assert (await store.stats(now=LATER)).oldest_pending == timedelta(seconds=65)


async def test_a_job_that_became_due_waits_though_no_claim_has_seen_it(store: JobStore) -> None:
    await add_due_at(store, "later", NOW + timedelta(seconds=10))

    stats = await store.stats(now=LATER)

    assert stats.oldest_pending == timedelta(seconds=50)


async def test_nobody_waits_while_everything_runs(store: JobStore) -> None:
    await add_one(store)
    await take(store)

    assert (await store.stats(now=LATER)).oldest_pending is None


async def test_a_clock_that_was_set_back_makes_no_negative_wait(store: JobStore) -> None:
    await add_one(store)

    stats = await store.stats(now=NOW - timedelta(hours=1))

    assert stats.oldest_pending == timedelta()


@pytest.mark.parametrize(
    ("state", "is_settled"),
    [
        (JobState.PENDING, False),
        (JobState.PROCESSING, False),
        (JobState.FAILED, False),
        (JobState.COMPLETED, True),
        (JobState.DEAD, True),
        (JobState.CANCELLED, True),
    ],
)
async def test_a_queue_is_settled_when_nothing_is_due_running_or_retried(
    store: JobStore, *, state: JobState, is_settled: bool
) -> None:
    await add_in(store, state)

    assert await store.is_settled(now=NOW) is is_settled


async def test_jobs_for_later_leave_a_queue_settled_until_they_are_due(store: JobStore) -> None:
    assert await store.is_settled(now=NOW)

    await add_due_at(store, "later", LATER)

    assert await store.is_settled(now=NOW)
    assert not await store.is_settled(now=LATER)
