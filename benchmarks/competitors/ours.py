"""queuectl, in the same round as the others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from benchmarks.bench import Bench
from benchmarks.competitors.kinds import Competitor
from benchmarks.throughput import worker_rate

NAME: Final = "queuectl"


@contextmanager
def _opened(bench: Bench) -> Iterator[Callable[[int], float]]:
    yield partial(worker_rate, bench)


SUBJECT = Competitor(name=NAME, lacks="", jobs=3000, opened=_opened)
