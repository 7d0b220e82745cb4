"""What an engine shows of many jobs at once: pages, causes, sizes, changes and past events."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from queuectl import (
    Event,
    EventKind,
    InvalidValueError,
    JobPage,
    JobState,
    JobStateError,
    QueueEngine,
)
from queuectl.engine.runtime.waiting import _pause
from queuectl.engine.store.sqlite import by_hand
from queuectl.engine.store.sqlite.store import SqliteStore
from tests.contract.test_sqlite_only import trace
from tests.waiting import wait_for_event, wait_until

HOUR = timedelta(hours=1)


def names(page: JobPage) -> list[str]:
    return [job.id for job in page.jobs]


async def told(events: AsyncIterator[Event]) -> list[tuple[str, str]]:
    """Return what happened to which job."""
    return [(event.job_id, event.kind.value) async for event in events]


async def is_listened_to(engine: QueueEngine) -> None:
    """Return when somebody waits for changes."""
    await wait_until(lambda: len(engine._life.bus._listeners) > 0)


# Pages


async def test_pages_begin_with_the_newest_job_and_say_what_follows(engine: QueueEngine) -> None:
    await engine.enqueue_many(["true"] * 5)
    ids = [job.id for job in await engine.list()]

    first = await engine.page(limit=3)
    second = await engine.page(limit=3, before=first.older)

    assert names(first) + names(second) == ids[::-1]
    assert (second.older, second.is_complete) == (None, True)


async def test_a_page_is_filtered_by_all_that_is_asked_for(engine: QueueEngine) -> None:
    await engine.enqueue("play a.mov", id="a", tags=["night"])
    await engine.enqueue("play b.mov", id="b")
    await engine.enqueue("true", id="c", tags=["night"], delay=3600)

    assert names(await engine.page(tag="night")) == ["c", "a"]
    assert names(await engine.page("pending", tag="night", search="MOV")) == ["a"]
    assert names(await engine.page(scheduled=True)) == ["c"]
    assert names(await engine.page(JobState.DEAD)) == []
    assert [job.id for job in await engine.list(search="mov")] == ["a", "b"]
    assert [job.id for job in await engine.list(search="mov", limit=1)] == ["b"]
    assert [job.id async for job in engine.iterate(search="night")] == []


async def test_an_empty_search_is_none(engine: QueueEngine) -> None:
    await engine.enqueue("true", id="a")

    assert names(await engine.page(search="")) == ["a"]


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": 0},
        {"limit": 1001},
        {"limit": 10**5000},
        {"before": -1},
        {"before": 2**63},
        {"search": "a\0b"},
        {"search": "\ud800"},
        {"search": "x" * 1001},
        {"reason": "\ud800"},
        {"state": "sleeping"},
    ],
    ids=range(10),
)
async def test_what_cannot_be_found_is_said(asked: dict[str, object], engine: QueueEngine) -> None:
    await engine.enqueue("true")

    with pytest.raises(InvalidValueError):
        await engine.page(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("before", [0, 1, 2**63 - 1])
@pytest.mark.parametrize("scheduled", [False, True])
async def test_any_place_can_be_asked_for(
    engine: QueueEngine, before: int, *, scheduled: bool
) -> None:
    await engine.enqueue("true", delay=3600)

    page = await engine.page(before=before, scheduled=scheduled)

    assert (page.older, page.is_complete) == (None, True)


# What is done by hand


async def test_a_scheduled_job_is_taken_by_a_worker_when_it_is_let_run_now(
    engine: QueueEngine,
) -> None:
    async with engine.workers():
        await engine.enqueue("true", id="later", delay=HOUR)
        [job] = await engine.run_now("later")
        done = await engine.wait("later", timeout=10)

    assert (job.state, done.state) == (JobState.PENDING, JobState.COMPLETED)

    with pytest.raises(JobStateError, match="cannot run job later: it is completed"):
        await engine.run_now("later")


async def test_dead_jobs_are_counted_retried_and_purged_by_cause(engine: QueueEngine) -> None:
    for code in (3, 4, 3):
        await engine.enqueue(f"exit {code}", max_retries=0)

    await engine.drain()

    assert [(cause.reason, cause.count) for cause in await engine.dlq.causes()] == [
        ("exit_code=3", 2),
        ("exit_code=4", 1),
    ]
    assert await engine.dlq.retry_all(reason="exit_code=4") == 1
    assert await engine.dlq.purge(reason="exit_code=4") == 0
    assert await engine.dlq.purge() == 2
    assert [job.command for job in await engine.list()] == ["exit 4"]


async def test_many_dead_jobs_are_retried_and_purged_in_many_transactions(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else other programs cannot write for as long as it takes."""
    monkeypatch.setattr(by_hand, "STEP", 2)
    assert isinstance(engine._store, SqliteStore)

    for _ in range(5):
        await engine.enqueue("seq 10000; exit 1", max_retries=0)

    await engine.drain()
    found = await trace(engine._store)

    def transactions() -> int:
        begun = found.count("BEGIN IMMEDIATE")
        found.clear()
        return begun

    assert await engine.dlq.retry_all() == 5
    assert transactions() == 3
    await engine.drain()
    transactions()
    assert await engine.dlq.purge() == 5
    assert transactions() == 3
    assert (await engine.database_info()).outputs_bytes == 0
    await engine.enqueue_many(["true"] * 5)
    transactions()
    assert await engine.purge(["pending"]) == 5
    assert transactions() == 3


