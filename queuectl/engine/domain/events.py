"""What happened to jobs, in the past tense, as rows of one sequence."""

from datetime import datetime
from enum import StrEnum

import msgspec

from queuectl.engine.domain.states import JobState


class EventKind(StrEnum):
    """What happened; the values are what the database holds."""

    ENQUEUED = "enqueued"
    CLAIMED = "claimed"
    COMPLETED = "completed"
    FAILED = "failed"
    DIED = "died"
    CANCELLED = "cancelled"
    RELEASED = "released"
    RETRIED = "retried"
    ADOPTED = "adopted"
    STUCK = "stuck"


STATE_AFTER: dict[EventKind, JobState] = {
    EventKind.ENQUEUED: JobState.PENDING,
    EventKind.CLAIMED: JobState.PROCESSING,
    EventKind.COMPLETED: JobState.COMPLETED,
    EventKind.FAILED: JobState.FAILED,
    EventKind.DIED: JobState.DEAD,
    EventKind.CANCELLED: JobState.CANCELLED,
    EventKind.RELEASED: JobState.PENDING,
    EventKind.RETRIED: JobState.PENDING,
    EventKind.ADOPTED: JobState.PROCESSING,
    EventKind.STUCK: JobState.PROCESSING,
}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """
    One change of a job's state, written in the transaction that made it.

    Attributes:
        seq: Its place in the sequence of all events; never goes back.
        at: In UTC.
        kind: What happened.
        job_id: To which job.
        attempt: The number of the run it belongs to, 0 before the first.
        reason: Why, where there is something to say.
    """

    seq: int
    at: datetime
    kind: EventKind
    job_id: str
    attempt: int
    reason: str | None

    @property
    def state(self) -> JobState:
        """The state that the job is in from here on."""
        return STATE_AFTER[self.kind]
