"""The queue at a glance."""

from datetime import timedelta

import msgspec

from queuectl.engine.domain.activity import Activity
from queuectl.engine.domain.models import WorkerInfo
from queuectl.engine.domain.states import JobState


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """
    The queue at a glance.

    Attributes:
        counts: Jobs by state, every state present.
        avg_duration: Of the completed jobs; None where there are none.
        oldest_pending: How long the oldest job that is due has waited; None
            where none is due.
        workers: Registered workers, by id.
        activity: What happened in the last minute, hour and day.
    """

    counts: dict[JobState, int]
    avg_duration: timedelta | None
    oldest_pending: timedelta | None
    workers: tuple[WorkerInfo, ...]
    activity: tuple[Activity, ...]
