"""How soon a job starts that another process enqueues."""

import asyncio
import os
import random
import threading
import time
from pathlib import Path
from queue import Empty, Queue
from typing import Final

from benchmarks.bench import Bench, CannotRunError, quantile
from benchmarks.results import Budget, Curve, Result, Row, Sample
from benchmarks.workers import worker
from queuectl import QueueEngine

# The worker is idle again, and no two jobs come at the same point of any period of it.
_PAUSES: Final = (0.02, 0.06)
_PATIENCE: Final = 10.0
_SHARES: Final = tuple(number / 100 for number in range(1, 100))


def measure(bench: Bench) -> Result:
    """Enqueue jobs one at a time, each of which tells at once that it runs."""
    jobs = bench.size(200, 20)

    with bench.fresh() as folder, worker(folder / "queue.db", 1):
        commits, calls = asyncio.run(_pick_up(folder, jobs))

    return Result(
        name="pickup",
        title="From the enqueue to the start",
        how=(
            f"{jobs} jobs, one at a time, enqueued by another process than the idle worker's; from"
            " the return of `enqueue`, when the job is on the disk and has been told of, to the"
            " first thing that the job's shell does, which is to write into a pipe."
        ),
        yardstick="",
        rows=[
            Row(subject="from the commit to the start", unit="ms", sample=Sample(commits)),
            Row(subject="from the call of enqueue", unit="ms", sample=Sample(calls)),
        ],
        budgets=[
            Budget(
                what=f"pickup by an idle worker, p{share * 100:.0f}",
                budget=f"at most {limit:.0f} ms",
                measured=quantile(commits, share),
                unit="ms",
                limit=limit,
                is_at_most=True,
            )
            for share, limit in ((0.50, 10.0), (0.99, 50.0))
        ],
        curves=[
            Curve(
                title="From the enqueue to the start",
                x_label="share of the jobs, %",
                y_label="ms",
                x=[100 * share for share in _SHARES],
                lines={
                    "from the commit": [quantile(commits, share) for share in _SHARES],
                    "from the call": [quantile(calls, share) for share in _SHARES],
                },
            )
        ],
        seconds=0.0,
    )


async def _pick_up(folder: Path, jobs: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of each job, from its commit and from the call."""
    pipe_path = folder / "pipe"
    os.mkfifo(pipe_path, 0o600)
    # Open for both, so that neither side waits for the other.
    pipe = os.open(pipe_path, os.O_RDWR | os.O_CLOEXEC)
    starts: Queue[float] = Queue()
    reader = threading.Thread(target=_read, args=(pipe, jobs, starts), daemon=True)
    reader.start()
    commits, calls = [], []
    random.seed(0)

    async with QueueEngine(folder / "queue.db") as engine:
        for _ in range(jobs):
            await asyncio.sleep(random.uniform(*_PAUSES))  # noqa: S311 (no secret)
            called = time.perf_counter()
            await engine.enqueue(f"echo > {pipe_path}", cwd="/")
            committed = time.perf_counter()
            started = await asyncio.to_thread(_next, starts)
            # It can be there before the answer has come back through the loop.
            commits.append(1000 * max(started - committed, 0.0))
            calls.append(1000 * (started - called))

    os.close(pipe)
    return commits, calls


def _read(pipe: int, jobs: int, starts: Queue[float]) -> None:
    for _ in range(jobs):
        os.read(pipe, 1)
        starts.put(time.perf_counter())


def _next(starts: Queue[float]) -> float:
    try:
        return starts.get(timeout=_PATIENCE)
    except Empty:
        raise CannotRunError("a job did not start") from None
