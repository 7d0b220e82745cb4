"""What is too old goes, a little at a time, and whoever asks for it is told."""

from datetime import timedelta
from typing import Final

import pytest

from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import EventsPrunedError, InvalidValueError
from queuectl.engine.store.base import Change, JobStore
from tests.contract.steps import add, add_in, add_one, end, events, take, take_one
from tests.factories import NOW, make_new_job

WEEK: Final = timedelta(days=7)
HOUR: Final = timedelta(hours=1)
MOMENT: Final = timedelta(milliseconds=1)


async def prune(store: JobStore, *, after: timedelta, retention: timedelta | None = WEEK) -> int:
    """Take away all that is too old; return in how many transactions."""
    now, times = NOW + after, 1

    while await store.prune(now=now, retention=retention):
        times += 1

    assert not await store.needs_pruning(now=now, retention=retention)
    return times


async def test_events_outlive_their_jobs_and_keep_the_id(store: JobStore) -> None:
    await add_in(store, JobState.COMPLETED, "purged")
    await add_in(store, JobState.DEAD, "deleted")
    before = await events(store)

    await store.purge([JobState.COMPLETED], until=NOW + HOUR)
    await store.delete("deleted")

    assert await events(store) == before
    assert {event.job_id for event in before} == {"purged", "deleted"}


async def test_an_id_that_is_used_again_has_the_events_of_both_jobs(store: JobStore) -> None:
    await add_in(store, JobState.COMPLETED, "a")
    await store.delete("a")
    await add_one(store, "a")

    assert [event.kind.value for event in await events(store)] == [
        "enqueued",
        "claimed",
        "completed",
        "enqueued",
    ]


async def test_events_are_kept_for_as_long_as_is_said(store: JobStore) -> None:
    await add_one(store, "a")
    await add(store, make_new_job(id="b"), now=NOW + MOMENT)
    [old, young] = await events(store)

    await prune(store, after=WEEK)
    assert await events(store) == [old, young]

    assert await store.needs_pruning(now=NOW + WEEK + MOMENT, retention=WEEK)
    await prune(store, after=WEEK + MOMENT)
    assert await events(store) == [young]


async def test_where_events_are_kept_for_ever_none_goes(store: JobStore) -> None:
    await add_one(store)

    await prune(store, after=100 * WEEK, retention=None)

    assert len(await events(store)) == 1


async def test_thousands_of_events_go_in_small_transactions(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}") for n in range(2500)))

    assert await prune(store, after=2 * WEEK) >= 3
    assert await events(store) == []


async def test_a_day_of_minutes_goes_in_small_transactions(store: JobStore) -> None:
    for minute in range(0, 1500, 20):
        at = NOW + minute * timedelta(minutes=1)
        await add(store, make_new_job(id=f"j{minute}"), now=at)

    assert await prune(store, after=WEEK, retention=None) > 15
    assert (await store.totals()).enqueued == 75


async def test_what_is_looked_back_at_is_kept(store: JobStore) -> None:
    for hours in range(24):
        await add(store, make_new_job(id=f"j{hours}"), now=NOW + hours * HOUR)

    await prune(store, after=23 * HOUR)

    stats = await store.stats(now=NOW + 23 * HOUR)
    assert [each.enqueued for each in stats.activity] == [1, 2, 24]


async def test_the_events_of_a_job_that_is_deleted_go_in_their_time(store: JobStore) -> None:
    await add_in(store, JobState.COMPLETED, "a")
    await store.delete("a")
    await add(store, make_new_job(id="b"), now=NOW + WEEK)

    await prune(store, after=WEEK + HOUR)

    assert [event.job_id for event in await events(store)] == ["b"]
    assert (await store.check()).problems == []


async def test_an_event_of_a_clock_that_was_far_ahead_keeps_no_other(store: JobStore) -> None:
    await add(store, make_new_job(id="ahead"), now=NOW + 1000 * WEEK)
    await add_one(store, "old")
    await add(store, make_new_job(id="young"), now=NOW + WEEK)

    await prune(store, after=WEEK + HOUR)

    assert [event.job_id for event in await events(store)] == ["young"]


