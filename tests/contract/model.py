"""What a store is meant to do, with a dict in its place."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from queuectl.engine.domain.lifecycle import Transition, cancelled_instead
from queuectl.engine.domain.models import Job, OnCrash
from queuectl.engine.domain.states import WAITING, JobState


@dataclass(kw_only=True)
class ModelJob:
    """A job, as far as its life goes."""

    seq: int
    priority: int
    max_retries: int
    on_crash: OnCrash
    run_at: datetime
    ready: bool
    updated_at: datetime
    state: JobState = JobState.PENDING
    attempts: int = 0
    run_count: int = 0
    crashes: int = 0
    interruptions: int = 0
    worker: int = 0
    cancel_reason: str | None = None
    stuck: str | None = None
    runs: list[int] = field(default_factory=list)


@dataclass
class Model:
    """A queue. Every method does what the store's method of that name is to do."""

    jobs: dict[str, ModelJob] = field(default_factory=dict)
    last_seq: int = 0

    def insert(
        self,
        ids: Sequence[str],
        *,
        priority: int,
        max_retries: int,
        on_crash: OnCrash,
        run_at: datetime,
        now: datetime,
    ) -> bool:
        """Return False where an id is taken."""
        if len(set(ids)) < len(ids) or set(ids) & self.jobs.keys():
            return False

        for job_id in ids:
            self.last_seq += 1
            self.jobs[job_id] = ModelJob(
                seq=self.last_seq,
                priority=priority,
                max_retries=max_retries,
                on_crash=on_crash,
                run_at=run_at,
                ready=run_at <= now,
                updated_at=now,
            )

        return True

    def claim(self, worker: int, limit: int, now: datetime) -> list[str]:
        """Return the ids of the jobs that are claimed, in order."""
        waiting = {name: job for name, job in self.jobs.items() if job.state in WAITING}

        for job in waiting.values():
            job.ready = job.ready or job.run_at <= now

        ready = [name for name, job in waiting.items() if job.ready]
        ready.sort(key=lambda name: (-self.jobs[name].priority, self.jobs[name].seq))

        for name in ready[:limit]:
            job = self.jobs[name]
            job.state, job.worker, job.updated_at = JobState.PROCESSING, worker, now
            job.attempts += 1
            job.run_count += 1

        return ready[:limit]

    def held(self, claim: Job) -> ModelJob | None:
        """Return the job of a claim that still holds."""
        job = self.jobs.get(claim.id)
        is_held = (
            job is not None
            and job.state is JobState.PROCESSING
            and (claim.seq, claim.run_count, claim.worker)
            == (job.seq, job.run_count, f"w{job.worker}")
        )
        return job if is_held else None

    def finish(self, claim: Job, transition: Transition, now: datetime) -> Transition | None:
        """Return what was applied, None where the claim does not hold."""
        job = self.held(claim)

        if job is None:
            return None

        if job.cancel_reason is not None:
            transition = cancelled_instead(transition, job.cancel_reason)

        job.runs.append(job.run_count)
        job.state, job.attempts = transition.state, transition.attempts
        job.crashes, job.interruptions = transition.crashes, transition.interruptions
        job.run_at, job.ready = transition.run_at, transition.run_at <= now
        job.cancel_reason, job.stuck, job.updated_at = None, None, now
        return transition

    def adopt(self, claim: Job, worker: int) -> bool:
        """Return False where the claim does not hold."""
        job = self.held(claim)

        if job is None:
            return False

        job.worker, job.stuck = worker, None
        return True

    def mark_stuck(self, claim: Job, words: str) -> bool:
        """Return False where the claim does not hold, or that was known."""
        job = self.held(claim)

        if job is None or job.stuck == words:
            return False

        job.stuck = words
        return True

    def release(self, claim: Job, now: datetime, *, interrupted: bool) -> bool:
        """Return False where the claim does not hold."""
        job = self.held(claim)

        if job is None:
            return False

        job.state = JobState.PENDING if job.cancel_reason is None else JobState.CANCELLED
        job.attempts -= 1
        job.run_count -= 1
        job.interruptions += interrupted
        job.ready, job.cancel_reason, job.stuck, job.updated_at = True, None, None, now
        return True

    def cancel(self, job_id: str, now: datetime) -> bool:
        """Return False where it cannot be cancelled."""
        job = self.jobs.get(job_id)

        if job is None or job.state not in {*WAITING, JobState.PROCESSING}:
            return False

        if job.state is JobState.PROCESSING:
            job.cancel_reason = job.cancel_reason or "cancelled"
        else:
            job.state, job.updated_at = JobState.CANCELLED, now

        return True

    def retry(self, ids: Sequence[str], allowed: frozenset[JobState], now: datetime) -> bool:
        """Return False where one of them cannot be retried."""
        if any(name not in self.jobs or self.jobs[name].state not in allowed for name in ids):
            return False

        for name in ids:
            job = self.jobs[name]
            job.state, job.attempts, job.ready = JobState.PENDING, 0, True
            job.crashes = 0
            job.run_at = job.updated_at = now

        return True

    def delete(self, job_id: str) -> bool:
        """Return False where it cannot be deleted."""
        job = self.jobs.get(job_id)

        if job is None or job.state is JobState.PROCESSING:
            return False

        del self.jobs[job_id]
        return True

    def purge(self, states: Sequence[JobState], until: datetime) -> int:
        """Return how many are deleted."""
        gone = [
            name
            for name, job in self.jobs.items()
            if job.state in states and job.updated_at <= until
        ]

        for name in gone:
            del self.jobs[name]

        return len(gone)

    def ids_in(self, state: JobState) -> list[str]:
        """Return the ids of the jobs in a state."""
        return [name for name, job in self.jobs.items() if job.state is state]
