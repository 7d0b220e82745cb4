"""Claimed jobs that were not started are given back, as if they had never been claimed."""

from datetime import timedelta

from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import JobStore
from tests.contract.steps import (
    add,
    add_one,
    end,
    everything,
    history,
    take,
    take_one,
)
from tests.factories import NOW, make_new_job

LATER = NOW + timedelta(seconds=30)


async def test_a_released_job_is_pending_and_not_charged(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store)

    released = await store.release([job], now=LATER)

    now = await store.get(job.id)
    assert released == 1
    assert now.state is JobState.PENDING
    assert (now.attempts, now.run_count) == (0, 0)
    assert (now.started_at, now.updated_at) == (None, LATER)
    assert await store.runs(job.id) == []
    assert await history(store) == ["enqueued", "claimed", "released"]


async def test_a_released_job_names_no_worker_that_never_ran_it(store: JobStore) -> None:
    await add_one(store)

    await store.release([await take_one(store)], now=NOW)

    assert (await store.get("job-1")).worker is None


async def test_a_released_job_is_claimed_again_at_once_in_its_old_place(store: JobStore) -> None:
    await add(store, *(make_new_job(id=name) for name in "abc"))
    job = await take_one(store)
    await store.release([job], now=NOW)

    jobs = await take(store, 2)

    assert [job.id for job in jobs] == ["a", "b", "c"]
    assert jobs[0].run_count == 1


async def test_a_failed_job_that_is_given_back_keeps_its_earlier_attempts(store: JobStore) -> None:
    await add_one(store)
    await end(store, await take_one(store), OutcomeKind.FAILED)
    job = await take_one(store, now=LATER)

    await store.release([job], now=LATER)

    now = await store.get(job.id)
    assert (now.state, now.attempts, now.run_count) == (JobState.PENDING, 1, 1)
    assert len(await store.runs(job.id)) == 1


async def test_only_what_is_still_ours_is_released(store: JobStore) -> None:
    await add(store, *(make_new_job(id=name) for name in "abc"))
    jobs = await take(store)
    await end(store, jobs[1])

    released = await store.release(jobs, now=NOW)
    again = await store.release(jobs, now=NOW)

    assert (released, again) == (2, 0)
    assert [job.state.value for job in await everything(store)] == [
        "pending",
        "completed",
        "pending",
    ]


async def test_another_worker_cannot_release_a_job(store: JobStore) -> None:
    await add_one(store)
    first = await take_one(store, 1)
    await store.release([first], now=NOW)
    second = await take_one(store, 2)

    released = await store.release([first], now=NOW)

    assert released == 0
    assert await store.get(second.id) == second


async def test_a_released_job_cannot_be_ended(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store)
    await store.release([job], now=NOW)

    assert not await end(store, job)

    assert (await store.get(job.id)).state is JobState.PENDING


async def test_a_job_that_was_to_be_cancelled_is_cancelled_when_given_back(
    store: JobStore,
) -> None:
    await add_one(store)
    job = await take_one(store)
    await store.cancel(job.id, "enough", now=NOW)

    released = await store.release([job], now=LATER)

    now = await store.get(job.id)
    assert released == 1
    assert (now.state, now.reason, now.cancel_reason) == (JobState.CANCELLED, "enough", None)
    assert await history(store) == ["enqueued", "claimed", "released", "cancelled"]
    assert await take(store) == []


async def test_a_job_that_a_dead_worker_had_claimed_was_interrupted(store: JobStore) -> None:
    await add(store, *(make_new_job(id=name) for name in "ab"))
    jobs = await take(store)

    released = await store.release(jobs, now=LATER, interrupted=True)

    assert released == 2
    assert [(job.attempts, job.interruptions) for job in await everything(store)] == [(0, 1)] * 2


async def test_interruptions_are_counted_up_and_set_back_by_nothing(store: JobStore) -> None:
    await add_one(store)
    for _ in range(2):
        await store.release([await take_one(store)], now=NOW, interrupted=True)
    await store.release([await take_one(store)], now=NOW)
    await end(store, await take_one(store), OutcomeKind.INTERRUPTED)

    await end(store, await take_one(store))

    now = await store.get("job-1")
    assert (now.state, now.interruptions, now.attempts) == (JobState.COMPLETED, 3, 1)


async def test_a_job_that_was_to_be_cancelled_was_interrupted_all_the_same(
    store: JobStore,
) -> None:
    await add_one(store)
    job = await take_one(store)
    await store.cancel(job.id, "enough", now=NOW)

    await store.release([job], now=LATER, interrupted=True)

    now = await store.get(job.id)
    assert (now.state, now.interruptions) == (JobState.CANCELLED, 1)


async def test_giving_back_leaves_the_row_of_crashes(store: JobStore) -> None:
    await add_one(store, max_retries=9)
    await end(store, await take_one(store), OutcomeKind.LOST, reason="lost")

    await store.release([await take_one(store, now=LATER)], now=LATER, interrupted=True)

    assert (await store.get("job-1")).crashes == 1


async def test_releasing_nothing_releases_nothing(store: JobStore) -> None:
    assert await store.release([], now=NOW) == 0


async def test_a_job_that_nobody_else_may_have_is_cancelled_as_it_is_released(
    store: JobStore,
) -> None:
    await add_one(store)
    job = await take_one(store)

    assert await store.release([job], now=LATER, cancel_for="why") == 1

    found = await store.get(job.id)
    assert (found.state, found.reason, found.attempts) == (JobState.CANCELLED, "why", 0)
    assert not (await store.claim(1, 1, now=LATER)).jobs
