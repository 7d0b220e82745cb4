"""The whole retry and DLQ policy: what becomes of a job when an attempt ends."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, assert_never

import msgspec

from queuectl.engine.domain.backoff import Backoff
from queuectl.engine.domain.events import EventKind
from queuectl.engine.domain.models import Job, OnCrash, OutcomeKind
from queuectl.engine.domain.states import JobState

# A job that takes its worker along every time is not tried for ever; HyperQueue's
# crash limit is the same.
CRASH_LIMIT: Final = 5


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """
    How an attempt ended. A command that fails is an outcome, never an exception.

    Attributes:
        kind: In one word.
        exit_code: None where a signal ended it, or it did not start.
        signal: The signal that ended it, as ``SIGKILL``.
        reason: Why it did not succeed; None where it did.
        pause: For an interrupted attempt, how long the job should wait before
            anybody tries again.
    """

    kind: OutcomeKind
    exit_code: int | None = None
    signal: str | None = None
    reason: str | None = None
    pause: timedelta = timedelta()


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """
    A decided move.

    Attributes:
        state: The state from here on.
        event: What to call the move.
        attempts: Runs charged from here on.
        crashes: Runs lost in a row, from here on.
        interruptions: Runs interrupted, from here on.
        run_at: Not before this time.
        reason: Why, where the job did not complete.
        was_due: The time that ``run_at`` replaces, None where it stays. It is no
            part of what was decided, so equal moves may differ in it.
    """

    state: JobState
    event: EventKind
    attempts: int
    crashes: int
    interruptions: int
    run_at: datetime
    reason: str | None
    was_due: datetime | None = field(default=None, compare=False, repr=False)


def decide(
    job: Job,
    outcome: Outcome,
    *,
    backoff: Backoff,
    now: datetime,
    luck: float,
) -> Transition:
    """
    Decide what becomes of a job whose attempt has ended.

    Args:
        job: As claimed, so that ``attempts`` counts the attempt that ended.
        outcome: How it ended.
        backoff: The job's backoff.
        now: When it ended.
        luck: Where in the backoff's jitter to land, 0.0 to 1.0.
    """
    match outcome.kind:
        case OutcomeKind.COMPLETED:
            return _end(job, JobState.COMPLETED, EventKind.COMPLETED, None)
        case OutcomeKind.CANCELLED:
            return _end(
                job, JobState.CANCELLED, EventKind.CANCELLED, outcome.reason, crashes=job.crashes
            )
        case OutcomeKind.INTERRUPTED:
            return Transition(
                state=JobState.PENDING,
                event=EventKind.RELEASED,
                attempts=job.attempts - 1,
                crashes=job.crashes,
                interruptions=job.interruptions + 1,
                run_at=now + outcome.pause,
                reason=outcome.reason,
                was_due=job.run_at,
            )
        case OutcomeKind.LOST:
            return _retry_lost(job, outcome, due=now + backoff.delay(job.attempts, luck))
        case OutcomeKind.FAILED | OutcomeKind.TIMED_OUT | OutcomeKind.SPAWN_FAILED:
            return _retry(job, outcome, due=now + backoff.delay(job.attempts, luck))
        case _:
            assert_never(outcome.kind)


def cancelled_instead(transition: Transition, reason: str) -> Transition:
    """
    Return what becomes of a job that was asked to be cancelled while it ran.

    A job that completed has completed; every other move is a cancellation, and
    the due time stays as the record of when it was due.
    """
    if transition.state is JobState.COMPLETED:
        return transition

    return Transition(
        state=JobState.CANCELLED,
        event=EventKind.CANCELLED,
        attempts=transition.attempts,
        crashes=transition.crashes,
        interruptions=transition.interruptions,
        run_at=transition.was_due or transition.run_at,
        reason=reason,
    )


def _retry_lost(job: Job, outcome: Outcome, *, due: datetime) -> Transition:
    """Try again, unless the job is not to be, or takes its worker along every time."""
    crashes = job.crashes + 1

    if job.on_crash is OnCrash.DEAD:
        return _end(job, JobState.DEAD, EventKind.DIED, outcome.reason, crashes=crashes)

    if crashes >= CRASH_LIMIT:
        reason = f"{outcome.reason} {crashes} times in a row"
        return _end(job, JobState.DEAD, EventKind.DIED, reason, crashes=crashes)

    return _retry(job, outcome, due=due, crashes=crashes)


def _retry(job: Job, outcome: Outcome, *, due: datetime, crashes: int = 0) -> Transition:
    """Try again when it is due, as long as there is a retry left."""
    if job.attempts > job.max_retries:
        return _end(job, JobState.DEAD, EventKind.DIED, outcome.reason, crashes=crashes)

    return Transition(
        state=JobState.FAILED,
        event=EventKind.FAILED,
        attempts=job.attempts,
        crashes=crashes,
        interruptions=job.interruptions,
        run_at=due,
        reason=outcome.reason,
        was_due=job.run_at,
    )


def _end(
    job: Job, state: JobState, event: EventKind, reason: str | None, *, crashes: int = 0
) -> Transition:
    """Move to a terminal state; the due time stays as the record of when it was due."""
    return Transition(
        state=state,
        event=event,
        attempts=job.attempts,
        crashes=crashes,
        interruptions=job.interruptions,
        run_at=job.run_at,
        reason=reason,
    )
