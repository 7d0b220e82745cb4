"""What starting the program costs."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.bench import Bench, alternate, child_script, queuectl, rows, run_command
from benchmarks.results import Budget, Result

_YARDSTICK: Final = "python -c 'import sqlite3, json'"
_ENQUEUE: Final = "queuectl enqueue"
_BARE: Final = "typer, asyncio, aiosqlite and one row, and nothing else"
_MOST: Final = 4.0


def measure(bench: Bench) -> Result:
    """Start short commands in turns, and compare the least that each took."""
    times = bench.size(11, 3)

    with bench.fresh() as folder:
        database = folder / "queue.db"
        subjects: dict[str, Callable[[], float]] = {
            _YARDSTICK: partial(_cpu, [sys.executable, "-c", "import sqlite3, json"]),
            _BARE: partial(_cpu, child_script("bare_command.py", str(folder / "bare.db"), "true")),
            "python -c pass": partial(_cpu, [sys.executable, "-c", "pass"]),
            _ENQUEUE: partial(_cpu, queuectl(database, "enqueue", "--command", "true")),
            "queuectl status": partial(_cpu, queuectl(database, "status")),
            "queuectl --version": partial(_cpu, queuectl(database, "--version")),
        }

        # The first of each reads from the disk and compiles, and the database is made.
        for take in (subjects[_ENQUEUE], *subjects.values()):
            take()

        samples, skipped = alternate(subjects, times)

    table = rows(samples, skipped, unit="ms")
    least = samples[_YARDSTICK].low

    for row in table:
        # What disturbs can only add, so that the least is the command's own.
        row.ratio = row.sample.low / least

    return Result(
        name="command_start",
        title="The start of a command",
        how=(
            f"Whole processes, user + system, the least of {times}, in turns, on a database that"
            " is there; ratios are of the least of each."
        ),
        yardstick=_YARDSTICK,
        rows=table,
        budgets=[
            Budget(
                what="`queuectl enqueue`",
                budget=f"at most 4.0 of `{_YARDSTICK}`",
                measured=samples[_ENQUEUE].low / least,
                unit="times",
                limit=_MOST,
                is_at_most=True,
            )
        ],
        curves=[],
        seconds=0.0,
    )


def _cpu(argv: list[str]) -> float:
    """Return the milliseconds of processor time of a process."""
    # Where Python finds a package in the current folder, that is not the installed one.
    found = run_command(argv, cwd=Path("/"))
    return 1000 * (found.user + found.system)
