"""
The judge: from what a run left to what was wrong with it.

Pure functions over the evidence. Every kind of violation has a function of its own,
and a test that shows that it finds one.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final

import msgspec

from tests.chaos.causes import CLOCK_STEP, Causes
from tests.chaos.durations import overlong_runs
from tests.chaos.evidence import Evidence, Line, RunRow
from tests.chaos.histories import illegal_histories

_TERMINAL: Final = frozenset({"completed", "dead", "cancelled"})


class Kind(StrEnum):
    """What can be wrong."""

    LOST = "lost"
    UNFINISHED = "unfinished"
    UNEXPECTED = "unexpected"
    DUPLICATED = "duplicated"
    OVERLAPPING = "overlapping"
    STARTED_TWICE = "started_twice"
    ILLEGAL = "illegal"
    RESULT_LOST = "result_lost"
    UNPROVED = "unproved"
    RUN_LOST = "run_lost"
    UNCAUSED = "uncaused"
    REPEATED = "repeated"
    OUTLIVING = "outliving"
    TOO_LONG = "too_long"
    LEFT_BEHIND = "left_behind"
    STRANGER_HARMED = "stranger_harmed"
    UNSOUND = "unsound"
    UNSOUND_COPY = "unsound_copy"
    ENGINE_FAILED = "engine_failed"
    HELPER_FAILED = "helper_failed"


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must not be; ``job`` is empty where it is about none."""

    kind: Kind
    job: str = ""
    words: str


def check(evidence: Evidence) -> list[Violation]:
    """Return everything that is wrong."""
    return [violation for find in FINDERS for violation in find(evidence)]


def find_lost(evidence: Evidence) -> Iterator[Violation]:
    """An acknowledged job is there."""
    for entry in evidence.client:
        if entry.what == "ok":
            for job_id in entry.ids:
                if job_id not in evidence.jobs:
                    words = f"acknowledged at {entry.at:.3f}, and not there"
                    yield Violation(kind=Kind.LOST, job=job_id, words=words)


def find_unfinished(evidence: Evidence) -> Iterator[Violation]:
    """Every job comes to an end when the faults have stopped."""
    for job in evidence.jobs.values():
        if job.state not in _TERMINAL:
            words = f"is {job.state} at the end"
            yield Violation(kind=Kind.UNFINISHED, job=job.id, words=words)


def find_unexpected(evidence: Evidence) -> Iterator[Violation]:
    """A job is there only because somebody wanted to enqueue it; it ran only if it is there."""
    invoked = {job_id for entry in evidence.client for job_id in entry.ids}

    for job_id in evidence.jobs.keys() - invoked:
        yield Violation(kind=Kind.UNEXPECTED, job=job_id, words="nobody enqueued it")

    for job_id in evidence.witness.keys() - evidence.jobs.keys():
        yield Violation(kind=Kind.UNEXPECTED, job=job_id, words="it ran, and is not there")


def find_duplicated(evidence: Evidence) -> Iterator[Violation]:
    """A job is completed once."""
    times = Counter(event.job for event in evidence.events if event.kind == "completed")

    for job_id, count in times.items():
        if count > 1:
            words = f"completed {count} times"
            yield Violation(kind=Kind.DUPLICATED, job=job_id, words=words)


def find_overlapping(evidence: Evidence) -> Iterator[Violation]:
    """
    A run lives only before the next one starts.

    Lines stand in the order in which they were written, whatever the clocks say. What
    left the group of a run that then ended by itself is not the run any more: only a
    run that somebody else ended takes all of it along.
    """
    for job_id, lines in evidence.witness.items():
        latest = 0
        ended = {line.attempt for line in lines if line.kind == "E"}

        for line in lines:
            if line.kind == "S":
                latest = max(latest, line.attempt)

            if line.attempt < latest and not (line.kind == "D" and line.attempt in ended):
                words = f"run {line.attempt} lives ({line.kind}) when run {latest} has started"
                yield Violation(kind=Kind.OVERLAPPING, job=job_id, words=words)
                break


def find_started_twice(evidence: Evidence) -> Iterator[Violation]:
    """A number is given back only by a run that never started."""
    for job_id, lines in evidence.witness.items():
        for attempt, count in Counter(n.attempt for n in lines if n.kind == "S").items():
            if count > 1:
                words = f"run {attempt} started {count} times"
                yield Violation(kind=Kind.STARTED_TWICE, job=job_id, words=words)


def find_illegal(evidence: Evidence) -> Iterator[Violation]:
    """Every history is legal, and leads to what the job's row says."""
    for judged in illegal_histories(evidence.history(), evidence.jobs):
        yield Violation(kind=Kind.ILLEGAL, job=judged.job, words=judged.words)


def find_result_lost(evidence: Evidence) -> Iterator[Violation]:
    """What ran to its end is recorded as it ended, unless somebody had ended it just before."""
    rows = evidence.run_rows()
    causes = Causes(evidence)

    for job_id, line in _ends_told(evidence):
        row = rows.get((job_id, line.attempt))

        if row is None or not (_is_told_right(row, line) or causes.is_excused(row, line)):
            found = "nothing" if row is None else f"{row.outcome} ({row.reason})"
            words = f"run {line.attempt} ended with {line.code}, recorded is {found}"
            yield Violation(kind=Kind.RESULT_LOST, job=job_id, words=words)