async def test_a_purge_takes_the_files_of_large_outputs_along(engine: QueueEngine) -> None:
    await engine.enqueue("seq 10000; exit 1", max_retries=0)
    await engine.drain()
    before = await engine.database_info()

    await engine.dlq.purge()

    assert before.outputs_bytes == 48_894
    assert (await engine.database_info()).outputs_bytes == 0


# Sizes


async def test_the_sizes_of_a_database_are_those_of_its_files(
    engine: QueueEngine, db_path: Path
) -> None:
    empty = await engine.database_info()
    await engine.enqueue_many([f"echo {'x' * 1000}"] * 100)
    info = await engine.database_info()

    assert (empty.events, empty.oldest_event) == (0, None)
    assert (info.path, info.events) == (str(db_path), 100)
    assert info.oldest_event == (await engine.list(limit=1))[0].created_at
    assert info.size_bytes > empty.size_bytes + 100_000
    assert info.wal_bytes == db_path.with_name(f"{db_path.name}-wal").stat().st_size > 100_000
    assert info.schema_version == (await engine.check()).schema_version
    await engine.vacuum()
    tidy = await engine.database_info()
    assert (tidy.size_bytes, tidy.wal_bytes) == (db_path.stat().st_size, 0)


async def test_what_deleted_jobs_leave_is_free(engine: QueueEngine) -> None:
    await engine.enqueue_many([f"echo {'x' * 1000}"] * 100)

    await engine.purge([JobState.PENDING])

    info = await engine.database_info()
    assert 100_000 < info.free_bytes < info.size_bytes


# Changes


async def test_a_change_is_told_at_once_whoever_made_it(engine: QueueEngine, db_path: Path) -> None:
    changes = engine.changes(at_most_every=0, at_least_every=3600)

    async with QueueEngine(db_path) as other, asyncio.timeout(10):
        await anext(changes)
        await engine.enqueue("true")
        await anext(changes)
        await other.enqueue("true", id="job", delay=HOUR)
        await anext(changes)
        await other.run_now("job")
        await anext(changes)


async def test_a_change_that_was_made_while_nobody_waited_is_told(engine: QueueEngine) -> None:
    changes = engine.changes(at_most_every=0, at_least_every=3600)

    async with asyncio.timeout(10):
        await anext(changes)
        # While whoever is told draws its view, as it were.
        await engine.enqueue("true")
        await engine.enqueue("true")
        await anext(changes)


async def test_many_changes_are_not_told_oftener_than_asked_for(engine: QueueEngine) -> None:
    loop = asyncio.get_running_loop()
    changes = engine.changes(at_most_every=0.2, at_least_every=3600)

    async with asyncio.timeout(10):
        await anext(changes)
        begin = loop.time()

        for _ in range(2):
            await engine.enqueue("true")
            await anext(changes)

    # The loop's clock is a little coarser than its timers.
    assert loop.time() - begin > 0.39


