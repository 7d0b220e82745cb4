"""Any order of operations leaves the store where a dict would be."""

import asyncio
import tempfile
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import anyio
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from queuectl.engine.domain.models import Job, OutcomeKind
from queuectl.engine.domain.states import TERMINAL, TRANSITIONS, JobState
from queuectl.engine.errors import DuplicateJobError, JobNotFoundError, JobStateError
from queuectl.engine.store.base import JobStore
from queuectl.engine.store.open import open_store
from tests.contract.model import Model
from tests.contract.steps import add, decided, everything, make_run
from tests.factories import NOW, make_new_job

T = TypeVar("T")

IDS = st.sampled_from("abcdef")
WORKERS = st.integers(1, 2)
WAITS = st.sampled_from([timedelta(), timedelta(seconds=1), timedelta(seconds=30)])
RETRIABLE = frozenset({JobState.FAILED, JobState.DEAD, JobState.CANCELLED})


class QueueMachine(RuleBasedStateMachine):
    """Does the same to a SQLite store and to a model, and compares."""

    # Every claim that was ever made: most of them do not hold any more.
    claims: Bundle[Job] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.now = NOW
        self.event = 0
        self.told: dict[str, JobState] = {}
        self.completed: dict[int, int] = {}
        self.run_counts: dict[int, int] = {}
        self.released: set[int] = set()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.closing = self.run(self._make_event())
        self.keeper = self.runner.get_loop().create_task(self._keep_open())
        self.store: JobStore = self.run(self._opened())

    async def _make_event(self) -> asyncio.Event:
        self._open: asyncio.Future[JobStore] = asyncio.get_running_loop().create_future()
        return asyncio.Event()

    async def _keep_open(self) -> None:
        async with anyio.create_task_group() as tasks:
            store = await open_store(Path(self.folder.name) / "queue.db", tasks, now=NOW)
            self._open.set_result(store)
            await self.closing.wait()
            await store.close()

    async def _opened(self) -> JobStore:
        await asyncio.wait({self.keeper, self._open}, return_when=asyncio.FIRST_COMPLETED)
        return self._open.result()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the machine's own loop."""
        return self.runner.run(call)

    def teardown(self) -> None:
        """Close the store."""

        async def close() -> None:
            self.closing.set()
            await self.keeper

        self.run(close())
        self.runner.close()
        self.folder.cleanup()

    @rule(
        ids=st.lists(IDS, min_size=1, max_size=3),
        priority=st.integers(0, 2),
        max_retries=st.integers(0, 2),
        wait=WAITS,
    )
    def enqueue(self, ids: list[str], priority: int, max_retries: int, wait: timedelta) -> None:
        run_at = self.now + wait
        jobs = [
            make_new_job(
                id=job_id,
                priority=priority,
                max_retries=max_retries,
                run_at=run_at,
                is_due=run_at <= self.now,
                created_at=self.now,
                tags=("tagged",),
            )
            for job_id in ids
        ]
        is_new = self.model.insert(
            ids, priority=priority, max_retries=max_retries, run_at=run_at, now=self.now
        )

        try:
            inserted = self.run(add(self.store, *jobs, now=self.now))
        except DuplicateJobError:
            assert not is_new
        else:
            assert is_new
            # The store may leave numbers out, but never goes back.
            assert all(job.seq > max(self.run_counts, default=0) for job in inserted)
            for job in inserted:
                self.model.jobs[job.id].seq = job.seq
            self.model.last_seq = max(job.seq for job in inserted)

    @rule(target=claims, worker=WORKERS, limit=st.integers(0, 3))
    def claim(self, worker: int, limit: int) -> MultipleResults[Job]:
        expected = self.model.claim(worker, limit, self.now)

        claim = self.run(self.store.claim(worker, limit, now=self.now))

        assert [job.id for job in claim.jobs] == expected
        waiting = [
            job.run_at
            for job in self.model.jobs.values()
            if job.state in {JobState.PENDING, JobState.FAILED} and not job.ready
        ]
        assert claim.next_due == min(waiting, default=None)
        return multiple(*claim.jobs)

    @rule(claim=claims, kind=st.sampled_from(OutcomeKind))
    def finish(self, claim: Job, kind: OutcomeKind) -> None:
        transition = decided(claim, kind, reason="why", now=self.now)
        expected = self.model.finish(claim, transition, self.now)
        run = make_run(kind, output=b"output", at=self.now)

        assert self.run(self.store.finish(claim, transition, run, now=self.now)) is expected

    @rule(claim=consumes(claims))
    def release(self, claim: Job) -> None:
        expected = self.model.release(claim, self.now)

        if expected:
            self.released.add(claim.seq)

        assert self.run(self.store.release([claim], now=self.now)) == expected

    @rule(job_id=IDS)
    def cancel(self, job_id: str) -> None:
        expected = self.model.cancel(job_id, self.now)

        try:
            self.run(self.store.cancel(job_id, None, now=self.now))
        except (JobNotFoundError, JobStateError):
            assert not expected
        else:
            assert expected

    @rule(
        ids=st.lists(IDS, min_size=1, max_size=2, unique=True),
        allowed=st.sampled_from([RETRIABLE, frozenset({JobState.DEAD})]),
    )
    def retry(self, ids: list[str], allowed: frozenset[JobState]) -> None:
        expected = self.model.retry(ids, allowed, self.now)

        try:
            self.run(self.store.retry(ids, allowed, now=self.now))
        except (JobNotFoundError, JobStateError):
            assert not expected
        else:
            assert expected

    @rule()
    def retry_dead(self) -> None:
        dead = self.model.ids_in(JobState.DEAD)
        self.model.retry(dead, RETRIABLE, self.now)

        assert self.run(self.store.retry_dead(now=self.now)) == len(dead)

    @rule(job_id=IDS)
    def delete(self, job_id: str) -> None:
        expected = self.model.delete(job_id)

        try:
            self.run(self.store.delete(job_id))
        except (JobNotFoundError, JobStateError):
            assert not expected
        else:
            assert expected

    @rule(states=st.lists(st.sampled_from(sorted(TERMINAL)), unique=True), age=WAITS)
    def purge(self, states: list[JobState], age: timedelta) -> None:
        until = self.now - age
        expected = self.model.purge(states, until)

        assert self.run(self.store.purge(states, until=until)).jobs == expected

    @rule(seconds=st.sampled_from([1, 2, 10, -5]))
    def let_time_pass_or_set_the_clock_back(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        found = [
            (job.id, job.seq, job.state, job.attempts, job.run_count, job.run_at, job.cancel_reason)
            for job in self.run(everything(self.store))
        ]

        expected = [
            (name, job.seq, job.state, job.attempts, job.run_count, job.run_at, job.cancel_reason)
            for name, job in self.model.jobs.items()
        ]
        assert found == sorted(expected, key=lambda row: row[1])

    @invariant()
    def the_counts_are_true(self) -> None:
        counts = self.run(self.store.stats(now=self.now)).counts

        assert counts == {state: len(self.model.ids_in(state)) for state in JobState}

    @invariant()
    def every_move_that_was_told_is_legal_and_none_was_left_out(self) -> None:
        for event in self.run(self.store.events(since=self.event, limit=1000)):
            before = self.told.get(event.job_id)
            is_new = event.state is JobState.PENDING and event.attempt == 0 and before is None
            assert is_new or (before is not None and event.state in TRANSITIONS[before]), event
            assert event.seq > self.event
            self.event, self.told[event.job_id] = event.seq, event.state

        self.told = {name: state for name, state in self.told.items() if name in self.model.jobs}
        assert self.told == {name: job.state for name, job in self.model.jobs.items()}
        assert self.run(self.store.last_event()) >= self.event

    @invariant()
    def attempts_stay_within_their_bounds(self) -> None:
        for job in self.run(everything(self.store)):
            assert 0 <= job.attempts <= job.max_retries + 1
            assert job.attempts <= job.run_count

    @invariant()
    def the_number_of_runs_falls_by_a_release_alone(self) -> None:
        for job in self.run(everything(self.store)):
            before = self.run_counts.get(job.seq, 0)
            assert job.run_count >= before - (job.seq in self.released)
            self.run_counts[job.seq] = job.run_count

        self.released.clear()

    @invariant()
    def what_has_completed_never_runs_again(self) -> None:
        for job in self.run(everything(self.store)):
            if job.seq in self.completed:
                assert job.state is JobState.COMPLETED
                assert job.run_count == self.completed[job.seq]
            elif job.state is JobState.COMPLETED:
                self.completed[job.seq] = job.run_count

    @invariant()
    def every_run_that_ended_is_kept(self) -> None:
        for name, job in self.model.jobs.items():
            if job.state in TERMINAL:
                runs = self.run(self.store.runs(name))
                assert [run.number for run in runs] == job.runs


QueueMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
)

TestQueue = QueueMachine.TestCase
