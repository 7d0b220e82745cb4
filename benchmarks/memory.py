"""How much memory a worker takes: at first, with a million jobs waiting, after a huge output."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import queues
from benchmarks.bench import MIB, Bench, CannotRunError, alternate, high_water, rows
from benchmarks.filling import large_database
from benchmarks.results import Budget, Result
from benchmarks.workers import worker

_SLOTS: Final = 4
_FEW: Final = "after a few hundred jobs"
_MANY: Final = "the same, with a million jobs waiting"
_HUGE: Final = "after a job wrote 1 GiB"
_MOST_MB: Final = 45.0
# Of the first; the allocator rounds, and threads come and go.
_MOST_TIMES: Final = 1.1
_PATIENCE: Final = 60.0


def measure(bench: Bench) -> Result:
    """Look at the high-water mark of workers that have done something."""
    jobs = bench.size(500, 50)
    size = bench.size(1024, 16) * MIB
    large = large_database(bench)
    subjects: dict[str, Callable[[], float]] = {
        _FEW: partial(_few, bench, jobs),
        _MANY: partial(_peak, large, jobs),
        _HUGE: partial(_huge, bench, size),
    }
    samples, skipped = alternate({name: subjects[name] for name in (_FEW, _MANY)}, bench.rounds)
    # A gigabyte on the disk each time: once less than the others would do.
    huge, also_skipped = alternate({_FEW: subjects[_FEW], _HUGE: subjects[_HUGE]}, 2)
    samples[_FEW].values += huge[_FEW].values
    samples[_HUGE] = huge[_HUGE]
    usual = samples[_FEW].median
    table = rows(samples, {**skipped, **also_skipped}, unit="MB")

    for row in table:
        row.ratio = row.sample.median / usual

    return Result(
        name="memory",
        title="Memory of a worker",
        how=(
            f"The high-water mark (VmHWM) of `queuectl worker start --count {_SLOTS}`, its process"
            f" alone, after {jobs} jobs `true` on a small database, after as many of a million that"
            f" wait, and after one job that wrote {size // MIB:,} MiB."
        ),
        yardstick=_FEW,
        rows=table,
        budgets=[
            Budget(
                what=f"worker memory {_FEW}",
                budget="at most 45 MB resident",
                measured=usual,
                unit="MB",
                limit=_MOST_MB,
                is_at_most=True,
            ),
            *(
                Budget(
                    what=f"worker memory {name.removeprefix('the same, ')}",
                    budget="the same (at most 1.1 times)",
                    measured=samples[name].median / usual,
                    unit="times",
                    limit=_MOST_TIMES,
                    is_at_most=True,
                )
                for name in (_MANY, _HUGE)
            ),
        ],
        curves=[],
        seconds=0.0,
    )


def _few(bench: Bench, jobs: int) -> float:
    with bench.fresh() as folder:
        database = folder / "queue.db"
        queues.enqueue(database, "true", 2 * jobs)
        return _peak(database, jobs)


def _huge(bench: Bench, size: int) -> float:
    with bench.fresh() as folder:
        database = folder / "queue.db"
        queues.enqueue(database, f"head -c {size} /dev/zero", 1)
        return _peak(database, 1)


def _peak(database: Path, jobs: int) -> float:
    """Return the most megabytes that a worker had resident until it has run so many jobs."""
    before = _finished(database)

    with worker(database, _SLOTS) as pid:
        deadline = time.monotonic() + _PATIENCE

        while _finished(database) < before + jobs:
            if time.monotonic() > deadline:
                raise CannotRunError("the worker did not run the jobs in time")

            time.sleep(0.05)

        return high_water(pid) * 1.048576


def _finished(database: Path) -> int:
    """Return how many jobs are completed, without a second engine on the database."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        [count] = connection.execute("SELECT jobs FROM counts WHERE state = 'completed'").fetchone()
        return int(count)
