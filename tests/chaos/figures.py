"""The figures of a run: what is published of it."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from tests.chaos.checker import Kind, Violation, check
from tests.chaos.durations import next_settlement
from tests.chaos.evidence import Evidence
from tests.chaos.plan import FaultKind

# A run that began and was thrown away by no fault of its own.
_THROWN_AWAY: Final = frozenset({"lost", "interrupted"})


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """How long something took, in seconds, and how often it was measured."""

    count: int
    p50: float
    p99: float
    max: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """
    The result of a run.

    Attributes:
        acked: Jobs whose client heard that they are on the disk.
        recovered: Jobs whose client heard nothing, and that are there.
        faults: How many, by kind.
        kills: Engine processes that were killed.
        violations: How many, by kind, every kind present.
        runs: Runs that began.
        repeated: Runs that began and had to be begun again: work repeated.
        ended_runs_repeated: Those among them that had come to their end.
        recovery: From the death of an engine to what was done first about each
            run that it held, where another engine lived.
        undisturbed: Those among them with no other fault meanwhile.
        restart: As recovery, where all engines were dead, from the next one's start.
        drain: Seconds from the last fault to the end of the last job.
        seconds: The whole run.
        not_done: Faults that could not be done here.
        copies: How many copies with cut logs were looked at.
        found: The violations themselves, the first hundred.
    """

    seed: int
    jobs: int
    acked: int
    recovered: int
    events: int
    faults: dict[str, int]
    kills: int
    violations: dict[str, int]
    runs: int
    repeated: int
    ended_runs_repeated: int
    adopted: int
    outcomes: dict[str, int]
    recovery: Latency
    undisturbed: Latency
    restart: Latency
    copies: int
    drain: float
    seconds: float
    not_done: list[str] = []
    found: list[Violation] = []

    @property
    def is_clean(self) -> bool:
        """Whether nothing was wrong."""
        return not any(self.violations.values())


class Clocked(msgspec.Struct, frozen=True, kw_only=True):
    """What the harness measured itself."""

    seed: int
    drain: float
    seconds: float
    copies: int
    not_done: list[str]


def make_figures(evidence: Evidence, clocked: Clocked) -> Figures:
    """Judge a run."""
    found = check(evidence)
    counts = Counter(violation.kind for violation in found)
    acked = {job for entry in evidence.client if entry.what == "ok" for job in entry.ids}
    began = _began(evidence)
    thrown_away = [
        (row.job, row.number)
        for row in evidence.runs
        if row.outcome in _THROWN_AWAY and (row.job, row.number) in began
    ]
    kinds = set(FaultKind)
    faults = Counter(fault.what for fault in evidence.faults if fault.what in kinds)
    recoveries = list(_recoveries(evidence, FaultKind.KILL_ENGINE))

    return Figures(
        seed=clocked.seed,
        jobs=len(evidence.jobs),
        acked=len(acked),
        recovered=len(evidence.jobs.keys() - acked),
        events=len(evidence.events),
        faults=dict(sorted(faults.items())),
        kills=len(evidence.of_kind("kill_engine", "kill_all_engines")),
        violations={kind.value: counts[kind] for kind in Kind},
        runs=len(began),
        repeated=len(thrown_away),
        ended_runs_repeated=len(_ended(evidence) & set(thrown_away)),
        adopted=sum(event.kind == "adopted" for event in evidence.events),
        outcomes=dict(Counter(row.outcome for row in evidence.runs)),
        recovery=latency([waited.seconds for waited in recoveries]),
        undisturbed=latency([w.seconds for w in recoveries if not _is_disturbed(w, evidence)]),
        restart=latency([w.seconds for w in _recoveries(evidence, FaultKind.KILL_ALL_ENGINES)]),
        copies=clocked.copies,
        drain=round(clocked.drain, 3),
        seconds=round(clocked.seconds, 3),
        not_done=clocked.not_done,
        found=found[:100],
    )


def _began(evidence: Evidence) -> set[tuple[str, int]]:
    return {
        (job, line.attempt)
        for job, lines in evidence.witness.items()
        for line in lines
        if line.kind == "S"
    }


def _ended(evidence: Evidence) -> set[tuple[str, int]]:
    return {
        (job, line.attempt)
        for job, lines in evidence.witness.items()
        for line in lines
        if line.kind == "E"
    }


class _Waited(msgspec.Struct, frozen=True, kw_only=True):
    """A run that nobody saw to, from when to when, and the process whose death began it."""

    began: float
    ended: float
    pid: int

    @property
    def seconds(self) -> float:
        return max(0.0, self.ended - self.began)


def _recoveries(evidence: Evidence, kind: FaultKind) -> Iterator[_Waited]:
    """
    Yield how long each run of a dead engine waited until somebody saw to it.

    Where all engines were dead, the time until the next one was started counts for
    nobody: then it begins with that.
    """
    history = evidence.history()
    starts = sorted(fault.at for fault in evidence.of_kind("start_engine"))

    for fault in evidence.of_kind(kind):
        began = fault.at

        if kind is FaultKind.KILL_ALL_ENGINES:
            began = next((start for start in starts if start >= fault.at), fault.at)

        for job, number in fault.runs:
            event = next_settlement(history.get(job, []), number, fault.at)

            if event is not None:
                yield _Waited(began=began, ended=event.at, pid=fault.pid)


def _is_disturbed(waited: _Waited, evidence: Evidence) -> bool:
    """Whether something else was amiss while a run waited."""
    others = evidence.of_kind(
        FaultKind.KILL_ENGINE,
        FaultKind.KILL_ALL_ENGINES,
        FaultKind.STOP_ENGINE,
        FaultKind.LOCK_DATABASE,
        FaultKind.FILL_DISK,
        "no_engine",
    )
    return any(
        other.pid != waited.pid
        and other.at <= waited.ended
        and (other.at if other.until is None else other.until) >= waited.began
        for other in others
    )


def latency(times: list[float]) -> Latency:
    """Return the percentiles of some times."""
    if not times:
        return Latency(count=0, p50=0.0, p99=0.0, max=0.0)

    ordered = sorted(times)

    def share(part: float) -> float:
        return round(ordered[math.ceil(part * len(ordered)) - 1], 3)

    return Latency(count=len(ordered), p50=share(0.5), p99=share(0.99), max=round(ordered[-1], 3))
