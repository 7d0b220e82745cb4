"""What happens is counted in the transaction that makes it, and found again by period."""

import asyncio
import sqlite3
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import pytest

from queuectl.engine.domain.activity import PERIODS, Activity, Point, Totals
from queuectl.engine.domain.models import Job, OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import JobStore
from queuectl.engine.store.sqlite import figures
from queuectl.engine.store.sqlite.store import SqliteStore
from tests.contract.steps import (
    RUN_TIME,
    add,
    add_in,
    add_one,
    decided,
    end,
    make_run,
    take,
    take_one,
)
from tests.factories import NOW, make_new_job

SECOND: Final = timedelta(seconds=1)
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)


async def lately(
    store: JobStore,
    period: timedelta = MINUTE,
    *,
    after: timedelta = timedelta(),
    tag: str | None = None,
) -> Activity:
    """Return what happened in a period, looked at some time after `NOW`."""
    found = (await store.stats(now=NOW + after, tag=tag)).activity
    assert [each.period for each in found] == list(PERIODS.values())
    return next(each for each in found if each.period == period)


async def run_one(
    store: JobStore,
    job_id: str,
    kind: OutcomeKind = OutcomeKind.COMPLETED,
    *,
    waits: timedelta = SECOND,
    took: timedelta = RUN_TIME,
    tags: tuple[str, ...] = (),
) -> Job:
    """Add a job, and let it run once; it ends with `NOW`."""
    due = NOW - took - waits
    await add_one(store, job_id, tags=tags, max_retries=0, run_at=due, created_at=due)
    job = await take_one(store)
    run = make_run(kind, at=NOW - took, took=took)
    assert await store.finish(job, decided(job, kind), run, now=NOW)
    return job


async def test_nothing_has_happened_in_an_empty_queue(store: JobStore) -> None:
    found = await lately(store, DAY)

    assert (found.enqueued, found.ended, found.died, found.wait, found.duration) == (
        0,
        0,
        0,
        None,
        None,
    )


@pytest.mark.parametrize("tag", [None, "nightly"])
async def test_a_run_is_counted_with_its_wait_and_its_time(
    store: JobStore, tag: str | None
) -> None:
    await run_one(store, "a", waits=3 * SECOND, took=5 * SECOND, tags=("nightly",))

    found = await lately(store, tag=tag)

    assert (found.enqueued, found.ended, found.completed, found.failed) == (1, 1, 1, 0)
    assert found.wait is not None
    assert found.duration is not None
    assert (found.wait.count, found.wait.p50) == (1, 3 * SECOND)
    assert (found.duration.count, found.duration.p99) == (1, 5 * SECOND)


@pytest.mark.parametrize("kind", OutcomeKind)
@pytest.mark.parametrize("tag", [None, "nightly"])
async def test_every_outcome_is_counted_by_its_name(
    store: JobStore, kind: OutcomeKind, tag: str | None
) -> None:
    await run_one(store, "a", kind, tags=("nightly",))

    found = await lately(store, tag=tag)

    assert found.runs == {**dict.fromkeys(OutcomeKind, 0), kind: 1}


@pytest.mark.parametrize("tag", [None, "nightly"])
async def test_a_job_that_used_up_its_retries_died(store: JobStore, tag: str | None) -> None:
    await run_one(store, "a", OutcomeKind.FAILED, tags=("nightly",))
    await run_one(store, "b", tags=("nightly",))

    found = await lately(store, tag=tag)

    assert (found.died, found.failed, found.ended) == (1, 1, 2)


async def test_results_of_one_transaction_are_all_counted(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}") for n in range(300)))
    jobs = await take(store, limit=300)

    await asyncio.gather(*(end(store, job) for job in jobs))

    found = await lately(store)
    assert (found.enqueued, found.completed) == (300, 300)


async def test_a_result_that_comes_too_late_is_not_counted(store: JobStore) -> None:
    job = await run_one(store, "a")

    assert not await end(store, job)

    assert (await lately(store)).ended == 1


async def test_a_job_that_is_refused_is_not_counted(store: JobStore) -> None:
    await asyncio.gather(
        *(add_one(store, name) for name in ("a", "a", "b")), return_exceptions=True
    )

    assert (await lately(store)).enqueued == 2


async def test_the_last_minute_is_told_to_two_seconds(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}") for n in range(60)))

    counts = [(await lately(store, after=after * SECOND)).enqueued for after in (59, 60, 61, 62)]

    assert counts == [60, 60, 30, 0]


