"""Scheduled jobs are let run now: those that wait for a time, all or none."""

from datetime import timedelta

import pytest

from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import JobNotFoundError, JobStateError
from queuectl.engine.store.base import Change, JobStore
from tests.contract.steps import add_due_at, add_in, add_one, events, everything, take
from tests.factories import NOW

LATER = NOW + timedelta(hours=1)


async def test_a_job_for_later_is_due_now(store: JobStore) -> None:
    before = await add_due_at(store, "a", LATER)

    [job] = await store.run_now(["a"], now=NOW)

    assert (job.state, job.run_at, job.updated_at) == (JobState.PENDING, NOW, before.updated_at)
    assert job == await store.get("a")
    assert [taken.id for taken in await take(store)] == ["a"]


async def test_a_failed_job_keeps_its_state_and_what_it_is_charged(store: JobStore) -> None:
    before = await add_in(store, JobState.FAILED)

    [job] = await store.run_now(["job-1"], now=NOW)

    assert (job.state, job.attempts, job.reason) == (JobState.FAILED, 1, before.reason)
    [again] = await take(store)
    assert (again.attempts, again.run_count) == (2, 2)


async def test_it_is_told_to_workers_and_is_no_change_of_state(store: JobStore) -> None:
    await add_due_at(store, "a", LATER)
    told = await events(store)
    hints: list[Change] = []
    store.on_commit(hints.append)

    await store.run_now(["a"], now=NOW)

    assert [Change.WORK in hint for hint in hints] == [True]
    assert await events(store) == told


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.FAILED}))
async def test_a_job_that_waits_for_no_time_is_refused(store: JobStore, state: JobState) -> None:
    before = await add_in(store, state)

    with pytest.raises(JobStateError) as caught:
        await store.run_now(["job-1"], now=NOW)

    assert (caught.value.job_id, caught.value.state, caught.value.action) == (
        "job-1",
        state,
        "run",
    )
    assert caught.value.hint is not None
    assert await store.get("job-1") == before


async def test_a_job_whose_time_has_come_is_refused_as_well(store: JobStore) -> None:
    await add_due_at(store, "a", LATER)

    with pytest.raises(JobStateError, match="cannot run job a: it is pending"):
        await store.run_now(["a"], now=LATER)


async def test_one_that_is_refused_or_missing_keeps_all_where_they_are(store: JobStore) -> None:
    await add_due_at(store, "a", LATER)
    await add_one(store, "due")
    before = await everything(store)

    with pytest.raises(JobStateError):
        await store.run_now(["a", "due"], now=NOW)
    with pytest.raises(JobNotFoundError):
        await store.run_now(["a", "nobody"], now=NOW)

    assert await everything(store) == before


async def test_jobs_are_returned_in_the_order_of_the_ids_and_may_be_named_twice(
    store: JobStore,
) -> None:
    for name in "abc":
        await add_due_at(store, name, LATER)

    jobs = await store.run_now(["c", "a", "c"], now=NOW)

    assert [job.id for job in jobs] == ["c", "a", "c"]
    assert [job.id for job in await take(store)] == ["a", "c"]