def _ends_told(evidence: Evidence) -> Iterator[tuple[str, Line]]:
    """Yield the last lines of runs, with their job."""
    for job_id, lines in evidence.witness.items():
        if job_id in evidence.jobs:
            yield from ((job_id, line) for line in lines if line.kind == "E")


def _is_told_right(row: RunRow, line: Line) -> bool:
    return row.outcome == ("failed" if line.code else "completed") and row.exit_code == line.code


def find_unproved(evidence: Evidence) -> Iterator[Violation]:
    """
    Every outcome has a cause.

    A run said so itself; or its time was up, an operator asked for it, the nemesis or it
    itself killed it, or its worker died and the job was not to be adopted.
    """
    causes = Causes(evidence)
    kinds = {"completed": Kind.UNPROVED, "lost": Kind.RUN_LOST}

    for row in evidence.runs:
        if not causes.is_proved(row):
            words = (
                f"run {row.number} is {row.outcome} ({row.reason}), exit code {row.exit_code},"
                " and nothing led to that"
            )
            yield Violation(kind=kinds.get(row.outcome, Kind.UNCAUSED), job=row.job, words=words)


def find_unasked(evidence: Evidence) -> Iterator[Violation]:
    """A job is cancelled or retried as often as somebody asked for it, and no oftener."""
    causes = Causes(evidence)
    times: Counter[tuple[str, str]] = Counter()

    for event in evidence.events:
        if event.kind in {"cancelled", "retried"}:
            times[event.job, event.kind] += 1

            if len(causes.asked(event)) < times[event.job, event.kind]:
                words = f"run {event.run} is {event.kind}, and nobody asked for it"
                yield Violation(kind=Kind.UNCAUSED, job=event.job, words=words)


def find_repeated(evidence: Evidence) -> Iterator[Violation]:
    """
    A job succeeds once.

    Between a run's last line and the code that its shell keeps, it may be ended: then
    it is run again, and nobody can tell. So one for which that may be does not count.
    """
    causes = Causes(evidence)
    rows = evidence.run_rows()
    successes: dict[str, int] = Counter()

    for job_id, line in _ends_told(evidence):
        row = rows.get((job_id, line.attempt))
        is_cut = row is not None and row.outcome != "completed" and causes.was_cut_short(row, line)
        successes[job_id] += line.code == 0 and not is_cut

    for job_id, count in successes.items():
        if count > 1:
            words = f"{count} runs came to a good end, and nobody had ended any"
            yield Violation(kind=Kind.REPEATED, job=job_id, words=words)


def find_outliving(evidence: Evidence) -> Iterator[Violation]:
    """
    What is recorded as over is over.

    Not what left the group of a run that then ended by itself.
    """
    over = evidence.ends()

    for job_id, lines in evidence.witness.items():
        ended = {line.attempt for line in lines if line.kind == "E"}

        for line in lines:
            event = over.get((job_id, line.attempt))
            is_free = line.kind == "D" and line.attempt in ended

            if event is not None and line.at > event.at + CLOCK_STEP and not is_free:
                late = f"{line.at - event.at:.2f} s after it was {event.kind}"
                words = f"run {line.attempt} lives ({line.kind}) {late}"
                yield Violation(kind=Kind.OUTLIVING, job=job_id, words=words)
                break


def find_too_long(evidence: Evidence) -> Iterator[Violation]:
    """No run lives longer than its timeout and the grace, but for the time of faults."""
    for run in overlong_runs(evidence):
        yield Violation(kind=Kind.TOO_LONG, job=run.job, words=run.words)


def find_left_behind(evidence: Evidence) -> Iterator[Violation]:
    """After a clean stop nothing is left: processes, zombies, locks, folders."""
    end = evidence.end
    left = {
        "process": end.left,
        "zombie": end.zombies,
        "lock": end.locks,
        "folder": end.folders,
    }

    for what, names in left.items():
        for name in names:
            yield Violation(kind=Kind.LEFT_BEHIND, words=f"{what}: {name}")


def find_harmed_strangers(evidence: Evidence) -> Iterator[Violation]:
    """Nobody's process is ended for having a number that a run's process had."""
    for words in evidence.end.strangers:
        yield Violation(kind=Kind.STRANGER_HARMED, words=words)


def find_unsound(evidence: Evidence) -> Iterator[Violation]:
    """The database is whole and counts right."""
    for problem in evidence.end.problems:
        yield Violation(kind=Kind.UNSOUND, words=problem)


def find_unsound_copies(evidence: Evidence) -> Iterator[Violation]:
    """A copy whose log was cut anywhere is a state that the database has been in."""
    for problem in evidence.end.copies:
        yield Violation(kind=Kind.UNSOUND_COPY, words=problem)


def find_failures(evidence: Evidence) -> Iterator[Violation]:
    """Only the nemesis ends engines; nothing else fails."""
    for words in evidence.end.engine_failures:
        yield Violation(kind=Kind.ENGINE_FAILED, words=words)

    for words in evidence.end.helper_failures:
        yield Violation(kind=Kind.HELPER_FAILED, words=words)


FINDERS: Final[tuple[Callable[[Evidence], Iterator[Violation]], ...]] = (
    find_lost,
    find_unfinished,
    find_unexpected,
    find_duplicated,
    find_overlapping,
    find_started_twice,
    find_illegal,
    find_result_lost,
    find_unproved,
    find_unasked,
    find_repeated,
    find_outliving,
    find_too_long,
    find_left_behind,
    find_harmed_strangers,
    find_unsound,
    find_unsound_copies,
    find_failures,
)
