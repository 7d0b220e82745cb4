"""A run that goes on is taken over from a worker that died, by one other and no more."""

import asyncio
from datetime import timedelta

import pytest

from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import Change, JobStore
from tests.contract.steps import add_in, add_one, end, events, everything, history, take_one
from tests.factories import NOW, JobFields, make_job

LATER = NOW + timedelta(seconds=30)


async def test_an_adopted_run_is_the_adopters(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store, 1)

    adopted = await store.adopt(job, 2, now=LATER)

    now = await store.get(job.id)
    assert adopted == now
    assert (now.worker, now.state) == ("w2", JobState.PROCESSING)
    assert [job.id for job in await store.held_jobs(2)] == [job.id]
    assert await store.held_jobs(1) == []


async def test_adopting_changes_the_worker_and_nothing_else(store: JobStore) -> None:
    await add_one(store, max_retries=5)
    await end(store, await take_one(store), OutcomeKind.LOST, reason="lost")
    job = await take_one(store, 1, now=LATER)

    await store.adopt(job, 2, now=LATER + timedelta(hours=1))

    before, now = job, await store.get(job.id)
    changed = {
        name for name in before.__struct_fields__ if getattr(before, name) != getattr(now, name)
    }
    assert changed == {"worker"}


async def test_adopting_is_told(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store, 1)

    await store.adopt(job, 2, now=LATER)

    event = (await events(store))[-1]
    assert await history(store) == ["enqueued", "claimed", "adopted"]
    assert (event.attempt, event.at, event.reason) == (1, LATER, "w2 from w1")
    assert event.state is JobState.PROCESSING


async def test_adopting_is_hinted_at(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store, 1)
    hints: list[Change] = []
    store.on_commit(hints.append)

    await store.adopt(job, 2, now=LATER)

    assert [Change.STATE in hint for hint in hints] == [True]


@pytest.mark.parametrize(
    "forged",
    [{"worker": "w3"}, {"worker": None}, {"run_count": 2}, {"run_count": 0}, {"seq": 99}],
    ids=str,
)
async def test_only_the_run_of_that_worker_is_adopted(store: JobStore, forged: JobFields) -> None:
    await add_one(store)
    job = await take_one(store, 1)
    claim: JobFields = {
        "seq": job.seq,
        "state": job.state,
        "run_count": job.run_count,
        "worker": job.worker,
    }
    claim.update(forged)

    assert await store.adopt(make_job(**claim), 2, now=LATER) is None

    assert await store.get(job.id) == job
    assert await history(store) == ["enqueued", "claimed"]


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.PROCESSING}))
async def test_a_job_that_does_not_run_is_not_adopted(store: JobStore, state: JobState) -> None:
    before = await add_in(store, state)

    assert await store.adopt(before, 2, now=LATER) is None

    assert await everything(store) == [before]


async def test_a_run_is_adopted_by_one(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store, 1)

    adopted = await asyncio.gather(*(store.adopt(job, worker, now=LATER) for worker in (2, 3, 4)))

    [winner] = [job for job in adopted if job is not None]
    assert (await store.get(job.id)).worker == winner.worker
    assert await history(store) == ["enqueued", "claimed", "adopted"]


async def test_the_adopter_may_die_as_well(store: JobStore) -> None:
    await add_one(store)
    first = await store.adopt(await take_one(store, 1), 2, now=LATER)
    assert first is not None

    second = await store.adopt(first, 3, now=LATER)

    assert second is not None
    assert second.worker == "w3"
    assert [event.reason for event in (await events(store))[-2:]] == ["w2 from w1", "w3 from w2"]


async def test_the_adopter_ends_the_run_and_the_worker_before_it_does_not(
    store: JobStore,
) -> None:
    await add_one(store)
    job = await take_one(store, 1)
    adopted = await store.adopt(job, 2, now=LATER)
    assert adopted is not None

    by_the_first = await end(store, job, OutcomeKind.LOST, output=b"not mine", now=LATER)
    given_back = await store.release([job], now=LATER)
    by_the_adopter = await end(store, adopted, output=b"mine", now=LATER)

    now = await store.get(job.id)
    [run] = await store.runs(job.id)
    assert (by_the_first, given_back, by_the_adopter) == (False, 0, True)
    assert (now.state, now.crashes, now.worker) == (JobState.COMPLETED, 0, "w2")
    assert (run.number, run.worker) == (1, "w2")
    assert await store.output(job.seq, 1) == b"mine"


async def test_a_run_that_was_ended_is_not_adopted_any_more(store: JobStore) -> None:
    await add_one(store, max_retries=9)
    job = await take_one(store, 1)
    await end(store, job, OutcomeKind.LOST)
    again = await take_one(store, 1, now=LATER)

    assert await store.adopt(job, 2, now=LATER) is None

    assert await store.get(job.id) == again


async def test_a_cancellation_that_was_asked_for_reaches_the_adopter(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store, 1)
    await store.cancel(job.id, "enough", now=NOW)

    adopted = await store.adopt(job, 2, now=LATER)

    assert adopted is not None
    assert adopted.cancel_reason == "enough"
    assert (await store.orders(2)).cancels == {(job.seq, 1): "enough"}
    assert (await store.orders(1)).cancels == {}
