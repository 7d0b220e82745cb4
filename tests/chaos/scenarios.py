"""Small plans, each made so that one defect cannot hide."""

from collections.abc import Callable
from typing import Final

import msgspec

from tests.chaos.checker import Kind
from tests.chaos.plan import Act, ActKind, Fault, FaultKind, Plan, Size, make_plan

_SMALL: Final = Size(
    seconds=3.0,
    jobs=24,
    kills=0,
    engines=2,
    slots=4,
    clients=1,
    command_share=0,
    drain_seconds=25.0,
    has_operators=False,
)


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """
    A plan for a defect.

    Attributes:
        make: Makes the plan of a seed.
        shows: What the defect leads to, at least one of these.
    """

    make: Callable[[int], Plan]
    shows: frozenset[Kind]


def _small(seed: int, *kinds: str, faults: list[Fault], acts: list[Act] | None = None) -> Plan:
    """Return a plan of jobs that all arrive at once, to run into these faults."""
    plan = make_plan(seed, msgspec.structs.replace(_SMALL, kinds=kinds))
    batches = [
        msgspec.structs.replace(
            batch,
            at=0.0,
            jobs=[
                msgspec.structs.replace(job, on_crash="adopt", delay=None, max_retries=4)
                for job in batch.jobs
            ],
        )
        for batch in plan.batches
    ]
    return msgspec.structs.replace(plan, batches=batches, faults=faults, acts=acts or [])


def _faults(kind: FaultKind, *moments: float, length: float = 0.0) -> list[Fault]:
    """Return faults of one kind; who is hit goes round."""
    return [
        Fault(at=at, kind=kind, pick=(0.37 * number) % 1, length=length)
        for number, at in enumerate(moments, 1)
    ]


def _stale_results(seed: int) -> Plan:
    faults = _faults(FaultKind.TAKE_OVER, 0.4, 1.0, 1.6, 2.2, 2.8, length=1.2)
    return _small(seed, "medium", faults=faults)


def _dead_engines(seed: int) -> Plan:
    return _small(seed, "medium", faults=_faults(FaultKind.KILL_ENGINE, 0.5, 1.0, 1.5, 2.0))


def _cancels_at_the_start(seed: int) -> Plan:
    # Half of those that are being spawned, when their shells have long started the child.
    acts = [
        Act(at=0.6 * number, kind=ActKind.CANCEL, pick=pick, by_command=False)
        for number in range(1, 12)
        for pick in (0.999, 0.7, 0.4, 0.1)
    ]
    return _small(seed, "with-child", faults=[], acts=acts)


def _talking_orphans(seed: int) -> Plan:
    return _small(seed, "chatty", faults=_faults(FaultKind.KILL_ENGINE, 0.5, 1.0, 1.5, 2.0))


def _ends_unseen(seed: int) -> Plan:
    # Nobody lives when they end.
    faults = _faults(FaultKind.KILL_ALL_ENGINES, 0.5, 1.0, 1.5, 2.0, 2.5)
    return _small(seed, "short", "medium", faults=faults)


def _deaths_unseen(seed: int) -> Plan:
    kills = [
        Fault(at=fault.at + later, kind=FaultKind.KILL_JOB, pick=pick, length=0.0)
        for fault in _faults(FaultKind.KILL_ALL_ENGINES, 0.5, 1.0, 1.5, 2.0)
        for later, pick in ((0.0, 0.1), (0.02, 0.9), (0.04, 0.5))
    ]
    faults = [*_faults(FaultKind.KILL_ALL_ENGINES, 0.5, 1.0, 1.5, 2.0), *kills]
    return _small(seed, "medium", faults=sorted(faults, key=lambda fault: fault.at))


def _used_numbers(seed: int) -> Plan:
    # Not at once: a stranger that began when the run did would be the run's.
    return _small(seed, "too-long", faults=_faults(FaultKind.RECYCLE_PID, 3.6, 4.2, 4.8))


SCENARIOS: Final = {
    "finish-by-id-only": Scenario(
        make=_stale_results, shows=frozenset({Kind.ILLEGAL, Kind.OVERLAPPING})
    ),
    "give-back-without-asking": Scenario(
        make=_dead_engines, shows=frozenset({Kind.STARTED_TWICE, Kind.OVERLAPPING})
    ),
    "spawn-without-shield": Scenario(
        make=_cancels_at_the_start, shows=frozenset({Kind.OUTLIVING, Kind.LEFT_BEHIND})
    ),
    # The pipe breaks: the shell ends with a signal, or gives it as a code.
    "capture-through-pipes": Scenario(
        make=_talking_orphans, shows=frozenset({Kind.RUN_LOST, Kind.UNCAUSED})
    ),
    "adopt-by-number-alone": Scenario(
        make=_used_numbers, shows=frozenset({Kind.STRANGER_HARMED, Kind.UNFINISHED})
    ),
    "forget-exit-codes": Scenario(make=_ends_unseen, shows=frozenset({Kind.UNCAUSED})),
    "guess-what-is-unknown": Scenario(make=_deaths_unseen, shows=frozenset({Kind.UNCAUSED})),
    "say-that-the-adopted-timed-out": Scenario(
        make=_dead_engines, shows=frozenset({Kind.UNCAUSED})
    ),
}
