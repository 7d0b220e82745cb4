"""A run that is neither over nor goes on says why, once, and stays where it is."""

from datetime import timedelta

import pytest

from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import JobStore
from tests.contract.steps import add_in, add_one, end, events, everything, history, take, take_one
from tests.factories import NOW, JobFields, make_job

LATER = NOW + timedelta(seconds=30)
WORDS = "process 7 cannot be ended"


async def test_a_stuck_run_says_why_and_stays_where_it_is(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store)

    is_news = await store.mark_stuck(job, WORDS, now=LATER)

    now = await store.get(job.id)
    assert is_news
    assert now.stuck == WORDS
    assert (now.state, now.worker, now.updated_at) == (JobState.PROCESSING, "w1", job.updated_at)
    assert await take(store, 2, now=LATER) == []


async def test_that_it_is_stuck_is_told_once(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store)

    news = [await store.mark_stuck(job, WORDS, now=LATER) for _ in range(3)]

    event = (await events(store))[-1]
    assert news == [True, False, False]
    assert await history(store) == ["enqueued", "claimed", "stuck"]
    assert (event.attempt, event.at, event.reason) == (1, LATER, WORDS)
    assert event.state is JobState.PROCESSING


async def test_another_reason_is_news(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store)
    await store.mark_stuck(job, WORDS, now=NOW)

    is_news = await store.mark_stuck(job, "process 8 cannot be ended", now=LATER)

    assert is_news
    assert (await store.get(job.id)).stuck == "process 8 cannot be ended"
    assert await history(store) == ["enqueued", "claimed", "stuck", "stuck"]


@pytest.mark.parametrize(
    "forged",
    [{"worker": "w3"}, {"worker": None}, {"run_count": 2}, {"run_count": 0}, {"seq": 99}],
    ids=str,
)
async def test_only_who_holds_the_run_says_that_it_is_stuck(
    store: JobStore, forged: JobFields
) -> None:
    await add_one(store)
    job = await take_one(store, 1)
    claim: JobFields = {
        "seq": job.seq,
        "state": job.state,
        "run_count": job.run_count,
        "worker": job.worker,
    }
    claim.update(forged)

    assert not await store.mark_stuck(make_job(**claim), WORDS, now=LATER)

    assert await store.get(job.id) == job
    assert await history(store) == ["enqueued", "claimed"]


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.PROCESSING}))
async def test_only_a_job_that_runs_is_stuck(store: JobStore, state: JobState) -> None:
    before = await add_in(store, state)

    assert not await store.mark_stuck(before, WORDS, now=LATER)

    assert await everything(store) == [before]


@pytest.mark.parametrize("kind", OutcomeKind)
async def test_a_run_that_ends_is_not_stuck_any_more(store: JobStore, kind: OutcomeKind) -> None:
    await add_one(store)
    job = await take_one(store)
    await store.mark_stuck(job, WORDS, now=NOW)

    assert await end(store, job, kind, reason="why", now=LATER)

    assert (await store.get(job.id)).stuck is None


@pytest.mark.parametrize("interrupted", [False, True])
async def test_a_run_that_is_given_back_is_not_stuck_any_more(
    store: JobStore, *, interrupted: bool
) -> None:
    await add_one(store)
    job = await take_one(store)
    await store.mark_stuck(job, WORDS, now=NOW)

    assert await store.release([job], now=LATER, interrupted=interrupted) == 1

    assert (await store.get(job.id)).stuck is None


async def test_a_run_that_is_given_back_to_be_cancelled_is_not_stuck_any_more(
    store: JobStore,
) -> None:
    await add_one(store)
    job = await take_one(store)
    await store.cancel(job.id, "enough", now=NOW)
    await store.mark_stuck(job, WORDS, now=NOW)

    await store.release([job], now=LATER)

    now = await store.get(job.id)
    assert (now.state, now.stuck, now.reason) == (JobState.CANCELLED, None, "enough")


async def test_a_run_that_is_adopted_is_not_stuck_any_more_and_may_be_again(
    store: JobStore,
) -> None:
    await add_one(store)
    job = await take_one(store, 1)
    await store.mark_stuck(job, WORDS, now=NOW)

    adopted = await store.adopt(job, 2, now=LATER)

    assert adopted is not None
    assert adopted.stuck is None
    assert not await store.mark_stuck(job, WORDS, now=LATER)
    assert await store.mark_stuck(adopted, WORDS, now=LATER)
    assert await history(store) == ["enqueued", "claimed", "stuck", "adopted", "stuck"]


async def test_a_stuck_job_can_be_asked_to_be_cancelled_and_stays_stuck(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store)
    await store.mark_stuck(job, WORDS, now=NOW)

    await store.cancel(job.id, "enough", now=LATER)

    now = await store.get(job.id)
    assert (now.state, now.stuck, now.cancel_reason) == (JobState.PROCESSING, WORDS, "enough")
