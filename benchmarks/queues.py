"""Jobs put into a database before something is measured, and what became of them."""

import asyncio
from pathlib import Path

from benchmarks.bench import CannotRunError
from queuectl import JobSpec, JobState, QueueEngine


def enqueue(database: Path, command: str, jobs: int, *, max_output_bytes: int = 0) -> None:
    """Add so many jobs that run one command, of which each is run once."""

    async def add() -> None:
        spec = JobSpec(command=command, cwd="/", max_retries=0, max_output_bytes=max_output_bytes)

        async with QueueEngine(database) as engine:
            await engine.enqueue_many([spec] * jobs)

    asyncio.run(add())


def count(database: Path, state: JobState = JobState.COMPLETED) -> int:
    """Return how many jobs are in a state."""

    async def look() -> int:
        async with QueueEngine(database) as engine:
            return (await engine.stats()).counts[state]

    return asyncio.run(look())


def check_all_completed(database: Path, jobs: int) -> None:
    """See that a run was a run; errors as `check_all`."""
    check_all(database, jobs, JobState.COMPLETED)


def check_all(database: Path, jobs: int, state: JobState) -> None:
    """
    See that so many jobs are in a state.

    Raises:
        CannotRunError: There are more or fewer.
    """
    found = count(database, state)

    if found != jobs:
        raise CannotRunError(f"{found} jobs are {state}, not {jobs}")
