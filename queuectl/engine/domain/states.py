"""The states of a job and the legal moves between them."""

from enum import StrEnum
from typing import Final

from queuectl.engine.errors import InvalidValueError


class JobState(StrEnum):
    """Where a job is in its life; the values are what the database holds."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    DEAD = "dead"
    CANCELLED = "cancelled"


# The migrations repeat this table as CHECKs and a trigger; a test compares them.
TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    # Claimed by a worker, or cancelled while it waits.
    JobState.PENDING: frozenset({JobState.PROCESSING, JobState.CANCELLED}),
    # The attempt ended; back to pending where it was given back uncharged.
    JobState.PROCESSING: frozenset(
        {
            JobState.COMPLETED,
            JobState.FAILED,
            JobState.DEAD,
            JobState.CANCELLED,
            JobState.PENDING,
        }
    ),
    # Claimed again when due, retried at once by hand, or cancelled.
    JobState.FAILED: frozenset({JobState.PROCESSING, JobState.PENDING, JobState.CANCELLED}),
    # Retried by hand.
    JobState.DEAD: frozenset({JobState.PENDING}),
    JobState.CANCELLED: frozenset({JobState.PENDING}),
    # A completed job is never run again.
    JobState.COMPLETED: frozenset(),
}

# States in which a worker may claim the job once it is due.
WAITING: Final = frozenset({JobState.PENDING, JobState.FAILED})

# States that end only by hand.
TERMINAL: Final = frozenset({JobState.COMPLETED, JobState.DEAD, JobState.CANCELLED})


def parse_state(state: JobState | str) -> JobState:
    """
    Return the state of this name.

    Raises:
        InvalidValueError: There is none.
    """
    try:
        return JobState(state)
    except ValueError:
        names = ", ".join(known.value for known in JobState)
        msg = f"no such state: {state!r} (the states are {names})"
        raise InvalidValueError(msg) from None
