"""Jobs come in: all or none, as they were asked for."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from queuectl.engine.domain.models import NewJob
from queuectl.engine.domain.settings import Settings
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import DuplicateJobError, InvalidJobError
from queuectl.engine.store.base import JobStore
from tests.contract.steps import add, add_one, events, everything, history, ids, take
from tests.factories import NOW, make_new_job

ODD_JOBS = [
    make_new_job(id="plain"),
    make_new_job(id="A.b_c:d-9" + "x" * 119),
    make_new_job(id="text", command="printf 'ä\n\t\x1b[31m☃ %s\\n' \"$X\"; # '; DROP TABLE jobs"),
    make_new_job(id="long", command="x" * 120 * 1024),
    make_new_job(id="env", env={"A": "", "B": "a=b\nc ☃", "_": "'\""}),
    make_new_job(id="tags", tags=("b", "a", "☃ snow", "%_'")),
    make_new_job(id="low", priority=-2_147_483_647, max_retries=0, backoff_base=0.0),
    make_new_job(id="high", priority=2_147_483_647, max_retries=1_000_000, backoff_base=1.5),
    make_new_job(id="ever", timeout=None, cwd="/tmp/with space/ä"),  # noqa: S108 (only a name)
    make_new_job(id="short", timeout=timedelta(milliseconds=1)),
    make_new_job(id="later", run_at=NOW + timedelta(days=3650), is_due=False),
    make_new_job(id="past", run_at=NOW - timedelta(days=36500)),
    make_new_job(id="exact", run_at=NOW + timedelta(microseconds=1), is_due=False),
]


async def test_a_new_job_is_pending_and_has_never_run(store: JobStore) -> None:
    job = await add_one(store, priority=7, max_retries=2, tags=("a",))

    assert job.state is JobState.PENDING
    assert (job.attempts, job.run_count, job.worker) == (0, 0, None)
    assert (job.priority, job.max_retries, job.tags) == (7, 2, ("a",))
    assert (job.created_at, job.updated_at, job.run_at) == (NOW, NOW, NOW)
    assert (job.started_at, job.finished_at, job.duration) == (None, None, None)


async def test_every_job_comes_back_as_it_went_in(store: JobStore) -> None:
    inserted = await add(store, *ODD_JOBS)

    assert inserted == await everything(store)
    assert [job.command for job in inserted] == [job.command for job in ODD_JOBS]
    assert [job.env for job in inserted] == [job.env for job in ODD_JOBS]
    assert [job.tags for job in inserted] == [job.tags for job in ODD_JOBS]
    assert [job.timeout for job in inserted] == [job.timeout for job in ODD_JOBS]


async def test_a_timeout_below_a_millisecond_is_returned_as_it_is_kept(store: JobStore) -> None:
    inserted = await add_one(store, timeout=timedelta(microseconds=1500))

    assert inserted == await store.get("job-1")


async def test_jobs_arrive_in_the_order_in_which_they_are_given(store: JobStore) -> None:
    first = await add(store, *(make_new_job(id=f"a{n}") for n in range(5)))
    second = await add(store, *(make_new_job(id=f"b{n}") for n in range(5)))

    numbers = [job.seq for job in first + second]
    assert numbers == sorted(set(numbers))
    assert await ids(store) == [f"a{n}" for n in range(5)] + [f"b{n}" for n in range(5)]


async def test_inserting_nothing_changes_nothing(store: JobStore) -> None:
    assert await add(store) == []

    assert await events(store) == []


async def test_a_taken_id_refuses_the_whole_input_and_every_taken_one_is_named(
    store: JobStore,
) -> None:
    before = await add(store, make_new_job(id="a"), make_new_job(id="b"))

    with pytest.raises(DuplicateJobError) as caught:
        await add(store, *(make_new_job(id=name, command="new") for name in "xbya"))

    assert caught.value.job_ids == ["a", "b"]
    assert await everything(store) == before
    assert len(await events(store)) == 2


async def test_an_id_that_stands_twice_in_the_input_is_a_duplicate(store: JobStore) -> None:
    with pytest.raises(DuplicateJobError) as caught:
        await add(store, *(make_new_job(id=name) for name in "xyx"))

    assert caught.value.job_ids == ["x"]
    assert await everything(store) == []


async def test_ids_differ_where_only_their_case_differs(store: JobStore) -> None:
    await add(store, make_new_job(id="a"), make_new_job(id="A"))

    assert await ids(store) == ["a", "A"]


async def test_jobs_are_made_from_the_config_as_it_stands(store: JobStore) -> None:
    await store.write_setting("priority", "7")

    def make(settings: Settings) -> Sequence[NewJob]:
        return [make_new_job(priority=settings.priority)]

    [job] = await store.insert(make, now=NOW)
    assert job.priority == 7


async def test_an_error_while_jobs_are_made_reaches_the_caller_and_nobody_else(
    store: JobStore,
) -> None:
    def make(_: Settings) -> Sequence[NewJob]:
        raise InvalidJobError("is empty", field="command")

    results = await asyncio.gather(
        add_one(store, "before"),
        store.insert(make, now=NOW),
        add_one(store, "after"),
        return_exceptions=True,
    )

    assert isinstance(results[1], InvalidJobError)
    assert await ids(store) == ["before", "after"]
    assert [event.job_id for event in await events(store)] == ["before", "after"]


async def test_a_refused_input_does_not_touch_its_neighbours(store: JobStore) -> None:
    await add_one(store, "taken")

    results = await asyncio.gather(
        *(add_one(store, name) for name in ("a", "taken", "b", "a", "c")), return_exceptions=True
    )

    assert [type(result).__name__ for result in results] == [
        "Job",
        "DuplicateJobError",
        "Job",
        "DuplicateJobError",
        "Job",
    ]
    assert await ids(store) == ["taken", "a", "b", "c"]
    assert len(await events(store)) == 4


async def test_a_sequence_number_is_never_used_again(store: JobStore) -> None:
    job = await add_one(store, "a")
    await store.delete("a")

    again = await add_one(store, "a")

    assert again.seq > job.seq


async def test_a_job_that_is_inserted_as_claimed_is_offered_to_nobody(store: JobStore) -> None:
    job = await store.insert_claimed(lambda _: make_new_job(), worker=3, now=NOW)

    assert (job.state, job.worker) == (JobState.PROCESSING, "w3")
    assert (job.attempts, job.run_count) == (1, 1)
    assert await take(store) == []
    assert await store.held_jobs(3) == [job]
    assert await history(store) == ["enqueued", "claimed"]


async def test_a_taken_id_is_refused_where_the_job_would_be_claimed_too(store: JobStore) -> None:
    await add_one(store)

    with pytest.raises(DuplicateJobError):
        await store.insert_claimed(lambda _: make_new_job(), worker=3, now=NOW)

    assert await history(store) == ["enqueued"]
