"""Lets queuectl and its competitors take turns, and compares them."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from benchmarks.bench import Bench, CannotRunError, alternate, ratio, rows
from benchmarks.competitors import (
    huey,
    hyperqueue,
    nq,
    ours,
    parallel,
    procrastinate,
    spooler,
    xargs,
)
from benchmarks.competitors.kinds import SLOTS, Competitor
from benchmarks.results import Budget, Result, Sample

_ALL: Final = [
    xargs.SUBJECT,
    ours.SUBJECT,
    *huey.SUBJECTS,
    spooler.SUBJECT,
    nq.SUBJECT,
    hyperqueue.SUBJECT,
    procrastinate.SUBJECT,
    parallel.SUBJECT,
]

# What queuectl promises to be, times as fast.
_AT_LEAST: Final = {huey.DURABLE: 1.5, huey.NOT_DURABLE: 1.0, hyperqueue.SUBJECT.name: 2.0}


def measure(bench: Bench) -> Result:
    """Give every competitor that is installed its turn, round after round."""
    with ExitStack() as stack:
        subjects = {one.name: _subject(one, bench, stack) for one in _ALL}
        needed = {xargs.SUBJECT.name, ours.NAME}
        samples, skipped = alternate(subjects, bench.rounds, optional=set(subjects) - needed)

    counts = ", ".join(f"{one.name} {_jobs(one, bench):,}" for one in _ALL)
    return Result(
        name="competitors",
        title="Beside others",
        how=(
            f"Jobs `true` through {SLOTS} slots, all enqueued before, with the output away or"
            " empty: from the start of the worker's process (servers that need no job to run are"
            " started before) to the end of the last job. Each round takes so many that it lasts"
            f" seconds: {counts}."
        ),
        yardstick=xargs.SUBJECT.name,
        rows=rows(
            samples,
            skipped,
            unit="jobs/s",
            yardstick=xargs.SUBJECT.name,
            lacks={one.name: one.lacks for one in _ALL},
        ),
        budgets=_budgets(samples),
        curves=[],
        seconds=0.0,
    )


def _jobs(competitor: Competitor, bench: Bench) -> int:
    return bench.size(competitor.jobs, 100)


def _subject(competitor: Competitor, bench: Bench, stack: ExitStack) -> Callable[[], float]:
    """Return what gives one figure, or says why it cannot."""
    try:
        run = stack.enter_context(competitor.opened(bench))
    except CannotRunError as error:
        return partial(_refuse, str(error))

    return partial(run, _jobs(competitor, bench))


def _refuse(why: str) -> float:
    raise CannotRunError(why)


def _budgets(samples: dict[str, Sample]) -> list[Budget]:
    """Compare queuectl with those that were here; who was not is in the table of figures."""
    return [
        Budget(
            what=f"jobs per second beside {name}",
            budget=f"at least {factor:.2g} of it",
            measured=ratio(samples[ours.NAME], samples[name]) or 0.0,
            unit=f"of {name}",
            limit=factor,
            is_at_most=False,
        )
        for name, factor in _AT_LEAST.items()
        if samples[name].values
    ]