async def test_where_nothing_changes_it_is_told_after_a_while(engine: QueueEngine) -> None:
    async with asyncio.timeout(10):
        async for count in _counted(engine.changes(at_most_every=0, at_least_every=0.01)):
            if count == 3:
                break


async def _counted(changes: AsyncIterator[None]) -> AsyncIterator[int]:
    count = 0

    async for _ in changes:
        yield count
        count += 1


@pytest.mark.parametrize(("most", "least"), [(-1, 1), (2, 1), (float("nan"), 1)])
async def test_times_that_contradict_each_other_are_refused(
    engine: QueueEngine, most: float, least: float
) -> None:
    with pytest.raises(InvalidValueError):
        await anext(engine.changes(at_most_every=most, at_least_every=least))


@pytest.mark.parametrize(
    ("took", "pause"),
    [(0.0, 0.25), (0.1, 0.15), (0.125, 0.125), (0.2, 0.2), (1.5, 1.5), (600.0, 2.0)],
)
def test_who_takes_long_to_look_looks_less_often(took: float, pause: float) -> None:
    assert _pause(took, 0.25, 2.0) == pytest.approx(pause)


# Past events


async def test_past_events_end_with_the_last_one(engine: QueueEngine) -> None:
    await engine.enqueue("true", id="a")
    await engine.enqueue("false", id="b", max_retries=0)
    await engine.drain()
    await engine.delete("a")

    everything = await told(engine.past_events())
    behind = await told(engine.past_events(since=4))

    assert sorted(everything) == sorted(
        [
            *(("a", kind) for kind in ("enqueued", "claimed", "completed")),
            *(("b", kind) for kind in ("enqueued", "claimed", "died")),
        ]
    )
    assert behind == everything[4:]
    assert await told(engine.past_events(last=2)) == everything[-2:]
    assert await told(engine.past_events(last=4, since=4)) == everything[4:]
    assert await told(engine.past_events(since=6)) == []


@pytest.mark.parametrize("last", [-1, 0, 100_001])
async def test_as_many_past_events_as_nobody_can_be_given_are_refused(
    engine: QueueEngine, last: int
) -> None:
    with pytest.raises(InvalidValueError, match=f"1 to 100000, not {last}"):
        await told(engine.past_events(last=last))


async def test_the_last_runs_of_a_job_are_given_with_the_one_under_way(
    engine: QueueEngine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    await engine.enqueue(f"test -e {gate} && exec sleep 60; exit 1", id="a", max_retries=0)

    for _ in range(2):
        await engine.drain()
        await engine.retry("a")

    gate.touch()
    last = await engine.last_event()

    async with engine.workers(grace=0):
        await wait_for_event(engine, EventKind.CLAIMED, since=last)
        numbers = [
            [run.number for run in await engine.attempts("a", last=last)] for last in (1, 2, 9)
        ]

    assert numbers == [[3], [2, 3], [1, 2, 3]]

    with pytest.raises(InvalidValueError, match="1 or more, not 0"):
        await engine.attempts("a", last=0)


async def test_past_events_may_be_of_one_job_even_a_deleted_one(engine: QueueEngine) -> None:
    await engine.enqueue("true", id="a")
    await engine.enqueue("true", id="b")
    await engine.drain()
    await engine.delete("a")

    of_a = [("a", "enqueued"), ("a", "claimed"), ("a", "completed")]
    assert await told(engine.past_events(job_id="a")) == of_a
    assert await told(engine.past_events(job_id="a", last=2)) == of_a[1:]
    assert await told(engine.past_events(job_id="nobody")) == []

    await engine.enqueue("true", id="a")
    assert await told(engine.past_events(job_id="a")) == [*of_a, ("a", "enqueued")]


async def test_events_of_one_job_are_followed_past_those_of_others(engine: QueueEngine) -> None:
    events = engine.events(since=0, job_id="b")
    first = asyncio.ensure_future(anext(events))
    await is_listened_to(engine)

    for name in "abc":
        await engine.enqueue("true", id=name)

    async with asyncio.timeout(10):
        event = await first
        await engine.cancel("a")
        await engine.cancel("b")
        last = await anext(events)

    assert [(each.job_id, each.kind) for each in (event, last)] == [
        ("b", EventKind.ENQUEUED),
        ("b", EventKind.CANCELLED),
    ]
