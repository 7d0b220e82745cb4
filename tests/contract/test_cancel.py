"""A waiting job is cancelled at once; a running one is marked for its worker."""

from datetime import timedelta

import pytest

from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import JobNotFoundError, JobStateError
from queuectl.engine.store.base import JobStore
from tests.contract.steps import (
    add_due_at,
    add_in,
    add_one,
    end,
    events,
    history,
    take,
    take_one,
)
from tests.factories import NOW

LATER = NOW + timedelta(days=1)


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.FAILED])
async def test_a_waiting_job_is_cancelled_at_once(store: JobStore, state: JobState) -> None:
    await add_in(store, state)

    job = await store.cancel("job-1", "enough", now=NOW)

    assert (job.state, job.reason, job.updated_at) == (JobState.CANCELLED, "enough", NOW)
    assert job == await store.get("job-1")
    assert (await history(store))[-1] == "cancelled"
    assert (await events(store))[-1].reason == "enough"
    assert await take(store, now=LATER) == []


async def test_a_job_for_later_can_be_cancelled(store: JobStore) -> None:
    await add_due_at(store, "job-1", LATER)

    await store.cancel("job-1", None, now=NOW)

    claim = await store.claim(1, 1, now=LATER)
    assert (claim.jobs, claim.next_due) == ([], None)


async def test_a_job_cancelled_without_a_reason_says_that_it_was_cancelled(
    store: JobStore,
) -> None:
    await add_one(store)

    job = await store.cancel("job-1", None, now=NOW)

    assert job.reason == "cancelled"


async def test_a_running_job_is_marked_and_goes_on(store: JobStore) -> None:
    await add_one(store)
    running = await take_one(store, 7)

    job = await store.cancel("job-1", "enough", now=LATER)

    assert (job.state, job.cancel_reason) == (JobState.PROCESSING, "enough")
    assert job.updated_at == running.updated_at
    assert (await store.orders(7)).cancels == {(job.seq, 1): "enough"}
    assert (await store.orders(8)).cancels == {}
    assert await history(store) == ["enqueued", "claimed"]


async def test_the_first_reason_for_a_running_job_stays(store: JobStore) -> None:
    await add_one(store)
    await take_one(store)
    await store.cancel("job-1", "first", now=NOW)

    job = await store.cancel("job-1", "second", now=NOW)

    assert job.cancel_reason == "first"


async def test_a_run_that_has_ended_leaves_no_order_to_cancel_it(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store)
    await store.cancel("job-1", None, now=NOW)

    await end(store, job)

    assert (await store.orders(1)).cancels == {}


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED])
async def test_a_finished_job_cannot_be_cancelled(store: JobStore, state: JobState) -> None:
    before = await add_in(store, state)

    with pytest.raises(JobStateError) as caught:
        await store.cancel("job-1", None, now=LATER)

    assert (caught.value.job_id, caught.value.state) == ("job-1", state)
    assert await store.get("job-1") == before


async def test_a_job_that_is_not_there_cannot_be_cancelled(store: JobStore) -> None:
    with pytest.raises(JobNotFoundError):
        await store.cancel("nobody", None, now=NOW)
