"""Due jobs are taken: higher priority first, then order of arrival, each once."""

from datetime import timedelta

import pytest

from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import JobStore
from tests.contract.steps import add, add_due_at, add_in, add_one, end, history, take, take_one
from tests.factories import NOW, make_new_job

SECOND = timedelta(seconds=1)


async def test_an_empty_queue_gives_nothing_and_promises_nothing(store: JobStore) -> None:
    claim = await store.claim(1, 10, now=NOW)

    assert (claim.jobs, claim.next_due) == ([], None)


async def test_a_claimed_job_is_processing_and_charged(store: JobStore) -> None:
    await add_one(store)

    job = await take_one(store, 5, now=NOW + SECOND)

    assert (job.state, job.worker) == (JobState.PROCESSING, "w5")
    assert (job.attempts, job.run_count) == (1, 1)
    assert (job.started_at, job.updated_at) == (NOW + SECOND, NOW + SECOND)
    assert job == await store.get(job.id)
    assert await history(store) == ["enqueued", "claimed"]


async def test_higher_priority_goes_first_and_arrival_decides_between_equals(
    store: JobStore,
) -> None:
    for name, priority in (("a", 1), ("b", 5), ("c", 1), ("d", -3), ("e", 5)):
        await add_one(store, name, priority=priority)

    jobs = await take(store)

    assert [job.id for job in jobs] == ["b", "e", "a", "c", "d"]


async def test_order_holds_over_many_small_claims(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}", priority=n % 3) for n in range(9)))

    taken = [(await take_one(store)).id for _ in range(9)]

    assert taken == ["j2", "j5", "j8", "j1", "j4", "j7", "j0", "j3", "j6"]


@pytest.mark.parametrize("limit", [0, 1, 3])
async def test_no_more_than_the_limit_is_taken(store: JobStore, limit: int) -> None:
    await add(store, *(make_new_job(id=f"j{n}") for n in range(5)))

    jobs = await take(store, limit=limit)

    assert [job.id for job in jobs] == [f"j{n}" for n in range(limit)]


async def test_a_job_is_claimed_once(store: JobStore) -> None:
    await add_one(store)

    assert len(await take(store, 1)) == 1
    assert await take(store, 1) == []
    assert await take(store, 2) == []


async def test_a_job_for_later_waits_until_its_time(store: JobStore) -> None:
    due = NOW + 10 * SECOND
    await add_due_at(store, "later", due)

    early = await store.claim(1, 10, now=due - timedelta(milliseconds=1))
    on_time = await store.claim(1, 10, now=due)

    assert (early.jobs, early.next_due) == ([], due)
    assert [job.id for job in on_time.jobs] == ["later"]
    assert on_time.next_due is None


async def test_a_job_that_became_due_takes_its_place_by_priority(store: JobStore) -> None:
    await add_one(store, "ready", priority=5)
    await add_one(store, "late", priority=9, run_at=NOW + SECOND, is_due=False)
    await add_one(store, "low", priority=1)

    jobs = await take(store, now=NOW + SECOND)

    assert [job.id for job in jobs] == ["late", "ready", "low"]


async def test_a_failed_job_waits_for_its_retry_and_is_charged_again(store: JobStore) -> None:
    await add_one(store)
    await end(store, await take_one(store), OutcomeKind.FAILED)

    early = await store.claim(1, 1, now=NOW + SECOND)
    job = await take_one(store, now=NOW + 2 * SECOND)

    assert (early.jobs, early.next_due) == ([], NOW + 2 * SECOND)
    assert (job.attempts, job.run_count) == (2, 2)


async def test_a_claim_forgets_how_the_last_run_ended(store: JobStore) -> None:
    await add_one(store)
    await end(store, await take_one(store), OutcomeKind.FAILED, reason="exit_code=1")

    job = await take_one(store, now=NOW + 2 * SECOND)

    assert (job.exit_code, job.signal, job.reason, job.finished_at) == (None, None, None, None)


@pytest.mark.parametrize(
    "state", [JobState.PROCESSING, JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED]
)
async def test_only_waiting_jobs_are_claimed(store: JobStore, state: JobState) -> None:
    await add_in(store, state)

    assert await take(store, 2, now=NOW + timedelta(days=400)) == []


async def test_the_next_due_time_is_the_earliest_of_those_not_due(store: JobStore) -> None:
    await add_due_at(store, "b", NOW + 20 * SECOND)
    await add_due_at(store, "a", NOW + 10 * SECOND)
    await add_one(store, "now")

    claim = await store.claim(1, 1, now=NOW)

    assert [job.id for job in claim.jobs] == ["now"]
    assert claim.next_due == NOW + 10 * SECOND


async def test_what_is_due_beyond_the_limit_is_no_next_due_time(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}") for n in range(3)))

    claim = await store.claim(1, 1, now=NOW)

    assert claim.next_due is None


async def test_jobs_that_become_due_by_the_thousand_are_all_found(store: JobStore) -> None:
    due = NOW + SECOND
    await add(store, *(make_new_job(id=f"j{n}", run_at=due, is_due=False) for n in range(5001)))

    first = await store.claim(1, 1, now=due)
    second = await store.claim(1, 6000, now=due)

    # One claim makes 5000 ready; who asks again at once finds the rest.
    assert (len(first.jobs), first.next_due) == (1, due)
    assert (len(second.jobs), second.next_due) == (5000, None)


async def test_a_claim_of_many_jobs_is_in_order(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}", priority=-(n % 7)) for n in range(300)))

    jobs = await take(store, limit=300)

    assert [(-job.priority, job.seq) for job in jobs] == sorted(
        (-job.priority, job.seq) for job in jobs
    )
    assert len({job.id for job in jobs}) == 300
