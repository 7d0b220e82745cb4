"""How far SQLite reads for a page, and which way it goes."""

import sqlite3
from datetime import timedelta

import pytest

from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.sqlite import pages
from queuectl.engine.store.sqlite.store import SqliteStore
from tests.contract.steps import EVERY_JOB, add, end, take
from tests.factories import NOW, make_new_job

MOST = 40


@pytest.fixture
def short_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read no more than 40 rows for a page."""
    monkeypatch.setattr(pages, "MOST_READ", MOST)


async def add_hundred(store: SqliteStore, *, later: bool = False) -> None:
    """Add j0 to j99, due now; or later, one second after the other."""
    await add(
        store,
        *(
            make_new_job(
                id=f"j{n}",
                run_at=NOW + (n + 1) * timedelta(seconds=later),
                is_due=not later,
            )
            for n in range(100)
        ),
    )


@pytest.mark.usefixtures("short_walks")
async def test_a_search_stops_at_its_limit_and_goes_on_behind_it(sqlite: SqliteStore) -> None:
    await add_hundred(sqlite)
    wanted = JobFilter(search="J1")
    told, before = [], None

    while True:
        page = await sqlite.page(wanted, before=before, limit=50)
        told.append(([job.id for job in page.jobs], page.is_complete))

        if (before := page.older) is None:
            break

    assert told == [
        ([], False),
        ([], False),
        ([*(f"j{n}" for n in range(19, 9, -1)), "j1"], True),
    ]


@pytest.mark.usefixtures("short_walks")
async def test_an_exact_id_is_found_at_once_however_far_behind(sqlite: SqliteStore) -> None:
    await add_hundred(sqlite)

    page = await sqlite.page(JobFilter(search="j0"), before=None, limit=50)

    assert ([job.id for job in page.jobs], page.is_complete) == (["j0"], False)


@pytest.mark.usefixtures("short_walks")
async def test_a_search_with_nothing_behind_its_limit_is_complete(sqlite: SqliteStore) -> None:
    """Else the next page would be offered, and be empty."""
    await add(sqlite, *(make_new_job(id=f"j{n}") for n in range(2 * MOST)))
    wanted = JobFilter(search="nothing like that")

    first = await sqlite.page(wanted, before=None, limit=50)
    second = await sqlite.page(wanted, before=first.older, limit=50)

    assert (first.older, first.is_complete) == (MOST + 1, False)
    assert (second.older, second.is_complete) == (None, True)


@pytest.mark.usefixtures("short_walks")
async def test_a_page_that_is_full_before_the_limit_is_complete(sqlite: SqliteStore) -> None:
    await add_hundred(sqlite)

    page = await sqlite.page(JobFilter(search="J9"), before=None, limit=5)

    assert ([job.id for job in page.jobs], page.is_complete) == (
        ["j99", "j98", "j97", "j96", "j95"],
        True,
    )


@pytest.mark.usefixtures("short_walks")
async def test_a_search_of_what_is_to_come_stops_and_goes_on_as_well(sqlite: SqliteStore) -> None:
    await add_hundred(sqlite, later=True)
    told, before = [], None

    while True:
        page = await sqlite.page_of_scheduled(
            JobFilter(search="j9"), before=before, limit=50, now=NOW
        )
        told.append((len(page.jobs), page.is_complete))

        if (before := page.older) is None:
            break

    assert told == [(1, False), (0, False), (10, True)]


@pytest.mark.usefixtures("short_walks")
@pytest.mark.parametrize("state", [JobState.PENDING, JobState.COMPLETED])
async def test_a_few_jobs_behind_many_others_are_found_at_once(
    sqlite: SqliteStore, state: JobState
) -> None:
    """Else each page of these states would read all that came behind them."""
    await add_hundred(sqlite)
    # The oldest are completed, or have given way.
    jobs = await take(sqlite, limit=5 if state is JobState.COMPLETED else 100)

    for job in jobs[5:]:
        await end(sqlite, job)

    for job in jobs[:5]:
        if state is JobState.COMPLETED:
            await end(sqlite, job)
        else:
            await sqlite.release([job], now=NOW)

    page = await sqlite.page(JobFilter(state=state), before=None, limit=5)

    assert [job.id for job in page.jobs] == ["j4", "j3", "j2", "j1", "j0"]
    assert page.is_complete


async def test_a_page_reads_as_many_rows_as_it_shows(sqlite: SqliteStore) -> None:
    await add_hundred(sqlite)
    await sqlite.page(EVERY_JOB, before=None, limit=1)
    assert sqlite._reading is not None

    def count(connection: sqlite3.Connection) -> int:
        steps = 0

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        connection.set_progress_handler(step, 1)
        pages.newest_page(connection, EVERY_JOB, None, 3)
        connection.set_progress_handler(None, 0)
        return steps

    few = await sqlite._reading.run(count)
    await add(sqlite, *(make_new_job(id=f"more-{n}") for n in range(500)))
    many = await sqlite._reading.run(count)

    assert few == many
