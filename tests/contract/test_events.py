"""Every change of a state is told once, in one sequence that never goes back."""

import asyncio
import itertools
from datetime import timedelta
from pathlib import Path

import pytest

from queuectl.engine.domain.events import EventKind
from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import TRANSITIONS, JobState
from queuectl.engine.store.base import Change, JobStore
from tests.conftest import OpenStore
from tests.contract.steps import add, add_in, add_one, end, events, take, take_one
from tests.factories import NOW, make_event, make_new_job

LATER = NOW + timedelta(seconds=30)
WEEK = timedelta(days=7)


async def test_there_is_no_event_before_the_first(store: JobStore) -> None:
    assert await store.last_event() == 0
    assert await events(store) == []


async def test_an_event_tells_what_happened_to_which_job(store: JobStore) -> None:
    await add_one(store, "a")

    assert await events(store) == [make_event(job_id="a", seq=await store.last_event())]


async def test_a_whole_life_is_a_chain_of_legal_moves(store: JobStore) -> None:
    await add_one(store, max_retries=1)
    for at in (NOW, LATER):
        await end(store, await take_one(store, now=at), OutcomeKind.FAILED, now=at)
    await store.retry(["job-1"], frozenset({JobState.DEAD}), now=LATER)
    await store.release([await take_one(store, now=LATER)], now=LATER)
    await end(store, await take_one(store, now=LATER), now=LATER)

    states = [event.state for event in await events(store)]

    assert states[0] is JobState.PENDING
    assert all(new in TRANSITIONS[old] for old, new in itertools.pairwise(states))
    assert states[-1] is JobState.COMPLETED
    assert len(states) == 10


async def test_events_are_read_from_behind_a_number_in_order(store: JobStore) -> None:
    await add(store, *(make_new_job(id=f"j{n}") for n in range(5)))
    everything = await events(store)

    first = await store.events(since=0, limit=2)
    rest = await store.events(since=first[-1].seq, limit=99)

    assert first + rest == everything
    assert [event.job_id for event in everything] == [f"j{n}" for n in range(5)]
    assert everything[-1].seq == await store.last_event()
    assert await store.events(since=everything[-1].seq, limit=99) == []


async def test_the_sequence_goes_on_after_everything_was_taken_away(store: JobStore) -> None:
    await add_in(store, JobState.COMPLETED)
    last = await store.last_event()

    await store.purge(list(JobState), until=LATER)
    while await store.prune(now=LATER + WEEK, retention=WEEK):
        pass
    assert await events(store) == []
    assert await store.last_event() == last
    await add_one(store, "new")

    [event] = await store.events(since=last, limit=9)
    assert event.seq > last


async def test_the_sequence_goes_on_in_a_database_that_was_closed(
    store: JobStore, opened: OpenStore, db_path: Path
) -> None:
    await add_in(store, JobState.COMPLETED)
    last = await store.last_event()
    while await store.prune(now=LATER + WEEK, retention=WEEK):
        pass
    await store.vacuum()
    await store.close()

    again = await opened(db_path)

    await add_one(again, "new")
    assert [event.seq > last for event in await events(again)] == [True]


async def test_a_refused_operation_leaves_no_gap_that_hides_an_event(store: JobStore) -> None:
    await add_one(store, "a")

    await asyncio.gather(
        *(add_one(store, name) for name in ("b", "a", "c")), return_exceptions=True
    )

    told = await events(store)
    assert [event.job_id for event in told] == ["a", "b", "c"]
    assert told[-1].seq == await store.last_event()


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (JobState.PENDING, EventKind.ENQUEUED),
        (JobState.PROCESSING, EventKind.CLAIMED),
        (JobState.COMPLETED, EventKind.COMPLETED),
        (JobState.FAILED, EventKind.FAILED),
        (JobState.DEAD, EventKind.DIED),
        (JobState.CANCELLED, EventKind.CANCELLED),
    ],
)
async def test_the_last_event_names_the_state_that_the_job_is_in(
    store: JobStore, state: JobState, kind: EventKind
) -> None:
    job = await add_in(store, state)

    event = (await events(store))[-1]

    assert (event.kind, event.state, event.attempt) == (kind, job.state, job.run_count)


async def test_a_commit_is_hinted_at_after_it_was_made(store: JobStore) -> None:
    hints: list[Change] = []
    store.on_commit(hints.append)

    await add_one(store)
    await take(store)
    await store.cancel("job-1", None, now=NOW)

    assert len(hints) == 3
    assert Change.WORK in hints[0]
    assert Change.ORDERS in hints[2]


async def test_what_changes_nothing_is_not_hinted_at(store: JobStore) -> None:
    hints: list[Change] = []
    store.on_commit(hints.append)

    await take(store)
    await add(store)
    await store.release([], now=NOW)
    await store.purge(list(JobState), until=NOW)
    await events(store)

    assert hints == []
