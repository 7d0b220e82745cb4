"""What `top` shows, as JSON: what `status` has, and what runs and failed."""

from typing import Annotated

import msgspec

from queuectl import JobRecord, StatusRecord, format_time, job_record, status_record
from queuectl.cli.look import Failure, Look, RunningJob

_Time = Annotated[str, msgspec.Meta(description="RFC 3339, UTC")]
_Seconds = Annotated[float, msgspec.Meta(description="seconds")]


class RunningRecord(JobRecord, frozen=True, kw_only=True):
    """A job that runs."""

    age_sec: _Seconds
    last_line: str


class FailureRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run that went wrong."""

    at: _Time
    job_id: str
    attempt: int
    state: str
    reason: str


class TopRecord(StatusRecord, frozen=True, kw_only=True):
    """The queue at a glance, with what runs and what failed lately."""

    at: _Time
    running: list[RunningRecord]
    failures: list[FailureRecord]


def top_record(look: Look) -> TopRecord:
    """Return the JSON form of a look."""
    fields = msgspec.structs.asdict(status_record(look.stats))

    return TopRecord(
        **fields,
        at=format_time(look.at),
        running=[_running_record(each) for each in look.running],
        failures=[_failure_record(each) for each in look.failures],
    )


def _running_record(running: RunningJob) -> RunningRecord:
    fields = msgspec.structs.asdict(job_record(running.job))
    age = round(running.age.total_seconds(), 3)
    return RunningRecord(**fields, age_sec=age, last_line=running.last_line)


def _failure_record(failure: Failure) -> FailureRecord:
    return FailureRecord(
        at=format_time(failure.at),
        job_id=failure.job_id,
        attempt=failure.attempt,
        state=failure.state,
        reason=failure.reason,
    )