async def test_of_the_minute_in_which_an_hour_begins_a_part_is_taken(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}") for n in range(60)))

    counts = [
        (await lately(store, HOUR, after=HOUR + after * SECOND)).enqueued
        for after in (-1, 1, 30, 59, 60)
    ]

    assert counts == [60, 59, 30, 1, 0]


@pytest.mark.parametrize("tag", [None, "nightly"])
async def test_what_is_older_than_a_period_is_not_in_it(store: JobStore, tag: str | None) -> None:
    await run_one(store, "a", tags=("nightly",))

    minute, hour, day = [
        (await lately(store, period, after=2 * HOUR, tag=tag)).ended
        for period in (MINUTE, HOUR, DAY)
    ]
    gone = await lately(store, DAY, after=DAY + HOUR, tag=tag)

    assert (minute, hour, day, gone.ended) == (0, 0, 1, 0)


async def test_what_a_clock_that_was_set_back_has_still_before_it_is_not_told(
    store: JobStore,
) -> None:
    await run_one(store, "a", tags=("nightly",))

    assert (await lately(store, after=-HOUR)).ended == 0
    assert (await lately(store, after=-HOUR, tag="nightly")).ended == 0


async def test_a_run_that_ends_before_it_starts_took_no_time(store: JobStore) -> None:
    await run_one(store, "a", waits=-HOUR, took=-HOUR, tags=("nightly",))

    for tag in (None, "nightly"):
        found = (await lately(store, tag=tag)).duration
        assert found is not None
        assert found.p99 == timedelta()


async def test_a_time_before_a_job_was_there_is_no_wait(store: JobStore) -> None:
    await add_one(store, run_at=NOW - DAY, created_at=NOW - 3 * SECOND, tags=("nightly",))
    job = await take_one(store)
    run = make_run(at=NOW - SECOND, took=SECOND)
    await store.finish(job, decided(job, OutcomeKind.COMPLETED), run, now=NOW)

    for tag in (None, "nightly"):
        found = (await lately(store, tag=tag)).wait
        assert found is not None
        assert found.p50 == 2 * SECOND


async def test_with_a_tag_only_its_jobs_are_told_of(store: JobStore) -> None:
    await run_one(store, "a", tags=("nightly", "other"))
    await run_one(store, "b", OutcomeKind.FAILED, tags=("other",))
    await add_one(store, "c", tags=("nightly",), run_at=NOW - SECOND)
    await add_one(store, "d", run_at=NOW - MINUTE)

    stats = await store.stats(now=NOW, tag="nightly")

    assert {state: count for state, count in stats.counts.items() if count} == {
        JobState.COMPLETED: 1,
        JobState.PENDING: 1,
    }
    assert (stats.avg_duration, stats.oldest_pending) == (RUN_TIME, SECOND)
    assert (stats.activity[0].enqueued, stats.activity[0].ended) == (2, 1)


async def test_a_tag_that_nothing_has_is_an_empty_queue(store: JobStore) -> None:
    await run_one(store, "a", tags=("nightly",))

    stats = await store.stats(now=NOW, tag="nobody")

    assert stats.counts == dict.fromkeys(JobState, 0)
    assert (stats.avg_duration, stats.oldest_pending) == (None, None)
    assert [each.ended for each in stats.activity] == [0, 0, 0]


async def test_every_run_has_waited_with_a_tag_too(store: JobStore) -> None:
    begin = NOW - HOUR
    await add_one(store, tags=("nightly",), max_retries=3, run_at=begin, created_at=begin)
    failed = await take_one(store)
    run = make_run(OutcomeKind.FAILED, at=NOW - SECOND, took=SECOND)
    await store.finish(failed, decided(failed, OutcomeKind.FAILED), run, now=NOW)
    # It has another due time now, and is not finished.
    await store.cancel("job-1", None, now=NOW)

    every = (await lately(store, tag=None)).wait
    found = (await lately(store, tag="nightly")).wait

    assert every is not None
    assert found is not None
    assert (found.count, found.p50, found.p99) == (every.count, every.p50, every.p99)
    assert found.p50 > HOUR / 2


