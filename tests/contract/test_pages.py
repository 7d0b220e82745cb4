"""Pages of jobs: the newest in front, or the next that is due; searched, filtered, joined."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.looks import JobPage
from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import JobStore
from tests.contract.steps import EVERY_JOB, add, add_due_at, add_in, add_one, end, take, take_one
from tests.factories import NOW, make_new_job

MINUTE = timedelta(minutes=1)


async def pages_of(
    store: JobStore, wanted: JobFilter = EVERY_JOB, *, limit: int = 3
) -> list[list[str]]:
    """Return the ids on each page."""
    pages, before = [], None

    while True:
        page = await store.page(wanted, before=before, limit=limit)
        pages.append(names(page))
        assert page.is_complete
        before = page.older

        if before is None:
            return pages


async def found(store: JobStore, wanted: JobFilter) -> list[str]:
    """Return the ids of the jobs that are wanted, all on one page."""
    [page] = await pages_of(store, wanted, limit=999)
    return page


async def scheduled(
    store: JobStore, wanted: JobFilter = EVERY_JOB, *, limit: int = 99, before: int | None = None
) -> JobPage:
    """Return a page of what is to come."""
    return await store.page_of_scheduled(wanted, before=before, limit=limit, now=NOW)


def names(page: JobPage) -> list[str]:
    return [job.id for job in page.jobs]


async def add_ten(store: JobStore) -> None:
    """Add j0 to j9; even ones are tagged ``even``, j0 to j2 are completed."""
    await add(
        store, *(make_new_job(id=f"j{n}", tags=() if n % 2 else ("even",)) for n in range(10))
    )

    for _ in range(3):
        await end(store, await take_one(store))


async def test_the_newest_is_in_front_and_pages_join_without_gap_or_overlap(
    store: JobStore,
) -> None:
    await add_ten(store)

    assert await pages_of(store, limit=4) == [
        ["j9", "j8", "j7", "j6"],
        ["j5", "j4", "j3", "j2"],
        ["j1", "j0"],
    ]


async def test_a_last_page_that_is_full_says_that_it_is_the_last(store: JobStore) -> None:
    await add_ten(store)

    assert await pages_of(store, limit=5) == [
        ["j9", "j8", "j7", "j6", "j5"],
        ["j4", "j3", "j2", "j1", "j0"],
    ]


async def test_an_empty_queue_has_one_empty_page(store: JobStore) -> None:
    assert await store.page(EVERY_JOB, before=None, limit=5) == JobPage(
        jobs=(), older=None, is_complete=True
    )
    assert await scheduled(store) == JobPage(jobs=(), older=None, is_complete=True)


async def test_jobs_that_come_between_two_pages_change_nothing_on_the_second(
    store: JobStore,
) -> None:
    await add_ten(store)
    first = await store.page(EVERY_JOB, before=None, limit=4)
    await add_one(store, "new")
    await store.delete("j6")

    second = await store.page(EVERY_JOB, before=first.older, limit=4)

    assert names(second) == ["j5", "j4", "j3", "j2"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (JobFilter(state=JobState.COMPLETED), "j2 j1 j0"),
        (JobFilter(state=JobState.PENDING), "j9 j8 j7 j6 j5 j4 j3"),
        (JobFilter(state=JobState.DEAD), ""),
        (JobFilter(tag="even"), "j8 j6 j4 j2 j0"),
        (JobFilter(tag="eve"), ""),
        (JobFilter(tag="even", state=JobState.COMPLETED), "j2 j0"),
        (JobFilter(search="J3"), "j3"),
        (JobFilter(search="j", tag="even", state=JobState.PENDING), "j8 j6 j4"),
        (JobFilter(search="nothing like that"), ""),
        (JobFilter(reason="exit_code=1"), ""),
    ],
    ids=str,
)
async def test_only_what_is_wanted_is_on_a_page(
    store: JobStore, wanted: JobFilter, expected: str
) -> None:
    await add_ten(store)

    for limit in (1, 2, 99):
        pages = await pages_of(store, wanted, limit=limit)

        assert [name for page in pages for name in page] == expected.split()


@pytest.mark.parametrize("state", JobState)
async def test_a_job_is_on_the_pages_of_its_state_and_on_no_other(
    store: JobStore, state: JobState
) -> None:
    job = await add_in(store, state)

    for each in JobState:
        page = await store.page(JobFilter(state=each), before=None, limit=9)
        assert page.jobs == ((job,) if each is state else ())


async def test_a_job_of_many_runs_is_on_one_page_once(store: JobStore) -> None:
    await add_one(store, max_retries=9)

    for minute in range(4):
        at = NOW + minute * MINUTE
        await end(store, await take_one(store, now=at), OutcomeKind.FAILED, now=at)

    at = NOW + 10 * MINUTE
    await end(store, await take_one(store, now=at), now=at)
    await add_in(store, JobState.COMPLETED, "job-2")

    assert await pages_of(store, JobFilter(state=JobState.COMPLETED), limit=1) == [
        ["job-2"],
        ["job-1"],
    ]


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("movie", "c b"),
        ("MOVIE", "c b"),
        ("100%", "b"),
        ("%", "b"),
        ("_", "d"),
        ("\\", "e"),
        ("x\ny", "f"),
        ("exit_code", "d"),
        ("it's", "g"),
        ("größe", "h"),
        ("ab.c", "ab.c"),
    ],
)
async def test_a_search_finds_the_text_as_it_is_in_command_id_and_reason(
    store: JobStore, search: str, expected: str
) -> None:
    await add_in(store, JobState.DEAD, "d")

    for name, command in {
        "a": "true",
        "b": "play Movie at 100%",
        "c": "cut movie",
        "e": r"printf '\0'",
        "f": "x\ny",
        "g": 'echo "it\'s"',
        "h": "echo größe",
        "ab.c": "true",
    }.items():
        await add_one(store, name, command=command)

    assert await found(store, JobFilter(search=search)) == expected.split()


async def test_the_job_of_the_id_that_is_searched_is_in_front_and_on_one_page_only(
    store: JobStore,
) -> None:
    await add_ten(store)
    await add(store, *(make_new_job(id=f"j1-{n}") for n in range(3)))
    wanted = JobFilter(search="j1")

    assert await pages_of(store, wanted, limit=1) == [["j1"], ["j1-2"], ["j1-1"], ["j1-0"]]
    assert await pages_of(store, wanted, limit=2) == [["j1", "j1-2"], ["j1-1", "j1-0"]]
    assert await pages_of(store, wanted, limit=9) == [["j1", "j1-2", "j1-1", "j1-0"]]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (JobFilter(search="j0", state=JobState.COMPLETED), "j0"),
        (JobFilter(search="j0", state=JobState.DEAD), ""),
        (JobFilter(search="j0", tag="even"), "j0"),
        (JobFilter(search="j1", tag="even"), ""),
        (JobFilter(search="j0", reason="timeout"), ""),
    ],
    ids=str,
)
async def test_the_job_of_the_id_that_is_searched_is_asked_for_the_rest_too(
    store: JobStore, wanted: JobFilter, expected: str
) -> None:
    await add_ten(store)

    assert await found(store, wanted) == expected.split()


async def test_a_reason_is_matched_exactly(store: JobStore) -> None:
    await add_in(store, JobState.DEAD, "one")
    await add_one(store, "other", max_retries=0)
    await end(store, await take_one(store), OutcomeKind.FAILED, reason="exit_code=127")
    await add_one(store, "silent", max_retries=0)
    await end(store, await take_one(store), OutcomeKind.FAILED)

    async def dead(reason: str) -> list[str]:
        return await found(store, JobFilter(state=JobState.DEAD, reason=reason))

    assert await dead("exit_code=1") == ["one"]
    assert await dead("exit_code=127") == ["other"]
    assert await dead("") == ["silent"]


@pytest.mark.parametrize(
    "wanted",
    [JobFilter(search="j"), JobFilter(search="7"), JobFilter(search="J", tag="even")],
    ids=str,
)
async def test_a_list_can_be_searched_too(store: JobStore, wanted: JobFilter) -> None:
    await add_ten(store)
    newest_first = await found(store, wanted)

    listed = await store.list_jobs(wanted, after=0, limit=99)
    first = await store.list_jobs(wanted, after=0, limit=1)
    rest = await store.list_jobs(wanted, after=first[-1].seq, limit=99)
    last = await store.last_jobs(wanted, limit=2)

    assert [job.id for job in listed] == newest_first[::-1]
    assert first + rest == listed
    assert last == listed[-2:]


# What is to come


async def test_what_is_to_come_is_shown_soonest_first(store: JobStore) -> None:
    for name, minutes in {"c": 3, "a": 1, "b": 2, "now": 0, "past": -5}.items():
        await add_due_at(store, name, NOW + minutes * MINUTE)

    assert names(await scheduled(store)) == ["a", "b", "c"]


async def test_a_failed_job_that_waits_for_its_retry_is_to_come(store: JobStore) -> None:
    job = await add_in(store, JobState.FAILED)

    assert (await scheduled(store)).jobs == (job,)


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.FAILED}))
async def test_other_jobs_are_not_to_come(store: JobStore, state: JobState) -> None:
    await add_in(store, state)

    assert (await scheduled(store)).jobs == ()


async def test_a_job_whose_time_has_come_is_not_to_come_though_no_claim_has_seen_it(
    store: JobStore,
) -> None:
    await add_due_at(store, "a", NOW + MINUTE)

    page = await store.page_of_scheduled(EVERY_JOB, before=None, limit=9, now=NOW + MINUTE)

    assert page.jobs == ()


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_pages_of_what_is_to_come_join_though_many_are_due_together(
    store: JobStore, limit: int
) -> None:
    for name, minutes in zip("abcdefg", (2, 1, 1, 1, 1, 1, 3), strict=True):
        await add_due_at(store, name, NOW + minutes * MINUTE)

    pages, before = [], None

    while True:
        page = await scheduled(store, limit=limit, before=before)
        pages.append(names(page))

        if (before := page.older) is None:
            break

    assert [name for page in pages for name in page] == list("bcdefag")
    assert all(len(page) == limit for page in pages[:-1])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (JobFilter(state=JobState.PENDING), ["a", "b"]),
        (JobFilter(state=JobState.FAILED), ["job-1"]),
        (JobFilter(tag="red"), ["b"]),
        (JobFilter(search="exit_code"), ["job-1"]),
        (JobFilter(state=JobState.DEAD), []),
    ],
    ids=str,
)
async def test_what_is_to_come_can_be_filtered(
    store: JobStore, wanted: JobFilter, expected: list[str]
) -> None:
    await add_in(store, JobState.FAILED)
    await add_one(store, "a", run_at=NOW + MINUTE, is_due=False)
    await add_one(store, "b", run_at=NOW + 2 * MINUTE, is_due=False, tags=("red",))

    assert names(await scheduled(store, wanted)) == expected


async def delete_it(store: JobStore, job_id: str) -> None:
    await store.delete(job_id)


async def run_it_now(store: JobStore, job_id: str) -> None:
    await store.run_now([job_id], now=NOW)


async def cancel_it(store: JobStore, job_id: str) -> None:
    await store.cancel(job_id, None, now=NOW)


@pytest.mark.parametrize("change", [delete_it, run_it_now, cancel_it])
async def test_no_job_is_left_out_where_the_last_of_a_page_is_taken_away(
    store: JobStore, change: Callable[[JobStore, str], object]
) -> None:
    for name, minutes in zip("abcd", (1, 2, 3, 4), strict=True):
        await add_due_at(store, name, NOW + minutes * MINUTE)

    first = await scheduled(store, limit=2)
    await change(store, "b")  # type: ignore[misc]
    second = await scheduled(store, before=first.older)

    assert names(first) == ["a", "b"]
    assert {"c", "d"} <= set(names(second)) <= {"a", "c", "d"}


async def test_no_job_is_left_out_where_the_last_of_a_page_ran_and_waits_again(
    store: JobStore,
) -> None:
    await add_due_at(store, "a", NOW + MINUTE)
    await add_due_at(store, "b", NOW + MINUTE + timedelta(seconds=1))
    first = await scheduled(store, limit=1)
    # Its retry is due two seconds later: behind b.
    [job] = await take(store, limit=1, now=NOW + MINUTE)
    await end(store, job, OutcomeKind.FAILED, now=NOW + MINUTE)

    second = await store.page_of_scheduled(EVERY_JOB, before=first.older, limit=9, now=NOW + MINUTE)

    assert (names(first), names(second)) == (["a"], ["b", "a"])
