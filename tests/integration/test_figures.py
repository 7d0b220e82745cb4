"""What an engine tells of the queue as a whole, and what workers take away in time."""

import asyncio
import itertools
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from queuectl import (
    Event,
    EventsPrunedError,
    InvalidValueError,
    JobSpec,
    JobState,
    OutcomeKind,
    QueueEngine,
    StoreError,
)
from queuectl.engine.runtime.services import PRUNE_INTERVAL
from queuectl.engine.store.base import JobStore
from queuectl.engine.testing import FakeClock
from tests.waiting import wait_until

DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)


async def kept(engine: QueueEngine) -> list[Event]:
    """Return every event that is kept."""
    return await engine._store.events(since=0, limit=1000)


async def run_one(engine: QueueEngine, command: str = "true") -> None:
    """Add a job, and run it."""
    await engine.enqueue(command, max_retries=0, tags=("nightly",))
    await engine.drain()


async def test_what_happened_is_told_by_every_engine_on_the_database(
    engine: QueueEngine, db_path: Path
) -> None:
    await run_one(engine)
    await run_one(engine, "exit 3")

    async with QueueEngine(db_path) as other:
        minute, hour, day = (await other.stats()).activity
        totals = await other.totals()
        points = await other.history()

    assert minute.period < hour.period < day.period
    assert (hour.enqueued, hour.completed, hour.failed, hour.died) == (2, 1, 1, 1)
    assert hour.wait is not None
    assert hour.duration is not None
    assert (hour.wait.count, hour.duration.count) == (2, 2)
    assert (totals.enqueued, totals.died) == (2, 1)
    assert totals.runs[OutcomeKind.FAILED].count == 1
    assert sum(point.completed for point in points) == 1


async def test_with_a_tag_the_figures_are_of_its_jobs(engine: QueueEngine) -> None:
    await run_one(engine)
    await engine.enqueue("true")
    await engine.drain()

    stats = await engine.stats(tag="nightly")

    assert stats.counts[JobState.COMPLETED] == 1
    assert stats.activity[-1].completed == 1