async def test_thousands_of_events_that_are_far_ahead_go_with_an_old_one_behind_them(
    store: JobStore,
) -> None:
    ahead = [make_new_job(id=f"ahead{n}") for n in range(2500)]
    await add(store, *ahead, now=NOW + 1000 * WEEK)
    await add_one(store, "old")
    await add(store, make_new_job(id="ahead"), now=NOW + 1000 * WEEK)
    await add(store, make_new_job(id="young"), now=NOW + WEEK)

    await prune(store, after=WEEK)
    assert len(await events(store)) == 2503

    await prune(store, after=WEEK + HOUR)
    assert [event.job_id for event in await events(store)] == ["ahead", "young"]


async def test_a_clock_that_is_far_behind_takes_nothing_away(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}") for n in range(3)))
    before = await events(store)

    await prune(store, after=-1000 * WEEK)
    assert await events(store) == before

    # By that clock this one is young, and those in front of it are not.
    await add(store, make_new_job(id="behind"), now=NOW - 1000 * WEEK)
    await prune(store, after=-1000 * WEEK + HOUR)
    assert len(await events(store)) == 4

    await add_one(store, "when it is right again")
    await prune(store, after=HOUR)
    assert len(await events(store)) == 5


async def test_an_event_that_is_a_little_ahead_stays(store: JobStore) -> None:
    await add(store, make_new_job(id="ahead"), now=NOW + HOUR)

    await prune(store, after=timedelta())

    assert len(await events(store)) == 1


async def test_an_event_of_a_clock_that_was_far_behind_takes_no_other_along(
    store: JobStore,
) -> None:
    await add_one(store, "a")
    await add(store, make_new_job(id="behind"), now=NOW - 1000 * WEEK)
    await add_one(store, "b")

    await prune(store, after=HOUR)

    assert [event.job_id for event in await events(store)] == ["a", "behind", "b"]


async def test_whoever_asks_for_events_that_are_gone_is_told(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"old{n}") for n in range(3)))
    await add(store, make_new_job(id="young"), now=NOW + WEEK)
    await prune(store, after=WEEK + HOUR)

    with pytest.raises(EventsPrunedError) as caught:
        await store.events(since=2, limit=9)

    assert (caught.value.since, caught.value.oldest) == (2, 4)
    assert [event.seq for event in await store.events(since=3, limit=9)] == [4]
    assert [event.seq for event in await store.events(since=0, limit=9)] == [4]


async def test_where_all_events_are_gone_only_who_has_seen_the_last_goes_on(
    store: JobStore,
) -> None:
    await add(store, *(make_new_job(id=f"old{n}") for n in range(3)))
    await prune(store, after=2 * WEEK)

    with pytest.raises(EventsPrunedError) as caught:
        await store.events(since=2, limit=9)

    assert caught.value.oldest == 4
    assert await store.events(since=3, limit=9) == []
    assert await store.last_event() == 3


@pytest.mark.parametrize("job_id", [None, "job-1"])
async def test_a_number_that_no_event_has_had_yet_is_of_another_database(
    store: JobStore, job_id: str | None
) -> None:
    with pytest.raises(InvalidValueError, match="no event number 1 yet, the last is 0"):
        await store.events(since=1, limit=9, job_id=job_id)

    await add_one(store)

    assert await store.events(since=1, limit=9, job_id=job_id) == []
    with pytest.raises(InvalidValueError, match="no event number 2 yet, the last is 1"):
        await store.events(since=2, limit=9, job_id=job_id)


async def test_nobody_is_told_of_what_is_taken_away(store: JobStore) -> None:
    await add_one(store)
    await end(store, await take_one(store), OutcomeKind.COMPLETED)
    hints: list[Change] = []
    store.on_commit(hints.append)

    await prune(store, after=2 * WEEK)

    assert hints == []


async def test_what_is_taken_away_leaves_the_jobs_alone(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}") for n in range(3)))
    running = await take(store, limit=1)

    await prune(store, after=100 * WEEK)

    assert (await store.stats(now=NOW)).counts[JobState.PENDING] == 2
    assert await end(store, running[0])
