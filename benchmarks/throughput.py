"""How many jobs a second queuectl runs, beside a program that only starts processes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import queues
from benchmarks.bench import (
    Bench,
    alternate,
    child_script,
    queuectl,
    ratio,
    rows,
    run_command,
)
from benchmarks.results import Budget, Result

SLOTS: Final = 4
XARGS: Final = f"xargs -P{SLOTS}"

_COMMAND_LINE: Final = "queuectl worker start --count 4 --drain"
_PROCESSES: Final = "queuectl worker start --count 4 --processes 2 --drain"
_LIBRARY: Final = "QueueEngine.drain(4), without its start"
_BARE: Final = "asyncio.create_subprocess_shell, four at once, and nothing else"


def measure(bench: Bench) -> Result:
    """Run thousands of jobs that do nothing, in turns with xargs."""
    jobs = bench.size(3000, 200)
    subjects: dict[str, Callable[[], float]] = {
        XARGS: partial(xargs_rate, bench, jobs),
        _COMMAND_LINE: partial(worker_rate, bench, jobs),
        _PROCESSES: partial(worker_rate, bench, jobs, "--processes=2"),
        _LIBRARY: partial(_library_rate, bench, jobs),
        _BARE: partial(_bare_rate, jobs),
    }
    samples, skipped = alternate(subjects, bench.rounds)
    return Result(
        name="throughput",
        title="Jobs per second",
        how=(
            f"{jobs:,} jobs `true`, enqueued before, through {SLOTS} slots, nothing weakened; from"
            " the start of the process to its end, so that the start of Python, the opening of"
            " the database and its closing are included, except where the line says otherwise."
            f" The yardstick is `{XARGS}` over `sh -c true`, which keeps nothing."
        ),
        yardstick=XARGS,
        rows=rows(samples, skipped, unit="jobs/s", yardstick=XARGS),
        budgets=[
            Budget(
                what="jobs per second, 4 slots, `true`",
                budget="at least 0.90 of xargs, 0.75 as the floor",
                measured=ratio(samples[_COMMAND_LINE], samples[XARGS]) or 0.0,
                unit="of xargs",
                limit=0.90,
                is_at_most=False,
            ),
            Budget(
                what="the same, two processes",
                budget="not slower than one (0.97, for noise)",
                measured=ratio(samples[_PROCESSES], samples[_COMMAND_LINE]) or 0.0,
                unit="of one process",
                limit=0.97,
                is_at_most=False,
            ),
        ],
        curves=[],
        seconds=0.0,
    )


def xargs_rate(bench: Bench, jobs: int) -> float:
    """Return the jobs per second of xargs; `sh` ignores the word that it is given."""
    with bench.fresh() as folder:
        words = folder / "words"
        words.write_text("x\n" * jobs, encoding="ascii")
        argv = ["xargs", f"-P{SLOTS}", "-n1", "sh", "-c", "true"]
        return jobs / run_command(argv, stdin=words).seconds


def worker_rate(bench: Bench, jobs: int, *switches: str) -> float:
    """Return the jobs per second of the program, from its start to its end."""
    with bench.fresh() as folder:
        database = _filled(folder, jobs)
        words = ["worker", "start", f"--count={SLOTS}", "--drain", "--quiet", *switches]
        seconds = run_command(queuectl(database, *words)).seconds
        queues.check_all_completed(database, jobs)

    return jobs / seconds


def _library_rate(bench: Bench, jobs: int) -> float:
    with bench.fresh() as folder:
        database = _filled(folder, jobs)
        child = run_command(child_script("engine_child.py", "drain", str(database), str(SLOTS)))
        queues.check_all_completed(database, jobs)

    found = msgspec.json.decode(child.stdout, type=dict[str, float])
    return jobs / found["seconds"]


def _bare_rate(jobs: int) -> float:
    child = run_command(child_script("bare_child.py", str(jobs), str(SLOTS)))
    found = msgspec.json.decode(child.stdout, type=dict[str, float])
    return jobs / found["seconds"]


def _filled(folder: Path, jobs: int) -> Path:
    database = folder / "queue.db"
    queues.enqueue(database, "true", jobs)
    return database
