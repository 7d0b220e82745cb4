"""Jobs are put back by hand: the states that allow it, all or none."""

import asyncio
from datetime import timedelta

import pytest

from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import JobNotFoundError, JobStateError
from queuectl.engine.store.base import JobStore
from tests.contract.steps import (
    add,
    add_in,
    add_one,
    end,
    events,
    everything,
    history,
    take,
    take_one,
)
from tests.factories import NOW, make_new_job

LATER = NOW + timedelta(seconds=1)
RETRIABLE = frozenset({JobState.FAILED, JobState.DEAD, JobState.CANCELLED})
DEAD = frozenset({JobState.DEAD})


@pytest.mark.parametrize("state", sorted(RETRIABLE))
async def test_a_retried_job_is_pending_due_and_charged_nothing(
    store: JobStore, state: JobState
) -> None:
    before = await add_in(store, state)

    [job] = await store.retry(["job-1"], RETRIABLE, now=LATER)

    assert (job.state, job.attempts, job.run_count) == (JobState.PENDING, 0, before.run_count)
    assert (job.run_at, job.updated_at, job.reason) == (LATER, LATER, None)
    assert job == await store.get("job-1")
    assert (await history(store))[-1] == "retried"
    assert [job.id for job in await take(store, now=LATER)] == ["job-1"]


async def test_a_retried_job_has_all_its_retries_again(store: JobStore) -> None:
    await add_in(store, JobState.DEAD)
    await store.retry(["job-1"], DEAD, now=LATER)

    job = await take_one(store, now=LATER)

    assert (job.attempts, job.run_count) == (1, 2)


async def test_a_job_that_took_its_workers_along_has_a_new_row_of_crashes(
    store: JobStore,
) -> None:
    await add_one(store, max_retries=9)
    for minute in range(5):
        at = NOW + timedelta(minutes=minute)
        await end(store, await take_one(store, now=at), OutcomeKind.LOST, reason="lost", now=at)
    dead = await store.get("job-1")

    [job] = await store.retry(["job-1"], DEAD, now=NOW + timedelta(hours=1))

    assert (dead.state, dead.crashes, dead.attempts) == (JobState.DEAD, 5, 5)
    assert dead.reason == "lost 5 times in a row"
    assert (job.crashes, job.attempts, job.run_count) == (0, 0, 5)


async def test_every_dead_job_that_is_put_back_has_a_new_row_of_crashes(store: JobStore) -> None:
    await add_one(store, max_retries=0)
    await end(store, await take_one(store), OutcomeKind.LOST, reason="lost")
    dead = await store.get("job-1")

    await store.retry_dead(now=LATER)

    assert (dead.crashes, (await store.get("job-1")).crashes) == (1, 0)


async def test_earlier_runs_are_kept(store: JobStore) -> None:
    await add_in(store, JobState.DEAD)
    await store.retry(["job-1"], DEAD, now=LATER)
    await end(store, await take_one(store, now=LATER), now=LATER)

    assert [run.number for run in await store.runs("job-1")] == [1, 2]


@pytest.mark.parametrize(
    ("until", "last", "expected"),
    [
        (None, 2, [3, 4]),
        (None, 9, [1, 2, 3, 4]),
        (2, None, [1, 2]),
        (3, 1, [3]),
        (9, 1, [4]),
        (0, 1, []),
    ],
)
async def test_some_of_many_runs_can_be_asked_for(
    store: JobStore, until: int | None, last: int | None, expected: list[int]
) -> None:
    await add_one(store, max_retries=9)
    at = NOW

    for _ in range(4):
        at += timedelta(days=1)
        await end(store, await take_one(store, now=at), OutcomeKind.FAILED, now=at)

    runs = await store.runs("job-1", until=until, last=last)

    assert [run.number for run in runs] == expected


@pytest.mark.parametrize("state", sorted(set(JobState) - RETRIABLE))
async def test_other_states_refuse(store: JobStore, state: JobState) -> None:
    before = await add_in(store, state)

    with pytest.raises(JobStateError) as caught:
        await store.retry(["job-1"], RETRIABLE, now=LATER)

    assert (caught.value.job_id, caught.value.state) == ("job-1", state)
    assert caught.value.hint is not None
    assert await store.get("job-1") == before


async def test_the_caller_may_allow_fewer_states(store: JobStore) -> None:
    await add_in(store, JobState.CANCELLED)

    with pytest.raises(JobStateError):
        await store.retry(["job-1"], DEAD, now=LATER)


async def test_one_that_cannot_be_retried_keeps_all_where_they_are(store: JobStore) -> None:
    await add_in(store, JobState.DEAD, "a")
    await add_in(store, JobState.COMPLETED, "b")
    before = (await everything(store), await events(store))

    with pytest.raises(JobStateError):
        await store.retry(["a", "b"], RETRIABLE, now=LATER)

    assert (await everything(store), await events(store)) == before


async def test_one_that_is_missing_keeps_all_where_they_are(store: JobStore) -> None:
    before = await add_in(store, JobState.DEAD, "a")

    with pytest.raises(JobNotFoundError) as caught:
        await store.retry(["a", "nobody"], RETRIABLE, now=LATER)

    assert caught.value.job_id == "nobody"
    assert await store.get("a") == before


async def test_jobs_are_returned_in_the_order_of_the_ids(store: JobStore) -> None:
    for name in "abc":
        await add_in(store, JobState.DEAD, name)

    jobs = await store.retry(["c", "a", "b"], DEAD, now=LATER)

    assert [job.id for job in jobs] == ["c", "a", "b"]


async def test_a_job_that_is_named_twice_is_retried_once(store: JobStore) -> None:
    await add_in(store, JobState.DEAD)

    await store.retry(["job-1", "job-1"], DEAD, now=LATER)

    assert await history(store) == ["enqueued", "claimed", "died", "retried"]


async def test_every_dead_job_is_put_back_and_nothing_else(store: JobStore) -> None:
    for state in (JobState.COMPLETED, JobState.CANCELLED, JobState.FAILED, JobState.DEAD):
        await add_in(store, state, f"one-{state}")
    await add_in(store, JobState.DEAD, "two-dead")

    retried = await store.retry_dead(now=LATER)

    assert retried.jobs == 2
    assert [job.state.value for job in await everything(store)] == [
        "completed",
        "cancelled",
        "failed",
        "pending",
        "pending",
    ]
    assert (await history(store, "two-dead"))[-1] == "retried"
    assert (await store.retry_dead(now=LATER)).jobs == 0


async def test_dead_jobs_are_put_back_by_the_thousand(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}", max_retries=0) for n in range(1001)))
    jobs = await take(store, limit=1001)
    await asyncio.gather(*(end(store, job, OutcomeKind.FAILED) for job in jobs))

    first = await store.retry_dead(now=LATER)
    assert first.after is not None
    second = await store.retry_dead(now=LATER, after=first.after)

    assert (first.jobs, second.jobs, second.after) == (1000, 1, None)
    assert {job.state for job in await everything(store)} == {JobState.PENDING}
