"""Huey: a queue of Python functions; the function starts the command."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from benchmarks.bench import Bench, CannotRunError, child_script, run_command
from benchmarks.competitors.kinds import SLOTS, Competitor

DURABLE: Final = "Huey, SQLite, fsync on"
NOT_DURABLE: Final = "Huey, SQLite, fsync off"

_LACKS: Final = (
    "a job that runs when the consumer is killed is lost; no record of runs, exit codes and"
    " output; no processes ended at a timeout; no dead letter queue"
)


def _rate(bench: Bench, fsync: str, jobs: int) -> float:
    """Return the jobs per second, from the start of its process to the end of the last task."""
    with bench.fresh() as folder:
        script = partial(child_script, "competitors/huey_child.py")
        database = str(folder / "huey.db")
        # How it was enqueued is not measured, so it need not be synced job by job.
        run_command(script("enqueue", database, "off", str(jobs)))
        return jobs / run_command(script("work", database, fsync, str(jobs), str(SLOTS))).seconds


def _opener(fsync: str) -> Callable[[Bench], Iterator[Callable[[int], float]]]:
    def opened(bench: Bench) -> Iterator[Callable[[int], float]]:
        if importlib.util.find_spec("huey") is None:
            raise CannotRunError("huey is not installed")

        yield partial(_rate, bench, fsync)

    return opened


SUBJECTS: Final = [
    Competitor(name=DURABLE, lacks=_LACKS, jobs=3000, opened=contextmanager(_opener("on"))),
    Competitor(
        name=NOT_DURABLE,
        lacks=f"{_LACKS}; what was acknowledged may be gone after a loss of power",
        jobs=3000,
        opened=contextmanager(_opener("off")),
    ),
]
