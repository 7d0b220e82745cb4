"""What may have ended a run from outside, and when: every other outcome is the run's own word."""

import math
from collections import defaultdict
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import msgspec

from tests.chaos.durations import is_held_up, next_settlement
from tests.chaos.evidence import EventRow, Evidence, JobRow, Line, RunRow
from tests.chaos.logbook import REFUSED, Entry

# A hundredth of a second in the witnesses, a thousandth in the events, and some.
CLOCK_STEP: Final = 0.05

# What a shell needs on a busy machine from its start to its first line, and from its last
# line to the exit code in its file. In seconds.
_FIRST_WORD: Final = 1.0
_LAST_WORD: Final = 1.0

_KILLED_CODE: Final = 128 + 9
_KILLED_SIGNAL: Final = "SIGKILL"


class What(StrEnum):
    """What ended a run, or may have."""

    TIMEOUT = "timeout"
    CANCELLATION = "cancellation"
    STOP = "stop"
    KILL = "kill"
    CRASH = "crash"
    OUTPUT = "output"
    FULL_DISK = "full disk"


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """
    Attributes:
        since: From when on it may have ended the run.
        until: From when on the run, had this been it, says nothing any more.
    """

    what: What
    since: float
    until: float = math.inf


# Which of them an outcome can come from. A full disk takes the note of why a run was being
# ended, and the engine that ended it.
_EXPLAINS: Final = {
    "timed_out": frozenset({What.TIMEOUT}),
    "cancelled": frozenset({What.CANCELLATION}),
    "interrupted": frozenset({What.STOP, What.FULL_DISK}),
    "lost": frozenset({What.KILL, What.CRASH, What.FULL_DISK}),
    "failed": frozenset({What.KILL, What.OUTPUT}),
}


