"""A search: how far it goes for one page, and what the page says where that was not enough."""

import pytest

from queuectl import JobSpec, QueueEngine
from queuectl.dashboard.panes import search
from queuectl.engine.store.sqlite import pages
from tests.dashboard.serving import HTML, Served

# Jobs read for one step of a search, here; and in all.
STEP = 20
ALL = 100


@pytest.fixture(autouse=True)
async def jobs(engine: QueueEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add j0 to j99, of which one step of a search reads twenty."""
    monkeypatch.setattr(pages, "MOST_READ", STEP)
    monkeypatch.setattr(search, "STEP", STEP)
    await engine.enqueue_many([JobSpec(command=f"echo {n}.", id=f"j{n}") for n in range(ALL)])


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a search take all the time that it needs."""
    monkeypatch.setattr(search, "_PATIENCE", 3600)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a search take one step."""
    monkeypatch.setattr(search, "_PATIENCE", 0)


async def shown(site: Served, **query: str) -> str:
    return (await site.client.get("/jobs", params=query, headers={"accept": HTML})).text


@pytest.mark.usefixtures("patient")
async def test_a_search_goes_on_while_it_has_time(engine: QueueEngine) -> None:
    found = await search.look(engine, search="ECHO 1", limit=50)

    assert [job.id for job in found.page.jobs] == [*(f"j{n}" for n in range(19, 9, -1)), "j1"]
    assert (found.page.older, found.page.is_complete, found.looked) == (None, True, ALL)


@pytest.mark.usefixtures("patient")
async def test_the_steps_of_a_search_make_one_page(engine: QueueEngine) -> None:
    first = await search.look(engine, search="ECHO", limit=50)
    second = await search.look(engine, search="ECHO", limit=50, before=first.page.older)
    ids = [job.id for found in (first, second) for job in found.page.jobs]

    assert (len(first.page.jobs), first.page.is_complete) == (50, True)
    assert ids == [f"j{n}" for n in reversed(range(ALL))]


@pytest.mark.usefixtures("hurried")
async def test_a_search_that_has_no_more_time_says_how_far_it_came(engine: QueueEngine) -> None:
    found = await search.look(engine, search="ECHO 1", limit=50)

    assert (found.page.jobs, found.page.older, found.page.is_complete) == ((), 81, False)
    assert found.looked == STEP


@pytest.mark.usefixtures("patient")
async def test_a_search_for_an_id_ends_with_its_job(engine: QueueEngine) -> None:
    found = await search.look(engine, search="j0", limit=50)

    assert [job.id for job in found.page.jobs] == ["j0"]
    assert found.looked == STEP


@pytest.mark.usefixtures("hurried")
async def test_what_was_not_found_yet_is_not_said_to_be_missing(site: Served) -> None:
    page = await shown(site, search="ECHO 1")

    assert "Not found yet in the newest 20 jobs" in page
    assert "Look further" in page
    assert "No job matches" not in page


@pytest.mark.usefixtures("patient")
async def test_what_is_nowhere_is_said_to_be_missing(site: Served) -> None:
    page = await shown(site, search="nothing like that")

    assert "No job matches" in page
    assert "Look further" not in page


@pytest.mark.usefixtures("hurried")
async def test_a_job_is_found_by_its_id_at_once(site: Served) -> None:
    page = await shown(site, search="j0")

    assert 'href="/jobs/j0"' in page
    assert "20 jobs were looked at" in page
    assert "Look further" in page
