"""Times survive to the millisecond, and nothing runs early."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.store.base import JobStore
from tests.contract.steps import add_due_at, add_one, end, events, take, take_one
from tests.factories import NOW

MICROSECOND = timedelta(microseconds=1)
MILLISECOND = timedelta(milliseconds=1)
TIMES = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
    datetime(2026, 11, 21, 9, 0, 0, 1000, tzinfo=UTC),
    datetime(2026, 11, 21, 9, 0, 0, 999000, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
]


@pytest.mark.parametrize("moment", TIMES, ids=str)
async def test_a_millisecond_survives_the_round_trip(store: JobStore, moment: datetime) -> None:
    await add_one(store, run_at=moment, created_at=moment)

    job = await store.get("job-1")

    assert (job.run_at, job.created_at, job.updated_at) == (moment, moment, moment)
    assert job.run_at.tzinfo is UTC


async def test_every_time_of_a_life_survives(store: JobStore) -> None:
    claimed_at, ended_at = NOW + 7 * MILLISECOND, NOW + 1001 * MILLISECOND
    await add_one(store)
    running = await take_one(store, now=claimed_at)
    await end(store, running, OutcomeKind.FAILED, now=ended_at)

    job = await store.get("job-1")

    assert running.started_at == claimed_at
    assert (job.started_at, job.updated_at) == (ended_at, ended_at)
    assert job.run_at == ended_at + timedelta(seconds=2)
    assert [event.at for event in await events(store)] == [NOW, claimed_at, ended_at]


async def test_times_in_other_zones_are_the_same_moments(store: JobStore) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))

    await add_one(store, run_at=NOW.astimezone(zone), created_at=NOW.astimezone(zone))

    job = await store.get("job-1")
    assert (job.run_at, job.run_at.utcoffset()) == (NOW, timedelta())


@pytest.mark.parametrize("beyond", [MICROSECOND, 500 * MICROSECOND, 999 * MICROSECOND])
async def test_a_job_is_not_claimed_a_microsecond_early(store: JobStore, beyond: timedelta) -> None:
    due = NOW + beyond
    await add_due_at(store, "job-1", due)

    early = await take(store, now=due - MICROSECOND)
    on_time = await take(store, now=NOW + MILLISECOND)

    assert early == []
    assert [job.id for job in on_time] == ["job-1"]
    assert on_time[0].run_at >= due


async def test_the_next_due_time_is_never_too_early(store: JobStore) -> None:
    due = NOW + timedelta(seconds=1) + MICROSECOND
    await add_due_at(store, "job-1", due)

    claim = await store.claim(1, 1, now=NOW)

    assert claim.next_due is not None
    assert due <= claim.next_due < due + MILLISECOND
    assert len(await take(store, now=claim.next_due)) == 1


async def test_a_retry_is_not_claimed_early(store: JobStore) -> None:
    ended_at = NOW + 300 * MICROSECOND
    await add_one(store)
    await end(store, await take_one(store), OutcomeKind.FAILED, now=ended_at)
    due = ended_at + timedelta(seconds=2)

    assert await take(store, now=due - MICROSECOND) == []
    assert len(await take(store, now=due + MILLISECOND)) == 1


async def test_a_clock_that_is_set_back_does_not_lose_what_was_due(store: JobStore) -> None:
    await add_one(store, "now")
    await add_due_at(store, "later", NOW + timedelta(hours=1))

    past = await store.claim(1, 9, now=NOW - timedelta(days=1))

    assert [job.id for job in past.jobs] == ["now"]
    assert past.next_due == NOW + timedelta(hours=1)
