"""Short words for what tests of a store say again and again."""

from datetime import datetime, timedelta
from typing import Final, Unpack

from queuectl.engine.domain.backoff import Backoff
from queuectl.engine.domain.events import Event
from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.domain.lifecycle import Outcome, Transition, decide
from queuectl.engine.domain.models import Job, NewJob, OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import JobStore, RunRecord
from tests.factories import NOW, NewJobFields, make_new_job

BACKOFF: Final = Backoff(base=2, longest=3600, jitter=0)
RUN_TIME: Final = timedelta(seconds=2)
EVERY_JOB: Final = JobFilter()


async def add(store: JobStore, *jobs: NewJob, now: datetime = NOW) -> list[Job]:
    """Insert these jobs."""
    return await store.insert(lambda _: jobs, now=now)


async def add_one(store: JobStore, job_id: str = "job-1", **fields: Unpack[NewJobFields]) -> Job:
    """Insert a job that is due at once, unless the fields say otherwise."""
    fields["id"] = job_id
    [job] = await add(store, make_new_job(**fields))
    return job


async def add_due_at(store: JobStore, job_id: str, run_at: datetime) -> Job:
    """Insert a job for later."""
    return await add_one(store, job_id, run_at=run_at, is_due=run_at <= NOW)


async def take(
    store: JobStore, worker: int = 1, *, limit: int = 100, now: datetime = NOW
) -> list[Job]:
    """Claim jobs."""
    return (await store.claim(worker, limit, now=now)).jobs


async def take_one(store: JobStore, worker: int = 1, *, now: datetime = NOW) -> Job:
    """Claim the one job that is due."""
    [job] = await take(store, worker, limit=1, now=now)
    return job


def make_run(
    kind: OutcomeKind = OutcomeKind.COMPLETED,
    *,
    signal: str | None = None,
    reason: str | None = None,
    cpu: timedelta | None = timedelta(milliseconds=120),
    max_rss_bytes: int | None = 2048 * 1024,
    output: bytes | None = b"",
    output_bytes: int | None = None,
    at: datetime = NOW,
    took: timedelta = RUN_TIME,
) -> RunRecord:
    """Return a run that began at this time."""
    exit_code = 0 if kind is OutcomeKind.COMPLETED else 1

    return RunRecord(
        started_at=at,
        finished_at=at + took,
        outcome=kind,
        exit_code=None if signal else exit_code,
        signal=signal,
        reason=reason,
        cpu=cpu,
        max_rss_bytes=max_rss_bytes,
        output_bytes=len(output or b"") if output_bytes is None else output_bytes,
        output=output,
    )


def decided(
    job: Job,
    kind: OutcomeKind,
    *,
    reason: str | None = None,
    now: datetime = NOW,
    backoff: Backoff = BACKOFF,
) -> Transition:
    """Decide what becomes of a job; a retry waits 2, 4, 8 seconds."""
    return decide(job, Outcome(kind=kind, reason=reason), backoff=backoff, now=now, luck=0.0)


async def end(
    store: JobStore,
    job: Job,
    kind: OutcomeKind = OutcomeKind.COMPLETED,
    *,
    reason: str | None = None,
    output: bytes | None = b"",
    output_bytes: int | None = None,
    now: datetime = NOW,
) -> bool:
    """Finish a claimed job; return whether it was still held."""
    run = make_run(kind, reason=reason, output=output, output_bytes=output_bytes, at=now)
    transition = decided(job, kind, reason=reason, now=now)
    return await store.finish(job, transition, run, now=now) is not None


async def add_in(store: JobStore, state: JobState, job_id: str = "job-1", worker: int = 1) -> Job:
    """Insert a job and bring it into a state; nothing else may be due."""
    max_retries = 3 if state is JobState.FAILED else 0
    await add_one(store, job_id, max_retries=max_retries)

    match state:
        case JobState.PENDING:
            pass
        case JobState.CANCELLED:
            await store.cancel(job_id, None, now=NOW)
        case JobState.PROCESSING:
            await take_one(store, worker)
        case JobState.COMPLETED:
            await end(store, await take_one(store, worker))
        case JobState.FAILED | JobState.DEAD:
            job = await take_one(store, worker)
            await end(store, job, OutcomeKind.FAILED, reason="exit_code=1")

    return await store.get(job_id)


async def everything(store: JobStore) -> list[Job]:
    """Return every job, in order of arrival."""
    return await store.list_jobs(EVERY_JOB, after=0, limit=100_000)


async def ids(store: JobStore) -> list[str]:
    """Return every job's id, in order of arrival."""
    return [job.id for job in await everything(store)]


async def history(store: JobStore, job_id: str = "job-1") -> list[str]:
    """Return what happened to a job, in words."""
    return [event.kind.value for event in await events(store) if event.job_id == job_id]


async def events(store: JobStore) -> list[Event]:
    """Return every event."""
    return await store.events(since=0, limit=100_000)


async def true_counts(store: JobStore) -> dict[JobState, int]:
    """Return how many jobs there are in each state, counted one by one."""
    states = [job.state for job in await everything(store)]
    return {state: states.count(state) for state in JobState}
