"""What an engine says of its jobs, as the values that the checker judges."""

from collections.abc import Iterator

from queuectl import Event, Job, QueueEngine
from tests.chaos.evidence import EventRow, JobRow
from tests.chaos.histories import illegal_histories


async def all_events(engine: QueueEngine) -> list[Event]:
    """Return every event there has been."""
    last = await engine.last_event()
    heard: list[Event] = []

    if last:
        async for event in engine.events(since=0):
            heard.append(event)

            if event.seq >= last:
                break

    return heard


def illegal(events: list[Event], jobs: list[Job]) -> Iterator[str]:
    """Yield what is wrong with the histories of jobs, in words."""
    histories: dict[str, list[EventRow]] = {}

    for event in events:
        histories.setdefault(event.job_id, []).append(_event_row(event))

    for judged in illegal_histories(histories, {job.id: _job_row(job) for job in jobs}):
        yield f"illegal history of {judged.job}: {judged.words}"


def _event_row(event: Event) -> EventRow:
    return EventRow(
        seq=event.seq,
        at=event.at.timestamp(),
        job=event.job_id,
        kind=event.kind.value,
        run=event.attempt,
        reason=event.reason,
    )


def _job_row(job: Job) -> JobRow:
    return JobRow(
        id=job.id,
        state=job.state.value,
        attempts=job.attempts,
        run_count=job.run_count,
        max_retries=job.max_retries,
        timeout=None if job.timeout is None else job.timeout.total_seconds(),
        on_crash=job.on_crash.value,
    )
