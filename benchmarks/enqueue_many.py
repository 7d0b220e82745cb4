"""Many jobs through the library at once."""

import sqlite3
import time
from contextlib import closing
from functools import partial
from typing import Final

import msgspec

from benchmarks import queues
from benchmarks.bench import Bench, alternate, child_script, rows, run_command
from benchmarks.results import Budget, Result
from queuectl import JobState

_MANY: Final = "QueueEngine.enqueue_many"
_BARE: Final = "sqlite3 executemany, four columns, one index"
_LEAST: Final = 100_000


def measure(bench: Bench) -> Result:
    """Add jobs in one call, in turns with the least that SQLite can be asked to do."""
    jobs = bench.size(100_000, 2_000)
    subjects = {_BARE: partial(_bare, bench, jobs), _MANY: partial(_many, bench, jobs)}
    samples, skipped = alternate(subjects, bench.rounds)
    return Result(
        name="enqueue_many",
        title="Bulk enqueue in the library",
        how=(
            f"{jobs:,} `JobSpec`s in one call, from the call to its return, when they are on the"
            " disk. The yardstick is one `executemany` of as many rows of a number, an id, a"
            " command and a time, with the id's index, and its commit, at the same durability."
        ),
        yardstick=_BARE,
        rows=rows(samples, skipped, unit="jobs/s", yardstick=_BARE),
        budgets=[
            Budget(
                what="`enqueue_many` in the library",
                budget="at least 100,000 jobs/s",
                measured=samples[_MANY].median,
                unit="jobs/s",
                limit=_LEAST,
                is_at_most=False,
            )
        ],
        curves=[],
        seconds=0.0,
    )


def _many(bench: Bench, jobs: int) -> float:
    with bench.fresh() as folder:
        database = folder / "queue.db"
        argv = child_script("engine_child.py", "enqueue-many", str(database), str(jobs))
        found = msgspec.json.decode(run_command(argv).stdout, type=dict[str, float])
        queues.check_all(database, jobs, JobState.PENDING)

    return jobs / found["seconds"]


def _bare(bench: Bench, jobs: int) -> float:
    rows_to_add = [(n, f"{n:020d}", f"echo {n}", n) for n in range(jobs)]

    with (
        bench.fresh() as folder,
        closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection,
    ):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "CREATE TABLE jobs (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, command TEXT, at INTEGER)"
        )
        begun = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO jobs VALUES (?, ?, ?, ?)", rows_to_add)
        connection.execute("COMMIT")
        return jobs / (time.perf_counter() - begun)
