"""Many at once, in one process and in several: nothing twice, nothing lost, nobody stuck."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import EngineClosedError, StoreBusyError
from queuectl.engine.store.base import JobStore
from tests.conftest import OpenStore
from tests.contract.processes import other_process
from tests.contract.steps import (
    add,
    add_one,
    end,
    events,
    everything,
    ids,
    take,
    true_counts,
)
from tests.factories import NOW, make_new_job


async def take_all(store: JobStore, worker: int) -> list[str]:
    """Claim a few at a time until there is nothing."""
    taken: list[str] = []

    while jobs := await take(store, worker, limit=3):
        taken += [job.id for job in jobs]

    return taken


async def test_stores_on_one_file_claim_no_job_twice(
    store: JobStore, opened: OpenStore, db_path: Path
) -> None:
    names = {f"j{n}" for n in range(300)}
    await add(store, *(make_new_job(id=name) for name in sorted(names)))
    stores = [store] + [await opened(db_path) for _ in range(5)]

    shares = await asyncio.gather(
        *(take_all(each, worker) for worker, each in enumerate(stores, 1))
    )

    taken = [name for share in shares for name in share]
    assert len(taken) == len(names)
    assert set(taken) == names
    assert len(await events(store)) == 2 * len(names)


async def test_processes_on_one_file_claim_no_job_twice(store: JobStore, db_path: Path) -> None:
    names = {f"j{n}" for n in range(300)}
    await add(store, *(make_new_job(id=name) for name in sorted(names)))

    async with AsyncExitStack() as stack:
        others = [
            await stack.enter_async_context(other_process("claim", db_path, worker))
            for worker in (2, 3, 4)
        ]
        mine, words = await asyncio.gather(
            take_all(store, 1), asyncio.gather(*(other.go() for other in others))
        )

    shares = [mine, *(each.split() for each in words)]
    taken = [name for share in shares for name in share]
    assert len(taken) == len(names)
    assert set(taken) == names
    for worker, share in enumerate(shares, 1):
        assert {job.id for job in await store.held_jobs(worker)} == set(share)


async def test_one_id_asked_for_by_many_is_given_once(
    store: JobStore, opened: OpenStore, db_path: Path
) -> None:
    stores = [store] + [await opened(db_path) for _ in range(3)]

    results = await asyncio.gather(*(add_one(each) for each in stores * 5), return_exceptions=True)

    names = sorted(type(result).__name__ for result in results)
    assert names == ["DuplicateJobError"] * 19 + ["Job"]
    assert await ids(store) == ["job-1"]


async def test_one_run_ended_by_many_ends_once(
    store: JobStore, opened: OpenStore, db_path: Path
) -> None:
    stores = [store] + [await opened(db_path) for _ in range(3)]
    await add_one(store)
    [job] = await take(store)

    ended = await asyncio.gather(*(end(each, job) for each in stores * 5))

    assert sum(ended) == 1
    assert len(await store.runs(job.id)) == 1
    assert [event.kind.value for event in await events(store)] == [
        "enqueued",
        "claimed",
        "completed",
    ]


async def test_a_commit_is_seen_by_every_store_at_once(
    store: JobStore, opened: OpenStore, db_path: Path
) -> None:
    other = await opened(db_path)
    assert await everything(other) == []

    job = await add_one(store)

    assert await other.get("job-1") == job


async def test_everything_at_once_adds_up(
    store: JobStore, opened: OpenStore, db_path: Path
) -> None:
    stores = [store] + [await opened(db_path) for _ in range(2)]

    async def live(each: JobStore, worker: int) -> None:
        for n in range(20):
            await add_one(each, f"{worker}-{n}")
            for job in await take(each, worker, limit=2):
                await end(each, job)

    await asyncio.gather(*(live(each, worker) for worker, each in enumerate(stores * 2, 1)))

    counts = (await store.stats(now=NOW)).counts
    assert counts == await true_counts(store)
    assert sum(counts.values()) == 120
    assert counts[JobState.PROCESSING] == 0
    assert (await store.check()).problems == []


async def test_cancelled_callers_leave_nothing_open_and_nobody_waiting(
    store: JobStore, db_path: Path
) -> None:
    async with other_process("insert", db_path, "other") as other:
        async with anyio.create_task_group() as callers:
            for n in range(300):
                callers.start_soon(add_one, store, f"j{n}")
            # One turn of the loop: all have asked, and none is answered yet.
            await asyncio.sleep(0)
            callers.cancel_scope.cancel()

        # It waits for a lock as long as any process does, and needs to wait for none.
        with anyio.fail_after(3):
            await other.go()

    # Answered behind whatever the cancelled ones asked for.
    assert (await add_one(store, "after")).id == "after"
    names = await ids(store)
    assert "other" in names
    assert len(names) == len(set(names)) <= 302
    assert len(await events(store)) == len(names)
    assert (await store.check()).problems == []


async def test_a_claim_whose_caller_was_cancelled_is_whole(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}") for n in range(50)))

    async with anyio.create_task_group() as callers:
        for worker in range(1, 11):
            callers.start_soon(take, store, worker)
        await asyncio.sleep(0)
        callers.cancel_scope.cancel()

    # Answered behind whatever the cancelled ones asked for.
    await add_one(store, "after")
    held = [await store.held_jobs(worker) for worker in range(1, 11)]
    counts = (await store.stats(now=NOW)).counts
    assert counts[JobState.PROCESSING] == sum(map(len, held))
    assert counts == await true_counts(store)


async def test_operations_are_answered_in_the_order_in_which_they_were_asked(
    store: JobStore,
) -> None:
    results = await asyncio.gather(
        add_one(store, "a"),
        take(store, 1),
        add_one(store, "b"),
        take(store, 2),
    )

    assert [job.id for job in results[1]] == ["a"]
    assert [job.id for job in results[3]] == ["b"]


async def test_closing_answers_what_was_asked_before(store: JobStore) -> None:
    async with anyio.create_task_group() as callers:
        answers: list[str] = []

        async def ask(name: str) -> None:
            answers.append((await add_one(store, name)).id)

        for n in range(10):
            callers.start_soon(ask, f"j{n}")
        await asyncio.sleep(0)
        await store.close()

    assert sorted(answers) == [f"j{n}" for n in range(10)]


async def test_a_closed_store_says_so_and_may_be_closed_again(store: JobStore) -> None:
    await store.close()

    with pytest.raises(EngineClosedError):
        await add_one(store)
    await store.close()


async def test_a_store_waits_for_another_process_that_is_soon_done(
    store: JobStore, db_path: Path
) -> None:
    async with (
        other_process("hold", db_path, "DELETE FROM settings") as other,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(add_one, store)
        await other.go()

    assert await ids(store) == ["job-1"]


async def test_reading_does_not_wait_for_a_writer(store: JobStore, db_path: Path) -> None:
    await add_one(store)

    async with other_process("hold", db_path, "DELETE FROM settings"):
        with anyio.fail_after(3):
            assert await ids(store) == ["job-1"]
            assert (await store.stats(now=NOW)).counts[JobState.PENDING] == 1


@pytest.mark.usefixtures("impatient")
async def test_a_lock_that_is_held_too_long_is_an_error_that_changes_nothing(
    opened: OpenStore, db_path: Path
) -> None:
    store = await opened(db_path)

    async with other_process("hold", db_path, "DELETE FROM settings") as other:
        with pytest.raises(StoreBusyError) as caught:
            await add_one(store)
        await other.go()

    assert caught.value.database == str(db_path)
    assert caught.value.hint is not None
    assert await everything(store) == []
    assert (await add_one(store)).id == "job-1"
