"""Jobs are found: by id, by state, by tag, page by page."""

import pytest

from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.states import JobState
from queuectl.engine.errors import JobNotFoundError
from queuectl.engine.store.base import JobStore
from tests.contract.steps import EVERY_JOB, add, add_in, add_one, end, take_one
from tests.factories import NOW, make_new_job


async def add_ten(store: JobStore) -> None:
    """Add j0 to j9; even ones are tagged ``even``, j0 to j2 are completed."""
    await add(
        store,
        *(make_new_job(id=f"j{n}", tags=() if n % 2 else ("even", f"t{n}")) for n in range(10)),
    )
    for _ in range(3):
        await end(store, await take_one(store))


async def test_pages_join_without_gap_or_overlap(store: JobStore) -> None:
    await add_ten(store)

    pages, after = [], 0
    while page := await store.list_jobs(EVERY_JOB, after=after, limit=4):
        pages.append([job.id for job in page])
        after = page[-1].seq

    assert pages == [["j0", "j1", "j2", "j3"], ["j4", "j5", "j6", "j7"], ["j8", "j9"]]


async def test_a_page_starts_behind_its_key_even_where_that_job_is_gone(store: JobStore) -> None:
    await add_ten(store)
    key = (await store.get("j4")).seq
    await store.delete("j4")

    page = await store.list_jobs(EVERY_JOB, after=key, limit=2)

    assert [job.id for job in page] == ["j5", "j6"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (JobFilter(state=JobState.COMPLETED), "j0 j1 j2"),
        (JobFilter(state=JobState.PENDING), "j3 j4 j5 j6 j7 j8 j9"),
        (JobFilter(state=JobState.DEAD), ""),
        (JobFilter(tag="even"), "j0 j2 j4 j6 j8"),
        (JobFilter(tag="t4"), "j4"),
        (JobFilter(tag="eve"), ""),
        (JobFilter(tag="EVEN"), ""),
        (JobFilter(tag="even", state=JobState.COMPLETED), "j0 j2"),
        (JobFilter(tag="t4", state=JobState.COMPLETED), ""),
    ],
    ids=str,
)
async def test_only_what_is_wanted_is_listed(
    store: JobStore, wanted: JobFilter, expected: str
) -> None:
    await add_ten(store)

    listed = await store.list_jobs(wanted, after=0, limit=99)
    last = await store.last_jobs(wanted, limit=99)

    assert [job.id for job in listed] == expected.split()
    assert last == listed


@pytest.mark.parametrize(
    "wanted", [JobFilter(state=JobState.PENDING), JobFilter(tag="even")], ids=str
)
async def test_filtered_pages_join_too(store: JobStore, wanted: JobFilter) -> None:
    await add_ten(store)
    whole = await store.list_jobs(wanted, after=0, limit=99)

    first = await store.list_jobs(wanted, after=0, limit=2)
    second = await store.list_jobs(wanted, after=first[-1].seq, limit=99)

    assert first + second == whole


@pytest.mark.parametrize("state", JobState)
async def test_a_job_is_listed_under_its_state(store: JobStore, state: JobState) -> None:
    job = await add_in(store, state)

    for each in JobState:
        wanted = JobFilter(state=each)
        expected = [job] if each is state else []
        assert await store.list_jobs(wanted, after=0, limit=9) == expected
        assert await store.last_jobs(wanted, limit=9) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (EVERY_JOB, ["j8", "j9"]),
        (JobFilter(state=JobState.COMPLETED), ["j1", "j2"]),
        (JobFilter(tag="even"), ["j6", "j8"]),
    ],
    ids=str,
)
async def test_the_last_jobs_are_in_order_of_arrival(
    store: JobStore, wanted: JobFilter, expected: list[str]
) -> None:
    await add_ten(store)

    jobs = await store.last_jobs(wanted, limit=2)

    assert [job.id for job in jobs] == expected


async def test_a_job_is_found_by_its_id(store: JobStore) -> None:
    job = await add_one(store, "a")

    assert await store.get("a") == job


async def test_jobs_are_found_by_their_ids_in_that_order(store: JobStore) -> None:
    await add_ten(store)

    jobs = await store.get_many(["j5", "j1", "j5", "j9"])

    assert [job.id for job in jobs] == ["j5", "j1", "j5", "j9"]
    assert await store.get_many([]) == []


async def test_who_asks_for_a_missing_job_is_told_which(store: JobStore) -> None:
    await add_one(store, "a")

    with pytest.raises(JobNotFoundError) as one:
        await store.get("b")
    with pytest.raises(JobNotFoundError) as many:
        await store.get_many(["a", "c", "d"])

    assert (one.value.job_id, many.value.job_id) == ("b", "c")


async def test_the_unfinished_are_those_that_may_still_run(store: JobStore) -> None:
    for state in (JobState.DEAD, JobState.COMPLETED, JobState.CANCELLED, JobState.FAILED):
        await add_in(store, state, state)
    await add_in(store, JobState.PROCESSING, "processing")
    await add_in(store, JobState.PENDING, "pending")

    unfinished = await store.unfinished([*JobState, "nobody"])

    assert unfinished == {"failed", "processing", "pending"}


async def test_a_job_that_has_not_run_has_no_runs(store: JobStore) -> None:
    await add_one(store)
    await take_one(store, now=NOW)

    assert await store.runs("job-1") == []
    assert await store.runs("nobody") == []
