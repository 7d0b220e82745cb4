"""Jobs go, with everything that was kept of them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import TERMINAL, JobState
from queuectl.engine.errors import JobNotFoundError, JobStateError
from queuectl.engine.store.base import INLINE_OUTPUT_BYTES, JobStore
from tests.contract.steps import (
    add,
    add_due_at,
    add_in,
    add_one,
    end,
    events,
    everything,
    ids,
    take,
    take_one,
    true_counts,
)
from tests.factories import NOW, make_new_job

LATER = NOW + timedelta(seconds=30)
LARGE = INLINE_OUTPUT_BYTES + 1


async def add_with_everything(store: JobStore, job_id: str) -> int:
    """Add a dead job with a tag, a large and a small output; return its sequence number."""
    await add_one(store, job_id, tags=("keep", "me"), max_retries=1)
    await end(store, await take_one(store), OutcomeKind.FAILED, output=None, output_bytes=LARGE)
    job = await take_one(store, now=LATER)
    await end(store, job, OutcomeKind.FAILED, output=b"small", now=LATER)
    return job.seq


async def remains(store: JobStore, job_id: str, seq: int) -> list[object]:
    """Return whatever is still kept of a job."""
    found: list[object] = [job for job in await everything(store) if job.id == job_id]
    found += await store.runs(job_id)
    found += [output for run in (1, 2) if (output := await store.output(seq, run))]
    found += await store.list_jobs(JobFilter(tag="me"), after=0, limit=9)
    return found


async def test_a_deleted_job_leaves_nothing(store: JobStore) -> None:
    seq = await add_with_everything(store, "a")

    deleted = await store.delete("a")

    assert (deleted.jobs, deleted.large_runs) == (1, [(seq, 1)])
    assert await remains(store, "a", seq) == []
    assert (await store.stats(now=LATER)).counts == await true_counts(store)
    assert (await store.check()).problems == []


async def test_a_purged_job_leaves_nothing(store: JobStore) -> None:
    seq = await add_with_everything(store, "a")

    purged = await store.purge([JobState.DEAD], until=LATER)

    assert (purged.jobs, purged.large_runs) == (1, [(seq, 1)])
    assert await remains(store, "a", seq) == []
    assert (await store.stats(now=LATER)).counts == await true_counts(store)
    assert (await store.check()).problems == []


@pytest.mark.parametrize(
    ("size", "is_large"), [(INLINE_OUTPUT_BYTES, False), (INLINE_OUTPUT_BYTES + 1, True)]
)
async def test_only_outputs_that_are_files_are_named(
    store: JobStore, *, size: int, is_large: bool
) -> None:
    await add_one(store)
    job = await take_one(store)
    await end(store, job, output=None if is_large else b"x" * size, output_bytes=size)

    deleted = await store.delete("job-1")

    assert deleted.large_runs == ([(job.seq, 1)] if is_large else [])


async def test_an_id_is_free_again_and_its_new_job_has_no_past(store: JobStore) -> None:
    seq = await add_with_everything(store, "a")
    await store.delete("a")

    job = await add_one(store, "a")

    assert await store.runs("a") == []
    assert await store.output(job.seq, 1) is None
    assert await store.list_jobs(JobFilter(tag="me"), after=0, limit=9) == []
    assert job.seq > seq


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.PROCESSING}))
async def test_a_job_that_does_not_run_can_be_deleted(store: JobStore, state: JobState) -> None:
    await add_in(store, state)

    await store.delete("job-1")

    assert await everything(store) == []


async def test_a_running_job_cannot_be_deleted(store: JobStore) -> None:
    job = await add_in(store, JobState.PROCESSING)

    with pytest.raises(JobStateError) as caught:
        await store.delete("job-1")

    assert caught.value.state == JobState.PROCESSING
    assert await store.get("job-1") == job


@pytest.mark.parametrize(
    "change",
    [
        lambda store, seq: store.cancel("job-1", None, now=NOW, seq=seq),
        lambda store, seq: store.retry(
            ["job-1"], frozenset(JobState), now=NOW, seqs={"job-1": seq}
        ),
        lambda store, seq: store.run_now(["job-1"], now=NOW, seqs={"job-1": seq}),
        lambda store, seq: store.delete("job-1", seq=seq),
    ],
    ids=["cancel", "retry", "run now", "delete"],
)
async def test_nothing_is_done_to_another_job_than_was_seen(
    store: JobStore, change: Callable[[JobStore, int], Awaitable[object]]
) -> None:
    seen = await add_one(store)
    await store.delete("job-1")
    job = await add_due_at(store, "job-1", LATER)

    with pytest.raises(JobStateError) as caught:
        await change(store, seen.seq)

    assert "another job" in str(caught.value.hint)
    assert await store.get("job-1") == job
    await change(store, job.seq)


@pytest.mark.parametrize("off", [-1, 1])
async def test_a_job_that_changed_since_it_was_seen_is_not_deleted(
    store: JobStore, off: int
) -> None:
    await add_one(store)
    await end(store, await take_one(store, now=LATER), now=LATER)

    with pytest.raises(JobStateError) as caught:
        # A clock may have been ahead when it was seen.
        await store.delete("job-1", updated_at=LATER + timedelta(milliseconds=off))

    assert "changed" in str(caught.value.hint)
    assert (await store.delete("job-1", updated_at=LATER)).jobs == 1


async def test_a_job_that_is_not_there_cannot_be_deleted(store: JobStore) -> None:
    with pytest.raises(JobNotFoundError):
        await store.delete("nobody")


@pytest.mark.parametrize("state", sorted(TERMINAL))
async def test_only_jobs_in_the_named_states_are_purged(store: JobStore, state: JobState) -> None:
    for each in (*sorted(TERMINAL), JobState.FAILED, JobState.PENDING):
        await add_in(store, each, f"one-{each}")

    purged = await store.purge([state], until=LATER)

    assert purged.jobs == 1
    assert f"one-{state}" not in await ids(store)
    assert len(await ids(store)) == 4


async def test_several_states_are_purged_together(store: JobStore) -> None:
    for each in sorted(TERMINAL):
        await add_in(store, each, f"one-{each}")

    purged = await store.purge([JobState.DEAD, JobState.COMPLETED], until=LATER)

    assert purged.jobs == 2
    assert await ids(store) == ["one-cancelled"]


async def test_younger_jobs_are_left(store: JobStore) -> None:
    for name, at in (("old", NOW), ("young", LATER)):
        await add_one(store, name)
        await end(store, await take_one(store, now=at), now=at)

    purged = await store.purge([JobState.COMPLETED], until=LATER - timedelta(milliseconds=1))

    assert purged.jobs == 1
    assert await ids(store) == ["young"]


async def test_a_running_job_is_never_purged(store: JobStore) -> None:
    await add_in(store, JobState.PROCESSING)

    purged = await store.purge(list(JobState), until=LATER)

    assert (purged.jobs, purged.large_runs) == (0, [])
    assert await ids(store) == ["job-1"]


async def test_purging_nothing_changes_nothing(store: JobStore) -> None:
    await add_in(store, JobState.COMPLETED)
    before = await events(store)

    purged = await store.purge([], until=LATER)

    assert (purged.jobs, purged.large_runs) == (0, [])
    assert await events(store) == before


async def test_jobs_are_purged_by_the_thousand(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}") for n in range(2001)), make_new_job(id="last"))
    jobs = await take(store, limit=2001)
    await asyncio.gather(*(end(store, job, output=None, output_bytes=LARGE) for job in jobs))

    steps = [await store.purge(list(JobState), until=LATER)]

    while (after := steps[-1].after) is not None:
        steps.append(await store.purge([JobState.COMPLETED], until=LATER, after=after))

    assert [step.jobs for step in steps] == [1000, 1000, 1]
    assert len({run for step in steps for run in step.large_runs}) == 2001
    assert await ids(store) == ["last"]
    assert (await store.check()).problems == []
