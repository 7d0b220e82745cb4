"""HyperQueue: a scheduler for clusters, here with one worker on this machine."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.bench import Bench, CannotRunError, child_script, run_command
from benchmarks.competitors.kinds import SLOTS, Competitor


@contextmanager
def _opened(bench: Bench) -> Iterator[Callable[[int], float]]:
    if importlib.util.find_spec("hyperqueue") is None:
        raise CannotRunError("hyperqueue is not installed")

    yield partial(_rate, bench)


def _rate(bench: Bench, jobs: int) -> float:
    """Return the jobs per second, from the start of its worker to the end of the last task."""
    with bench.fresh() as folder:
        argv = child_script("competitors/hyperqueue_child.py", str(folder), str(jobs), str(SLOTS))
        return jobs / float(run_command(argv).stdout.split()[-1])


SUBJECT = Competitor(
    name="HyperQueue",
    lacks=(
        "the queue is in memory here (it can keep a journal, which is not synced); no retries"
        " of commands that fail; a task dies with its worker; output is off here"
    ),
    jobs=1500,
    opened=_opened,
)
