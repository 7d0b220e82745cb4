"""How large a database is for what it keeps of a job."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks import queues
from benchmarks.bench import Bench
from benchmarks.filling import fill
from benchmarks.results import Budget, Result, Row, Sample
from queuectl import QueueEngine

_SLOTS: Final = 4
_MOST: Final = 500.0


def measure(bench: Bench) -> Result:
    """Weigh a database of many finished jobs, and smaller ones whose jobs were really run."""
    many, few = bench.size(1_000_000, 20_000), bench.size(2_000, 200)

    with bench.fresh() as folder:
        large = _large(folder / "large.db", many)
        plain = _real(folder / "plain.db", few, "true")
        wordy = _real(folder / "wordy.db", few, "echo a line of some forty characters or so")

    return Result(
        name="database_size",
        title="Size of the database",
        how=(
            f"The file's size by its jobs, less that of an empty one: {many:,} finished jobs"
            " `true`, which are copies of one that was run, with its run and its events; and"
            f" {few:,} that were all run."
        ),
        yardstick="",
        rows=[
            _row(f"{many:,} finished jobs", large),
            _row(f"{few:,} finished jobs, all run", plain),
            _row(f"{few:,} finished jobs, all run, a line of output each", wordy),
        ],
        budgets=[
            Budget(
                what="database size per finished job",
                budget="at most 500 bytes",
                measured=large,
                unit="bytes",
                limit=_MOST,
                is_at_most=True,
            )
        ],
        curves=[],
        seconds=0.0,
    )


def _row(subject: str, figure: float) -> Row:
    return Row(subject=subject, unit="bytes per job", sample=Sample([figure]))


def _large(database: Path, jobs: int) -> float:
    fill(database, pending=1, finished=1)
    empty = _size(database)
    fill(database, pending=1, finished=jobs)
    return (_size(database) - empty) / (jobs - 1)


def _real(database: Path, jobs: int, command: str) -> float:
    async def run() -> None:
        async with QueueEngine(database) as engine:
            await engine.drain(_SLOTS)

    asyncio.run(run())
    empty = _size(database)
    queues.enqueue(database, command, jobs)
    asyncio.run(run())
    queues.check_all_completed(database, jobs)
    return (_size(database) - empty) / jobs


def _size(database: Path) -> int:
    """Return the bytes of the pages that are in use, wherever they are written yet."""
    with closing(sqlite3.connect(database)) as connection:
        [pages] = connection.execute("PRAGMA page_count").fetchone()
        [free] = connection.execute("PRAGMA freelist_count").fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)