async def test_a_history_is_of_the_last_hour_by_the_minute_unless_it_is_said_otherwise(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    hour, day = await still_engine.history(), await still_engine.history(DAY, steps=96)

    assert (len(hour), len(day)) == (60, 96)
    assert hour[-1].at <= clock.now() < hour[-1].at + timedelta(minutes=1)
    assert {later.at - point.at for point, later in itertools.pairwise(day)} == {
        timedelta(minutes=15)
    }


@pytest.mark.parametrize(
    ("period", "steps", "words"),
    [
        (timedelta(hours=1), 0, "steps of whole minutes"),
        (timedelta(hours=1), -1, "steps of whole minutes"),
        (timedelta(hours=1), 61, "steps of whole minutes"),
        (timedelta(seconds=30), 1, "steps of whole minutes"),
        (DAY, 1440, "steps of whole quarters of an hour"),
        (timedelta(), 1, "one day at the most"),
        (-DAY, 1, "one day at the most"),
        (2 * DAY, 1, "one day at the most"),
    ],
    ids=str,
)
async def test_a_history_that_cannot_be_told_is_refused(
    engine: QueueEngine, period: timedelta, steps: int, words: str
) -> None:
    with pytest.raises(InvalidValueError, match=words):
        await engine.history(period, steps=steps)


async def test_a_worker_takes_away_old_events_when_it_starts_and_now_and_then(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    await run_one(still_engine)
    clock.advance(WEEK + DAY)

    async with still_engine.workers():
        await wait_until(lambda: is_empty(still_engine))
        await still_engine.enqueue("true", id="later", delay=10 * WEEK)
        assert [event.job_id for event in await kept(still_engine)] == ["later"]

        # Twice: that the service waits is not seen from here.
        async def pass_on() -> bool:
            clock.advance(WEEK + timedelta(seconds=PRUNE_INTERVAL))
            return not await kept(still_engine)

        await wait_until(pass_on)


async def test_a_queue_whose_jobs_are_only_run_here_keeps_no_old_events_either(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    await still_engine.enqueue_many(["true"] * 3)
    clock.advance(WEEK + DAY)

    async with still_engine.run_here(JobSpec(command="true", id="here")):
        pass

    assert {event.job_id for event in await kept(still_engine)} == {"here"}


async def is_empty(engine: QueueEngine) -> bool:
    """Whether no event is kept."""
    return not await kept(engine)


async def test_thousands_of_old_events_go_bit_by_bit(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    await still_engine.enqueue_many(["true"] * 2500)
    await still_engine.purge([JobState.PENDING])
    clock.advance(2 * WEEK)

    async with still_engine.workers():

        async def pass_on() -> bool:
            clock.advance(0.05)
            return not await kept(still_engine)

        await wait_until(pass_on)


async def test_events_are_kept_for_as_long_as_the_config_says(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    await run_one(still_engine)
    await still_engine.config.set("event-retention", "0")
    clock.advance(100 * WEEK)
    await still_engine.drain()
    assert len(await kept(still_engine)) == 3

    await still_engine.config.set("event-retention", "1h")
    async with still_engine.workers():
        await wait_until(lambda: is_empty(still_engine))


async def test_a_follower_that_comes_back_too_late_is_told_that_it_missed_some(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    await run_one(still_engine)
    clock.advance(2 * WEEK)
    async with still_engine.workers():
        await wait_until(lambda: is_empty(still_engine))

    with pytest.raises(EventsPrunedError) as caught:
        await anext(still_engine.events(since=1))

    assert (caught.value.since, caught.value.oldest) == (1, 4)


async def test_all_that_is_kept_is_listed_while_the_oldest_go(
    still_engine: QueueEngine, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuectl.engine.figures._PAGE", 2)
    await still_engine.enqueue_many(["true"] * 5)
    clock.advance(WEEK)
    await still_engine.enqueue_many(["true"] * 3)
    clock.advance(1)
    everything, some = still_engine.past_events(), still_engine.past_events(since=1)
    assert [(await anext(everything)).seq for _ in range(2)] == [1, 2]
    assert [(await anext(some)).seq for _ in range(2)] == [2, 3]

    await still_engine._store.prune(now=clock.now(), retention=WEEK)

    assert [event.seq async for event in everything] == [6, 7, 8]
    with pytest.raises(EventsPrunedError):
        await anext(some)


async def test_who_follows_what_happens_now_is_not_disturbed_by_what_goes(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    await run_one(still_engine)
    events = still_engine.events(since=await still_engine.last_event())
    following = asyncio.ensure_future(anext(events))
    clock.advance(2 * WEEK)

    async with still_engine.workers():
        await wait_until(lambda: is_empty(still_engine))
        job = await still_engine.enqueue("true", delay=WEEK)

    assert (await asyncio.wait_for(following, 5)).job_id == job.id


async def test_events_of_a_purged_job_are_followed_from_the_beginning(
    engine: QueueEngine,
) -> None:
    job = await engine.enqueue("true")
    await engine.drain()
    await engine.purge()

    events = engine.events(since=0)

    assert [(await anext(events)).job_id for _ in range(3)] == [job.id] * 3


async def test_a_worker_goes_on_where_old_events_cannot_be_deleted(
    still_engine: QueueEngine,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuse(_: JobStore, *, now: datetime, retention: timedelta | None) -> bool:
        del now, retention
        raise StoreError("/x/queue.db", "the disk is full")

    await run_one(still_engine)
    clock.advance(2 * WEEK)
    monkeypatch.setattr(type(still_engine._store), "prune", refuse)

    async with still_engine.workers():
        await wait_until(lambda: "cannot delete old events" in caplog.text)
        job = await still_engine.enqueue("true")
        assert (await still_engine.wait(job.id, timeout=10)).state is JobState.COMPLETED


@pytest.mark.parametrize("since", [-1, 2**63, 1.5, True, "1"])
async def test_a_number_that_no_event_can_have_is_refused_with_a_word(
    since: Any, still_engine: QueueEngine
) -> None:
    for events in (still_engine.events(since=since), still_engine.past_events(since=since)):
        with pytest.raises(InvalidValueError, match="since must be "):
            await anext(events)
