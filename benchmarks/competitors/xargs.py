"""The yardstick."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.bench import Bench
from benchmarks.competitors.kinds import Competitor
from benchmarks.throughput import XARGS, xargs_rate


@contextmanager
def _opened(bench: Bench) -> Iterator[Callable[[int], float]]:
    yield partial(xargs_rate, bench)


SUBJECT = Competitor(
    name=XARGS,
    lacks="everything but starting processes: nothing is kept, retried, timed or recovered",
    jobs=3000,
    opened=_opened,
)
