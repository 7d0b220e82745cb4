"""Procrastinate on PostgreSQL: a queue of Python functions; the function starts the command."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.bench import Bench, CannotRunError, child_script, run_command
from benchmarks.competitors.kinds import SLOTS, Competitor
from benchmarks.competitors.postgres import cluster


@contextmanager
def _opened(bench: Bench) -> Iterator[Callable[[int], float]]:
    if importlib.util.find_spec("procrastinate") is None:
        raise CannotRunError("procrastinate is not installed")

    with cluster(bench) as address:
        run_command([*_script(), "schema", address])
        yield partial(_rate, address)


def _rate(address: str, jobs: int) -> float:
    """Return the jobs per second, from the start of its worker to its end."""
    run_command([*_script(), "enqueue", address, str(jobs)])
    return jobs / run_command([*_script(), "work", address, str(jobs), str(SLOTS)]).seconds


def _script() -> list[str]:
    return child_script("competitors/procrastinate_child.py")


SUBJECT = Competitor(
    name="Procrastinate, PostgreSQL",
    lacks=(
        "needs a server; a job that runs when the worker is killed stays `doing` until"
        " somebody's own task finds it; no record of exit codes and output; no timeouts"
    ),
    jobs=600,
    opened=_opened,
)