async def test_jobs_with_a_tag_are_read_some_at_a_time_and_others_in_between(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, kind in enumerate([OutcomeKind.COMPLETED, OutcomeKind.FAILED] * 4):
        await run_one(sqlite, f"j{n}", kind, tags=("nightly",))

    await add_one(sqlite, "late", tags=("nightly",), run_at=NOW - SECOND)
    whole = await sqlite.stats(now=NOW, tag="nightly")
    monkeypatch.setattr(figures, "_JOBS", 2)

    reading = asyncio.create_task(sqlite.stats(now=NOW, tag="nightly"))
    await asyncio.sleep(0)
    await sqlite.get("j0")

    assert not reading.done()
    assert await reading == whole
    assert (whole.activity[0].ended, whole.oldest_pending) == (8, SECOND)


async def test_runs_of_jobs_that_nothing_has_happened_to_lately_are_not_read(
    sqlite: SqliteStore,
) -> None:
    for n in range(50):
        await run_one(sqlite, f"j{n}", tags=("nightly",))

    await sqlite.get("j0")
    assert sqlite._reading is not None

    def count(connection: sqlite3.Connection, now: datetime) -> int:
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        connection.set_progress_handler(step, 1)
        figures.StatsOfTag("nightly", now).read_some(connection)
        connection.set_progress_handler(None, 0)
        return steps

    then, later = [
        await sqlite._reading.run(partial(count, now=now)) for now in (NOW, NOW + 2 * DAY)
    ]

    assert later < then * 0.6


# History


async def history(
    store: JobStore, *, after: timedelta = timedelta(), step: timedelta = MINUTE, steps: int = 3
) -> list[Point]:
    return await store.history(now=NOW + after, step=step, steps=steps)


async def test_a_history_has_every_step_the_one_that_goes_on_last(store: JobStore) -> None:
    await run_one(store, "a")
    await run_one(store, "b", OutcomeKind.TIMED_OUT)

    points = await history(store, after=MINUTE + SECOND)

    assert points == [
        Point(at=NOW - MINUTE, enqueued=0, completed=0, failed=0),
        Point(at=NOW, enqueued=2, completed=1, failed=1),
        Point(at=NOW + MINUTE, enqueued=0, completed=0, failed=0),
    ]


async def test_steps_stay_where_they_are_while_time_goes_on(store: JobStore) -> None:
    await run_one(store, "a")

    early, late = [
        await history(store, after=minutes * MINUTE, step=30 * MINUTE, steps=48)
        for minutes in (0, 29)
    ]

    assert early == late
    assert (len(early), early[-1].at, early[-1].completed) == (48, NOW, 1)


# Totals


async def total(store: JobStore) -> Totals:
    return await store.totals()


async def test_totals_are_of_all_that_happened_since_the_database_was_made(
    store: JobStore,
) -> None:
    await run_one(store, "a")
    await run_one(store, "b", OutcomeKind.FAILED)
    await store.retry(["b"], frozenset({JobState.DEAD}), now=NOW)

    found = await total(store)

    assert (found.since, found.enqueued, found.died, found.retried) == (NOW, 2, 1, 1)
    assert found.runs[OutcomeKind.COMPLETED].seconds == RUN_TIME.total_seconds()
    assert found.runs[OutcomeKind.FAILED].count == 1
    assert found.wait.count == 2


async def test_a_failed_run_that_leaves_its_job_a_retry_is_counted_and_no_other_is(
    store: JobStore,
) -> None:
    for name in ("a", "b", "c"):
        await add_one(store, name, max_retries=int(name != "c"))

    failed, cancelled, died = await take(store, limit=3)
    await store.cancel(cancelled.id, None, now=NOW)

    for job in (failed, cancelled, died):
        await end(store, job, OutcomeKind.FAILED)

    found = await total(store)
    assert (found.failed, found.rescheduled, found.died, found.retried) == (3, 1, 1, 0)


async def test_dead_jobs_that_are_retried_together_are_counted(store: JobStore) -> None:
    for name in ("a", "b", "c"):
        await add_in(store, JobState.DEAD, name)

    await store.retry_dead(now=NOW)

    assert (await total(store)).retried == 3


async def test_totals_do_not_fall_when_jobs_and_minutes_go(store: JobStore) -> None:
    await run_one(store, "a")
    await run_one(store, "b", OutcomeKind.FAILED)
    before = await total(store)

    await store.purge(list(JobState), until=NOW)
    assert await store.needs_pruning(now=NOW + 2 * DAY, retention=None)
    assert not await store.prune(now=NOW + 2 * DAY, retention=None)

    assert await total(store) == before
    assert (await lately(store, DAY, after=HOUR)).ended == 0
    await run_one(store, "c")
    assert (await total(store)).enqueued == 3
