"""Many jobs through the command line at once."""

from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import queues
from benchmarks.bench import Bench, alternate, queuectl, rows, run_command
from benchmarks.results import Budget, Result, Row, Sample
from queuectl import JobState

_FILE: Final = "queuectl enqueue --file"
_MOST_SECONDS: Final = 2.0
_MOST_MIB: Final = 120.0


def measure(bench: Bench) -> Result:
    """Enqueue a file of JSON lines, from the start of the process to its end."""
    jobs = bench.size(100_000, 2_000)
    lines = bench.folder / "lines.jsonl"
    lines.write_text(
        "".join(f'{{"id": "page-{n}", "command": "echo page {n}"}}\n' for n in range(jobs)),
        encoding="ascii",
    )
    peaks: list[float] = []
    subjects = {_FILE: partial(_seconds, bench, lines, jobs, peaks)}
    samples, skipped = alternate(subjects, bench.rounds)
    lines.unlink()
    memory = Row(subject="its memory at the peak", unit="MiB", sample=Sample(peaks))
    budgets = [
        ("time", "at most 2 s", samples[_FILE].median, "s", _MOST_SECONDS),
        ("memory", "at most 120 MB", memory.sample.high * 1.048576, "MB", _MOST_MIB),
    ]
    return Result(
        name="bulk_enqueue",
        title="Bulk enqueue through the command line",
        how=(
            f"{jobs:,} lines of JSON, each with an id and a command, into an empty database: the"
            " whole process, with its start; memory is the high-water mark of what is resident."
        ),
        yardstick="",
        rows=[*rows(samples, skipped, unit="s"), memory],
        budgets=[
            Budget(
                what=f"bulk enqueue, {jobs:,} JSON lines through the command line: {what}",
                budget=words,
                measured=measured,
                unit=unit,
                limit=limit,
                is_at_most=True,
            )
            for what, words, measured, unit, limit in budgets
        ],
        curves=[],
        seconds=0.0,
    )


def _seconds(bench: Bench, lines: Path, jobs: int, peaks: list[float]) -> float:
    with bench.fresh() as folder:
        database = folder / "queue.db"
        argv = queuectl(database, "enqueue", "--quiet", f"--file={lines}")
        found = run_command(argv, watch_memory=True)
        peaks.append(found.peak_mib)
        queues.check_all(database, jobs, JobState.PENDING)

    return found.seconds