class Causes:
    """
    Knows for every run what was done to it, by whomever, and what it was due for.

    Args:
        evidence: Of the whole life.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._history = evidence.history()
        self._ends = evidence.ends()
        self._kills = _by_run(evidence.of_kind("kill_job"))
        self._deaths = _by_run(evidence.of_kind("kill_engine", "kill_all_engines"))
        self._seizures = _by_run(evidence.of_kind("take_over"))
        self._acts = [act for act in evidence.acts if not (act.words or "").startswith(REFUSED)]

    def is_proved(self, row: RunRow) -> bool:
        """Whether an outcome is what the run said itself, or has another cause."""
        lines = self._lines(row)

        if row.outcome in {"completed", "failed"} and any(_says(line, row) for line in lines):
            return True

        if row.outcome == "interrupted" and not lines:
            # It never began, and so nothing was cut short.
            return True

        end = self._ends.get((row.job, row.number))
        return end is not None and any(
            cause.since <= end.at + CLOCK_STEP for cause in self.explanations(row)
        )

    def is_excused(self, row: RunRow, line: Line) -> bool:
        """Whether a run that came to its last line may be recorded in another way than it said."""
        return any(
            cause.since - _LAST_WORD <= line.at <= cause.until for cause in self.explanations(row)
        )

    def was_cut_short(self, row: RunRow, line: Line) -> bool:
        """Whether anything at all was done to a run before the code of its last line was kept."""
        return any(cause.since - _LAST_WORD <= line.at <= cause.until for cause in self._all(row))

    def asked(self, event: EventRow) -> list[Entry]:
        """Return the acts that may have led to a cancellation or a retry."""
        wanted = {"cancelled": {"cancel"}, "retried": {"retry", "retry_dead"}}[event.kind]
        return [
            act
            for act in self._acts
            if act.what in wanted
            # A run's end that waits for the database is a cancellation where one comes
            # meanwhile, and has the time of the end.
            and is_held_up(self._evidence, event.at, act.at)
            # All that are dead, whichever they are.
            and (event.job in act.ids or act.what == "retry_dead")
        ]

    def explanations(self, row: RunRow) -> list[Cause]:
        """Return what can have led to just this outcome."""
        possible = _EXPLAINS.get(row.outcome, frozenset())

        if row.outcome == "lost" and not self._is_orphan(row):
            # Its worker lived, and would know.
            return []

        return [
            cause
            for cause in self._all(row)
            if cause.what in possible and (row.outcome != "failed" or _fails_so(row, cause))
        ]

    def _all(self, row: RunRow) -> Iterator[Cause]:
        key = row.job, row.number
        job = self._evidence.jobs[row.job]
        lines = self._lines(row)
        claimed = self._claimed(row)

        for kill in self._kills[key]:
            yield Cause(what=What.KILL, since=kill.at, until=kill.at + _LAST_WORD)

        for line in lines:
            if line.kind == "K":
                yield Cause(what=What.KILL, since=line.at, until=line.at)

        if job.timeout is not None:
            # Its time begins with its claim at the earliest, and before its first line.
            began = max([claimed, *(n.at - _FIRST_WORD for n in lines if n.kind == "S")])
            yield Cause(what=What.TIMEOUT, since=began + job.timeout)

        if row.reason == f"output_limit={self._evidence.limits.get(row.job)}":
            yield Cause(what=What.OUTPUT, since=claimed)

        yield from self._orders(row, claimed)
        yield from self._crash(row, job)

        for full in self._evidence.of_kind("fill_disk"):
            yield Cause(what=What.FULL_DISK, since=full.at)

    def _orders(self, row: RunRow, claimed: float) -> Iterator[Cause]:
        """Yield what operators asked for; who was not answered may be obeyed at any time."""
        workers = self._workers(row)
        died = self._died_for_good(row, claimed)

        for act in self._acts:
            is_late = act.until is not None and act.until < claimed - CLOCK_STEP

            if act.what == "cancel" and row.job in act.ids and not is_late:
                yield Cause(what=What.CANCELLATION, since=act.at)

            # Whoever finds a run that is not to be adopted ends it for that, whatever he is told.
            is_obeyed = act.at <= died + CLOCK_STEP and not workers.isdisjoint(act.ids)

            if act.what == "stop_worker_now" and is_obeyed:
                yield Cause(what=What.STOP, since=act.at)

    def _crash(self, row: RunRow, job: JobRow) -> Iterator[Cause]:
        """Yield the moment at which somebody found a run that was not to be adopted."""
        if job.on_crash != "adopt" and (deaths := self._deaths[row.job, row.number]):
            died = min(death.at for death in deaths)
            found = next_settlement(self._history[row.job], row.number, died)

            if found is not None:
                yield Cause(what=What.CRASH, since=found.at)

    def _died_for_good(self, row: RunRow, claimed: float) -> float:
        """Return when the worker died of a run that is not to be adopted; never if it was left."""
        key = row.job, row.number
        deaths = [death.at for death in self._deaths[key] if death.at >= claimed]

        if self._evidence.jobs[row.job].on_crash == "adopt" or self._was_left(row):
            return math.inf

        return min(deaths, default=math.inf)

    def _was_left(self, row: RunRow) -> bool:
        """Whether a worker of the run may have left it to another, on purpose or robbed of it."""
        return bool(
            self._seizures[row.job, row.number]
            or self._evidence.of_kind("fill_disk")
            or any(
                act.what == "restart_worker" and not self._workers(row).isdisjoint(act.ids)
                for act in self._acts
            )
        )

    def _is_orphan(self, row: RunRow) -> bool:
        """Whether the run's worker died over it, made room for another, or was robbed of it."""
        return bool(self._deaths[row.job, row.number]) or self._was_left(row)

    def _workers(self, row: RunRow) -> set[str]:
        """Return every worker that ever had a run: who recorded it, and who is told of as such."""
        moves = [
            (event.reason or "").split(" from ")
            for event in self._history[row.job]
            if event.kind == "adopted" and event.run == row.number
        ]
        return {row.worker, *(name for move in moves for name in move)}

    def _claimed(self, row: RunRow) -> float:
        """Return when a run was claimed; a number that was given back is claimed again."""
        return max(
            (
                event.at
                for event in self._history[row.job]
                if event.kind == "claimed" and event.run == row.number
            ),
            default=-math.inf,
        )

    def _lines(self, row: RunRow) -> list[Line]:
        witness = self._evidence.witness.get(row.job, [])
        return [line for line in witness if line.attempt == row.number]


def _by_run(faults: list[Entry]) -> defaultdict[tuple[str, int], list[Entry]]:
    found: defaultdict[tuple[str, int], list[Entry]] = defaultdict(list)

    for fault in faults:
        for run in fault.runs:
            found[run].append(fault)

    return found


def _says(line: Line, row: RunRow) -> bool:
    """Whether a run's last line says what is recorded."""
    return (
        line.kind == "E"
        and line.code == row.exit_code
        and row.outcome == ("failed" if line.code else "completed")
        and row.reason == (f"exit_code={line.code}" if line.code else None)
    )


def _fails_so(row: RunRow, cause: Cause) -> bool:
    """Whether a run fails in just this way of a cause."""
    # A shell that outlives the one that it started gives the signal as a code.
    return cause.what is What.OUTPUT or (
        row.reason in {f"signal={_KILLED_SIGNAL}", f"exit_code={_KILLED_CODE}"}
    )
