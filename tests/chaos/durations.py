"""How long runs lived, and for how much of that nobody could see to them."""

from collections.abc import Iterator
from typing import Final

import msgspec

from tests.chaos.evidence import EventRow, Evidence, Line
from tests.chaos.histories import STATE_AFTER

# What a run may take beyond its timeout and the grace, in seconds.
LENIENCE: Final = 2.0


class Overlong(msgspec.Struct, frozen=True, kw_only=True):
    """A run that lived too long, in words."""

    job: str
    words: str


def overlong_runs(evidence: Evidence) -> Iterator[Overlong]:
    """Yield runs that lived longer than their timeout and the grace, but for faults."""
    history = evidence.history()
    pauses = _pauses(evidence)

    for job_id, lines in evidence.witness.items():
        job = evidence.jobs.get(job_id)

        if job is None or job.timeout is None:
            continue

        allowed = job.timeout + evidence.grace + LENIENCE

        for attempt, (began, ended) in _lives(lines).items():
            # What left its group may have been left by the run's own end.
            orphaned = _orphaned(evidence, history.get(job_id, []), (job_id, attempt))
            excused = _covered([*pauses, *orphaned], began, ended)

            if ended - began > allowed + excused:
                words = (
                    f"run {attempt} lived {ended - began:.2f} s, allowed are"
                    f" {allowed:.2f} s and {excused:.2f} s of faults"
                )
                yield Overlong(job=job_id, words=words)


def _pauses(evidence: Evidence) -> list[tuple[float, float]]:
    """Return the times in which an engine may have been held up."""
    return [
        (fault.at, fault.until)
        for fault in evidence.of_kind("stop_engine", "lock_database", "fill_disk", "no_engine")
        if fault.until is not None
    ]


def is_held_up(evidence: Evidence, began: float, ended: float) -> bool:
    """Whether what began at one time may have been held up until another."""
    return ended - began <= LENIENCE + _covered(_pauses(evidence), began, ended)


def _lives(lines: list[Line]) -> dict[int, tuple[float, float]]:
    """Return from when to when each attempt is known to have lived."""
    lives: dict[int, tuple[float, float]] = {}

    for line in lines:
        began, _ = lives.get(line.attempt, (line.at, line.at))
        lives[line.attempt] = began, line.at

    return lives


def _orphaned(
    evidence: Evidence, events: list[EventRow], run: tuple[str, int]
) -> list[tuple[float, float]]:
    """Return the times in which nobody could see to a run."""
    times = []

    for fault in evidence.of_kind("kill_engine", "kill_all_engines"):
        if run in fault.runs:
            event = next_settlement(events, run[1], fault.at)
            times.append((fault.at, fault.at if event is None else event.at))

    return times


def next_settlement(events: list[EventRow], number: int, since: float) -> EventRow | None:
    """Return what was done first about a run after a moment; times of events are cut to ms."""
    for event in events:
        if event.run == number and event.at >= since - 0.001 and event.kind in _SETTLEMENTS:
            return event

    return None


_SETTLEMENTS: Final = frozenset(STATE_AFTER) - {"enqueued", "claimed", "retried"}


def _covered(times: list[tuple[float, float]], began: float, ended: float) -> float:
    """Return how much of a span is covered by others, which may overlap."""
    covered = 0.0
    reached = began

    for start, end in sorted(times):
        start, end = max(start, reached), min(end, ended)  # noqa: PLW2901 (clipped)

        if end > start:
            covered += end - start
            reached = end

    return covered
