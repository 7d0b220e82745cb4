"""Which histories of a job are legal: a state machine that reads events one by one."""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from tests.chaos.evidence import EventRow, JobRow

# A run that is lost this many times in a row ends its job.
CRASH_LIMIT: Final = 5

STATE_AFTER: Final = {
    "enqueued": "pending",
    "claimed": "processing",
    "completed": "completed",
    "failed": "failed",
    "died": "dead",
    "cancelled": "cancelled",
    "released": "pending",
    "retried": "pending",
    "adopted": "processing",
    "stuck": "processing",
}

# From which states an event may come; "" is before the first.
_MAY_FOLLOW: Final = {
    "enqueued": {""},
    "claimed": {"pending", "failed"},
    "completed": {"processing"},
    "failed": {"processing"},
    "died": {"processing"},
    "cancelled": {"pending", "failed", "processing"},
    "released": {"processing"},
    "retried": {"failed", "dead", "cancelled"},
    "adopted": {"processing"},
    "stuck": {"processing"},
}

# What is said of a run that its worker's death ended, or that is gone without a word.
_LOSSES: Final = ("lost", "worker died")


class Reading:
    """
    Reads the history of one job.

    Args:
        max_retries: As the job was given; None where that is not known.
        on_crash: As the job was given.
    """

    def __init__(self, max_retries: int | None = None, on_crash: str = "adopt") -> None:
        self._max_retries = max_retries
        self._on_crash = on_crash
        self.state = ""
        # The number that the job's row has, and the last one that was claimed.
        self.count = 0
        self._last = 0
        self.charged = 0
        self.may_be_uncharged = False
        self._crashes = 0
        self.problems: list[str] = []

    def read(self, event: EventRow) -> None:
        """Take in the next event."""
        if event.kind not in _MAY_FOLLOW:
            self._say(event, "is of an unknown kind")
            return

        if self.state not in _MAY_FOLLOW[event.kind]:
            self._say(event, f"comes from {self.state or 'nothing'}")

        react = _REACTIONS.get(event.kind, Reading._check_number)
        react(self, event)
        self.state = STATE_AFTER[event.kind]

    def _say(self, event: EventRow, words: str) -> None:
        self.problems.append(f"event {event.seq} {event.kind} of run {event.run} {words}")

    def _claimed(self, event: EventRow) -> None:
        if event.run != self.count + 1:
            self._say(event, f"comes after run {self.count}")

        self.count = self._last = event.run
        self.charged += 1

        if self._max_retries is not None and self.charged > self._max_retries + 1:
            self._say(event, f"is start {self.charged} of {self._max_retries + 1}")

    def _released(self, event: EventRow) -> None:
        self._check_number(event)
        self.charged -= 1

        # Given back before it was started, its number is free again.
        if event.reason is None:
            self.count -= 1

    def _check_number(self, event: EventRow) -> None:
        if event.run != self.count:
            self._say(event, f"is not of run {self.count}")

    def _cancelled(self, event: EventRow) -> None:
        # The number may have been given back a moment before.
        if event.run not in {self.count, self._last}:
            self._say(event, f"is not of run {self.count}")

        # Ended by its worker's end and cancelled then, the run is not charged.
        self.may_be_uncharged = self.state == "processing"

    def _retried(self, event: EventRow) -> None:
        self._check_number(event)
        self.may_be_uncharged = False
        self.charged = 0
        self._crashes = 0

    def _failed(self, event: EventRow) -> None:
        self._check_number(event)
        self._count_crash(event)

        if _is_loss(event):
            if self._crashes >= CRASH_LIMIT:
                self._say(event, f"goes on after {self._crashes} runs lost in a row")

            if self._on_crash == "dead":
                self._say(event, "is of a job that a crash was to end")

    def _died(self, event: EventRow) -> None:
        self._check_number(event)
        self._count_crash(event)
        reason = event.reason or ""

        if reason.endswith("in a row") and self._crashes != CRASH_LIMIT:
            self._say(event, f"was lost {self._crashes} times in a row")

    def _count_crash(self, event: EventRow) -> None:
        self._crashes = self._crashes + 1 if _is_loss(event) else 0


def _is_loss(event: EventRow) -> bool:
    return (event.reason or "").startswith(_LOSSES)


_REACTIONS: Final[dict[str, Callable[[Reading, EventRow], None]]] = {
    "claimed": Reading._claimed,
    "released": Reading._released,
    "cancelled": Reading._cancelled,
    "retried": Reading._retried,
    "failed": Reading._failed,
    "died": Reading._died,
}


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a job's history, in words."""

    job: str
    words: str


def illegal_histories(
    history: dict[str, list[EventRow]], jobs: dict[str, JobRow]
) -> Iterator[Judged]:
    """Yield what is wrong with the histories, and where they do not lead to the job's row."""
    for job_id, events in history.items():
        job = jobs.get(job_id)
        reading = Reading(job.max_retries, job.on_crash) if job else Reading()

        for event in events:
            reading.read(event)

        for problem in reading.problems:
            yield Judged(job=job_id, words=problem)

        if job is None:
            yield Judged(job=job_id, words="there are events of it, and no row")
        elif words := _difference(reading, job):
            yield Judged(job=job_id, words=words)

    for job_id in jobs.keys() - history.keys():
        yield Judged(job=job_id, words="there is no event of it")


def _difference(reading: Reading, job: JobRow) -> str:
    told = (reading.state, reading.count, reading.charged)
    found = (job.state, job.run_count, job.attempts)
    uncharged = (reading.state, reading.count, reading.charged - 1)

    if found == told or (reading.may_be_uncharged and found == uncharged):
        return ""

    return f"its events lead to {told}, its row says {found}"
