"""What things cost as the database grows: claims, enqueues, and what people ask it."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio

from benchmarks.bench import Bench, CannotRunError, alternate, median, queuectl, ratio, run_command
from benchmarks.filling import LARGE, fill
from benchmarks.results import Budget, Curve, Result, Row, Sample
from queuectl import QueueEngine
from queuectl.engine.store.open import open_store
from queuectl.engine.store.sqlite import operations
from queuectl.engine.store.sqlite.connection import set_up

# Jobs in the database, half of them pending, half finished; the first is the yardstick.
_SIZES: Final = (1_000, 20_000, 200_000, 2_000_000)
_QUICK: Final = (1_000, 2_000, 20_000)

# How many jobs a claim takes, and how often each figure's operation is done.
_CLAIMED: Final = 16
_TIMES: Final = 40
_WARM: Final = 3

_CLAIM: Final = "claim"
_STATEMENT: Final = "claim, its statements alone"
_ENQUEUE: Final = "enqueue"
_COMMANDS: Final = ("status", "list --limit 50", "info")
_UNITS: Final = {_CLAIM: "ms", _ENQUEUE: "ms"}

_MOST_CLAIM: Final = 1.2
_MOST_COMMAND: Final = 1.3

_Taken = dict[str, tuple[Sample, Sample]]


def measure(bench: Bench) -> Result:
    """Let one database grow, and at each size compare it with a small one."""
    sizes = _QUICK if bench.is_quick else _SIZES
    small, empty = bench.folder / "small.db", bench.folder / "empty.db"
    fill(small, pending=sizes[0] // 2, finished=sizes[0] // 2)
    # Of one job, for there is no info without.
    fill(empty, pending=1, finished=1)
    large = bench.folder / ("growing.db" if LARGE in bench.shared else "large.db")
    taken = {}

    for size in sizes[1:]:
        fill(large, pending=size // 2, finished=size // 2)
        taken[size] = _compare(bench, large, small, empty)

    # Others need one of this size, too.
    bench.shared.setdefault(LARGE, large)
    return Result(
        name="growth_rows",
        title="Cost as the database grows",
        how=(
            f"One database grows to {sizes[-1]:,} jobs, half of them pending, half completed."
            f" At each size, a claim of {_CLAIMED} jobs and an enqueue, each with its commit,"
            " take turns with the same on 1,000 jobs, and whole commands, by their processor time,"
            " with the same on an empty database."
        ),
        yardstick="the same on the small database",
        rows=_rows(taken[sizes[-1]], sizes[-1]),
        budgets=_budgets(taken[sizes[-1]], sizes[-1] // 2),
        curves=[_curve(taken, sizes)],
        seconds=0.0,
    )


def _compare(bench: Bench, large: Path, small: Path, empty: Path) -> _Taken:
    """
    Return what was measured on a database, and beside it on the small ones.

    Raises:
        CannotRunError: A command failed.
    """
    subjects: dict[str, Callable[[], float]] = {
        f"{_STATEMENT}, small": partial(_statement, small),
        f"{_STATEMENT}, large": partial(_statement, large),
    }

    for what in _COMMANDS:
        subjects[f"{what}, small"] = partial(_command, empty, what)
        subjects[f"{what}, large"] = partial(_command, large, what)

    samples, skipped = alternate(subjects, bench.rounds)

    for reason in skipped.values():
        # Nobody else's program is missing: this one is broken.
        raise CannotRunError(reason)

    return {
        _CLAIM: _turn_by_turn(bench, partial(_claims, large, small)),
        _ENQUEUE: _turn_by_turn(bench, partial(_enqueues, large, small)),
        **{
            what: (samples[f"{what}, large"], samples[f"{what}, small"])
            for what in (_STATEMENT, *_COMMANDS)
        },
    }


def _turn_by_turn(
    bench: Bench, take: Callable[[], Coroutine[Any, Any, tuple[float, float]]]
) -> tuple[Sample, Sample]:
    """Return what was measured by something that itself lets the two take turns."""
    os.sync()
    pairs = [asyncio.run(take()) for _ in range(bench.rounds)]
    return Sample([large for large, _ in pairs]), Sample([small for _, small in pairs])


async def _claims(large: Path, small: Path) -> tuple[float, float]:
    """
    Return the milliseconds that a claim takes until it is on the disk, on each.

    They take turns claim by claim, for a disk is slow at times for a second or two.
    """
    seconds: tuple[list[float], list[float]] = ([], [])

    async with anyio.create_task_group() as tasks:
        stores = [await open_store(database, tasks, now=_now()) for database in (large, small)]
        workers = [
            await store.register_worker(
                token="0" * 16,
                host="",
                pid=0,
                boot_id="",
                pid_namespace="",
                lock_file=None,
                pipe=None,
                can_restart=False,
                concurrency=_CLAIMED,
                now=_now(),
            )
            for store in stores
        ]

        for _ in range(_WARM + _TIMES):
            for store, worker, taken in zip(stores, workers, seconds, strict=True):
                began = time.perf_counter()
                claim = await store.claim(worker, _CLAIMED, now=_now())
                taken.append(time.perf_counter() - began)
                await store.release(claim.jobs, now=_now())

        for store, worker in zip(stores, workers, strict=True):
            await store.unregister_worker(worker)
            await store.close()

    return _typical(seconds[0]), _typical(seconds[1])


async def _enqueues(large: Path, small: Path) -> tuple[float, float]:
    """Return the milliseconds that an enqueue takes until it is on the disk, on each."""
    seconds: tuple[list[float], list[float]] = ([], [])

    async with QueueEngine(large) as first, QueueEngine(small) as second:
        for _ in range(_WARM + _TIMES):
            for engine, taken in zip((first, second), seconds, strict=True):
                began = time.perf_counter()
                await engine.enqueue("true", cwd="/")
                taken.append(time.perf_counter() - began)

    return _typical(seconds[0]), _typical(seconds[1])


def _typical(seconds: Sequence[float]) -> float:
    """Return the milliseconds in the middle, without those that warmed it up."""
    return 1000 * median(seconds[_WARM:])


def _statement(database: Path) -> float:
    """Return the milliseconds of processor time of a claim's statements, rolled back."""
    seconds = []

    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        set_up(connection, reader=False)

        for _ in range(_WARM + _TIMES):
            connection.execute("BEGIN IMMEDIATE")
            began = time.process_time()
            operations.claim(connection, worker=1, limit=_CLAIMED, now=_now())
            seconds.append(time.process_time() - began)
            connection.execute("ROLLBACK")

    return _typical(seconds)


