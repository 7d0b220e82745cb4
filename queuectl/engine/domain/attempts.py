"""The runs of a job as one list: those that are recorded, and the one under way."""

from collections.abc import Sequence

from queuectl.engine.domain.models import Attempt, Job
from queuectl.engine.domain.states import JobState


def attempts_of(job: Job, recorded: Sequence[Attempt]) -> list[Attempt]:
    """
    Return the runs of a job, the first in front; the last may be under way.

    Args:
        job: As last seen.
        recorded: Its runs, looked up after it: some may be later than it.
    """
    running = _latest_attempt(job)
    past = [run for run in recorded if run.number <= job.run_count]

    if running is not None and all(run.number < running.number for run in past):
        return [*past, running]

    return past


def _latest_attempt(job: Job) -> Attempt | None:
    """Return the attempt that is under way, None where none is."""
    if job.state is not JobState.PROCESSING or job.started_at is None:
        return None

    return Attempt(
        job_id=job.id,
        number=job.run_count,
        worker=job.worker or "",
        started_at=job.started_at,
        finished_at=None,
        outcome=None,
        exit_code=None,
        signal=None,
        reason=None,
        cpu=None,
        max_rss_bytes=None,
        output_bytes=0,
    )
