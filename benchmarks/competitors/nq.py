"""nq: no server; every job is a process that waits for the ones before it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.bench import Bench, run_command
from benchmarks.competitors.kinds import SLOTS, Competitor, find, gate


@contextmanager
def _opened(bench: Bench) -> Iterator[Callable[[int], float]]:
    yield partial(_rate, bench, find("nq"))


def _rate(bench: Bench, program: str, jobs: int) -> float:
    """Return the jobs per second, from when all queues are let go to the end of the last job."""
    with bench.fresh() as folder, gate(folder, SLOTS) as (holder, let_go):
        queues = [folder / str(number) for number in range(SLOTS)]

        for queue in queues:
            _fill(queue, program, holder, jobs // SLOTS)

        begun = time.perf_counter()
        let_go()

        for queue in queues:
            run_command([program, "-w"], environ={"NQDIR": str(queue)})

        return jobs / (time.perf_counter() - begun)


def _fill(queue: Path, program: str, holder: str, jobs: int) -> None:
    """A queue runs one job at a time; so there is one for every slot."""
    environ = {"NQDIR": str(queue)}
    run_command([program, "-q", "sh", "-c", holder], environ=environ)
    words = queue / "words"
    words.write_text("x\n" * jobs, encoding="ascii")
    run_command(["xargs", "-n1", program, "-q", "sh", "-c", "true"], environ=environ, stdin=words)


SUBJECT = Competitor(
    name="nq, a queue for each slot",
    lacks=(
        "the queue is processes and lost with them; one slot a queue; no retries, no"
        " timeouts, no recovery; it starts a process for each job when that is enqueued, which"
        " is not in the figure"
    ),
    # Each waits for all before it, so that the cost rises with the square of the number.
    jobs=400,
    opened=_opened,
)