def _command(database: Path, what: str) -> float:
    """Return the milliseconds of processor time of a whole process."""
    words = what.split()

    if what == "info":
        words.append(_first_id(database))

    finished = run_command(queuectl(database, *words))
    return 1000 * (finished.user + finished.system)


def _first_id(database: Path) -> str:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return str(connection.execute("SELECT id FROM jobs WHERE seq = 1").fetchone()[0])


def _now() -> datetime:
    return datetime.now(UTC)


def _rows(taken: _Taken, size: int) -> list[Row]:
    rows = []

    for what, (large, small) in taken.items():
        unit = _UNITS.get(what, "ms of processor time")
        few = "empty" if what in _COMMANDS else "1,000 jobs"
        rows.append(Row(f"{what}, {few}", unit, small, 1.0))
        rows.append(Row(f"{what}, {size:,} jobs", unit, large, ratio(large, small)))

    return rows


def _budgets(taken: _Taken, half: int) -> list[Budget]:
    limits = {_CLAIM: _MOST_CLAIM, **dict.fromkeys(_COMMANDS, _MOST_COMMAND)}
    return [
        Budget(
            what=f"`{what}` on {half:,} pending and {half:,} finished jobs",
            budget=f"at most {limit} of that " + ("with 1,000" if what == _CLAIM else "empty"),
            measured=ratio(*taken[what]) or 0.0,
            unit="times",
            limit=limit,
            is_at_most=True,
        )
        for what, limit in limits.items()
    ]


def _curve(taken: dict[int, _Taken], sizes: tuple[int, ...]) -> Curve:
    lines = {
        what: [1.0, *(ratio(*taken[size][what]) or 0.0 for size in sizes[1:])]
        for what in taken[sizes[-1]]
    }
    return Curve(
        title="Cost as the database grows",
        x_label="jobs in the database",
        y_label="times that of the small one",
        x=[float(size) for size in sizes],
        lines=lines,
        log_x=True,
    )
