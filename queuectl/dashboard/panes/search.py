"""A search for jobs that goes on for a while: step by step, so that others are not kept waiting."""

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from queuectl import Job, JobPage, JobState, QueueEngine

# How many jobs the engine reads for a page at the most, and so in one step of a search.
STEP: Final = 50_000

# Seconds after which a search takes no further step: a step takes a tenth of one.
_PATIENCE: Final = 1.0


class Found(NamedTuple):
    """
    What a search found.

    Attributes:
        page: As the engine gives it, of all steps together.
        looked: How many jobs were looked at, about.
    """

    page: "JobPage"
    looked: int


async def look(
    engine: "QueueEngine",
    state: "JobState | None" = None,
    *,
    tag: str | None = None,
    search: str | None = None,
    reason: str | None = None,
    before: int | None = None,
    limit: int,
) -> Found:
    """
    Return a page of jobs, as `QueueEngine.page` does, but look further while there is time.

    Where nothing is searched for, it is one step: that page follows what happens. So it
    is where the job is there whose id was searched for.

    Raises:
        InvalidValueError: What was asked for makes no sense.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + _PATIENCE
    jobs: tuple[Job, ...] = ()
    steps = 0

    while True:
        page = await engine.page(
            state,
            tag=tag,
            search=search,
            reason=reason,
            before=before,
            limit=limit - len(jobs),
        )
        jobs += page.jobs
        steps += 1
        is_search = search is not None or reason is not None
        is_answered = not is_search or any(job.id == search for job in jobs)

        if page.is_complete or is_answered or len(jobs) == limit or loop.time() >= until:
            return Found(msgspec.structs.replace(page, jobs=jobs), steps * STEP)

        before = page.older
