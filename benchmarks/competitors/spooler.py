"""task-spooler: a small server that keeps its queue in memory."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.bench import Bench, run_command
from benchmarks.competitors.kinds import SLOTS, Competitor, find, gate


@contextmanager
def _opened(bench: Bench) -> Iterator[Callable[[int], float]]:
    yield partial(_rate, bench, find("tsp"))


def _rate(bench: Bench, program: str, jobs: int) -> float:
    """Return the jobs per second, from when the first is let go to the end of the last."""
    with bench.fresh() as folder, gate(folder, 1) as (holder, let_go):
        environ = {"TS_SOCKET": str(folder / "socket"), "TMPDIR": str(folder), "TS_SLOTS": "1"}
        call = partial(run_command, environ=environ)

        try:
            call([program, "-n", "sh", "-c", holder])
            words = folder / "words"
            words.write_text("x\n" * jobs, encoding="ascii")
            call(["xargs", "-n1", program, "-n", "sh", "-c", "true"], stdin=words)
            begun = time.perf_counter()
            call([program, "-S", str(SLOTS)])
            let_go()
            call([program, "-w"])
            return jobs / (time.perf_counter() - begun)
        finally:
            call([program, "-K"])


SUBJECT = Competitor(
    name="task-spooler",
    lacks=(
        "the queue is in memory and lost with its server; no retries, no timeouts, no"
        " recovery; output is off here; it starts a process for each job when that is"
        " enqueued, which is not in the figure"
    ),
    # Each waiting job is a process of its own that holds one of its 1,000 connections.
    jobs=800,
    opened=_opened,
)
