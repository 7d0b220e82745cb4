"""Dead jobs by cause: counted, retried and deleted."""

import asyncio
from datetime import timedelta

import pytest

from queuectl.engine.domain.looks import Cause
from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import JobStore
from tests.contract.steps import (
    add,
    add_in,
    add_one,
    end,
    everything,
    history,
    take,
    take_one,
    true_counts,
)
from tests.factories import NOW, make_new_job

SECOND = timedelta(seconds=1)
HOSTILE = "\x1b[2J'; DROP TABLE jobs; -- \u202e%_"


async def add_dead(store: JobStore, *reasons: str | None) -> None:
    """Add dead jobs d0, d1 and so on, each a second after the other."""
    for n, reason in enumerate(reasons):
        await add_one(store, f"d{n}", max_retries=0)
        job = await take_one(store)
        await end(store, job, OutcomeKind.FAILED, reason=reason, now=NOW + n * SECOND)


async def states(store: JobStore) -> dict[str, str]:
    return {job.id: job.state.value for job in await everything(store)}


async def test_no_dead_job_has_no_cause(store: JobStore) -> None:
    for state in set(JobState) - {JobState.DEAD, JobState.PENDING}:
        await add_in(store, state, state)

    assert await store.causes(limit=9) == []


async def test_the_most_frequent_cause_is_in_front_then_the_latest(store: JobStore) -> None:
    await add_dead(store, "a", "b", "timeout", "b", "c")

    assert await store.causes(limit=9) == [
        Cause(reason="b", count=2, latest=NOW + 3 * SECOND),
        Cause(reason="c", count=1, latest=NOW + 4 * SECOND),
        Cause(reason="timeout", count=1, latest=NOW + 2 * SECOND),
        Cause(reason="a", count=1, latest=NOW),
    ]
    assert [cause.reason for cause in await store.causes(limit=1)] == ["b"]


async def test_jobs_without_a_reason_are_a_cause_of_their_own(store: JobStore) -> None:
    await add_dead(store, None, "a", None)

    assert [(cause.reason, cause.count) for cause in await store.causes(limit=9)] == [
        ("", 2),
        ("a", 1),
    ]
    assert (await store.retry_dead(now=NOW, reason="")).jobs == 2


@pytest.mark.parametrize("reason", ["exit_code=1", HOSTILE, ""])
async def test_only_jobs_of_the_cause_are_put_back(store: JobStore, reason: str) -> None:
    await add_dead(store, reason or None, "exit_code=127", reason or None)

    assert (await store.retry_dead(now=NOW, reason=reason)).jobs == 2

    assert await states(store) == {"d0": "pending", "d1": "dead", "d2": "pending"}
    assert (await history(store, "d2"))[-1] == "retried"
    assert (await store.retry_dead(now=NOW, reason=reason)).jobs == 0
    assert (await store.retry_dead(now=NOW)).jobs == 1


@pytest.mark.parametrize("reason", ["exit_code=1", HOSTILE, ""])
async def test_only_jobs_of_the_cause_are_deleted(store: JobStore, reason: str) -> None:
    await add_dead(store, reason or None, "exit_code=127", reason or None)
    await add_in(store, JobState.COMPLETED, "done")

    purged = await store.purge_dead(reason=reason)

    assert (purged.jobs, purged.large_runs) == (2, [])
    assert await states(store) == {"d1": "dead", "done": "completed"}


async def test_what_died_later_is_neither_put_back_nor_deleted(store: JobStore) -> None:
    await add_dead(store, "a", "b", "a", "b")

    assert (await store.retry_dead(now=NOW, reason="a", until=NOW + SECOND)).jobs == 1
    assert (await store.purge_dead(until=NOW + SECOND)).jobs == 1
    assert await states(store) == {"d0": "pending", "d2": "dead", "d3": "dead"}


async def test_every_dead_job_is_deleted_and_nothing_else(store: JobStore) -> None:
    await add_dead(store, "a", "b")
    await add_in(store, JobState.CANCELLED, "cancelled")

    assert (await store.purge_dead()).jobs == 2
    assert await states(store) == {"cancelled": "cancelled"}
    assert (await store.stats(now=NOW)).counts == await true_counts(store)
    assert (await store.check()).problems == []


async def test_the_files_of_deleted_jobs_are_named(store: JobStore) -> None:
    await add_one(store, max_retries=0)
    job = await take_one(store)
    await end(store, job, OutcomeKind.FAILED, output=None, output_bytes=10**6)

    assert (await store.purge_dead()).large_runs == [job.run_key]


async def add_many_dead(store: JobStore) -> None:
    """Add 2100 dead jobs, half of them for another reason than the others."""
    await add(store, *(make_new_job(id=f"j{n}", max_retries=0) for n in range(2100)))
    jobs = await take(store, limit=2100)
    await asyncio.gather(
        *(
            end(store, job, OutcomeKind.FAILED, reason="odd" if n % 2 else "even")
            for n, job in enumerate(jobs)
        )
    )


async def test_dead_jobs_of_a_cause_are_taken_some_at_a_time(store: JobStore) -> None:
    await add_many_dead(store)

    retried = [await store.retry_dead(now=NOW, reason="odd")]
    purged = [await store.purge_dead(reason="even")]

    # What dies again is not behind the place that was reached.
    [again, *_] = await take(store, limit=1)
    await end(store, again, OutcomeKind.FAILED, reason="odd")

    while retried[-1].after is not None:
        retried.append(await store.retry_dead(now=NOW, reason="odd", after=retried[-1].after))

    while purged[-1].after is not None:
        purged.append(await store.purge_dead(reason="even", after=purged[-1].after))

    assert [step.jobs for step in retried] == [1000, 50]
    assert [step.jobs for step in purged] == [1000, 50]
    assert [job.id for job in await everything(store) if job.state is JobState.DEAD] == [again.id]
