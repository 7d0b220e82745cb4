"""Any order of operations leaves the store where a dict would be."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Coroutine
from datetime import timedelta
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from queuectl.engine.domain.events import Event, EventKind
from queuectl.engine.domain.lifecycle import CRASH_LIMIT
from queuectl.engine.domain.models import Job, OnCrash, OutcomeKind
from queuectl.engine.domain.states import TERMINAL, TRANSITIONS, WAITING, JobState
from queuectl.engine.errors import DuplicateJobError, JobNotFoundError, JobStateError
from queuectl.engine.store.base import JobStore
from queuectl.engine.store.open import open_store
from tests.contract.model import Model
from tests.contract.steps import add, decided, everything, make_run
from tests.factories import NOW, make_new_job

T = TypeVar("T")

IDS = st.sampled_from("abcdef")
WORKERS = st.integers(1, 2)
WAITS = st.sampled_from([timedelta(seconds=seconds) for seconds in (0, 0, 0, 1, 30)])
# Where there is a folder in memory, thousands of commits need no disk.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
RETRIABLE = frozenset({JobState.FAILED, JobState.DEAD, JobState.CANCELLED})
# Told of a run whose job stays where it is.
STAYING = frozenset({EventKind.ADOPTED, EventKind.STUCK})
# With many retries, it is the row of lost runs that a job dies of.
RETRIES = st.sampled_from([0, 1, 2, 2, 50])
# What a job and its model have in common.
SAME = attrgetter(
    *("seq", "state", "attempts", "run_count", "crashes", "interruptions"),
    *("on_crash", "run_at", "cancel_reason", "stuck"),
)


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
        self.counted: Counter[str] = Counter()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
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
        either: set[asyncio.Future[Any]] = {self.keeper, self._open}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return self._open.result()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the machine's own loop."""
        return self.runner.run(call)

    def has(self, *states: JobState) -> bool:
        """Whether there is a job in one of these states."""
        return any(job.state in states for job in self.model.jobs.values())

    def teardown(self) -> None:
        """Look at what is kept of the runs, and close the store."""

        async def close() -> None:
            self.closing.set()
            await self.keeper

        for name, job in self.model.jobs.items():
            assert [run.number for run in self.run(self.store.runs(name))] == job.runs

        assert self.run(self.store.check()).problems == []
        totals = self.run(self.store.totals())
        found = {kind.value: classes.count for kind, classes in totals.runs.items()}
        found |= {"enqueued": totals.enqueued, "retried": totals.retried}
        assert found == {name: self.counted[name] for name in found}
        self.run(close())
        self.runner.close()
        self.folder.cleanup()

    @initialize(priorities=st.lists(st.integers(0, 2), min_size=2, max_size=4))
    def begin_with_some_jobs(self, priorities: list[int]) -> None:
        for job_id, priority in zip("abcd", priorities, strict=False):
            self.enqueue(
                [job_id],
                priority=priority,
                max_retries=2,
                on_crash=OnCrash.ADOPT,
                wait=timedelta(),
            )

    @rule(
        ids=st.lists(IDS, min_size=1, max_size=3),
        priority=st.integers(0, 2),
        max_retries=RETRIES,
        on_crash=st.sampled_from(OnCrash),
        wait=WAITS,
    )
    def enqueue_more(
        self,
        ids: list[str],
        priority: int,
        max_retries: int,
        on_crash: OnCrash,
        wait: timedelta,
    ) -> None:
        self.enqueue(ids, priority=priority, max_retries=max_retries, on_crash=on_crash, wait=wait)

    def enqueue(
        self,
        ids: list[str],
        *,
        priority: int,
        max_retries: int,
        on_crash: OnCrash,
        wait: timedelta,
    ) -> None:
        run_at = self.now + wait
        jobs = [
            make_new_job(
                id=job_id,
                priority=priority,
                max_retries=max_retries,
                on_crash=on_crash,
                run_at=run_at,
                is_due=run_at <= self.now,
                created_at=self.now,
                tags=("tagged",),
            )
            for job_id in ids
        ]
        is_new = self.model.insert(
            ids,
            priority=priority,
            max_retries=max_retries,
            on_crash=on_crash,
            run_at=run_at,
            now=self.now,
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
            self.counted["enqueued"] += len(inserted)

    @precondition(lambda self: self.has(*WAITING))
    @rule(target=claims, worker=WORKERS, limit=st.integers(0, 3))
    def claim_some(self, worker: int, limit: int) -> MultipleResults[Job]:
        return multiple(*self.claim(worker, limit))

    @precondition(lambda self: self.has(*WAITING))
    @rule(target=claims, worker=WORKERS, kind=st.sampled_from(OutcomeKind))
    def claim_and_finish(self, worker: int, kind: OutcomeKind) -> MultipleResults[Job]:
        jobs = self.claim(worker, 1)

        for job in jobs:
            self.finish(job, kind)

        return multiple(*jobs)

    def claim(self, worker: int, limit: int) -> list[Job]:
        expected = self.model.claim(worker, limit, self.now)

        claim = self.run(self.store.claim(worker, limit, now=self.now))

        assert [job.id for job in claim.jobs] == expected
        waiting = [
            job.run_at for job in self.model.jobs.values() if job.state in WAITING and not job.ready
        ]
        assert claim.next_due == min(waiting, default=None)
        return claim.jobs

    @rule(claim=claims, kind=st.sampled_from(OutcomeKind))
    def finish_what_was_claimed_once(self, claim: Job, kind: OutcomeKind) -> None:
        self.finish(claim, kind)

    def finish(self, claim: Job, kind: OutcomeKind) -> None:
        transition = decided(claim, kind, reason="why", now=self.now)
        expected = self.model.finish(claim, transition, self.now)
        run = make_run(kind, output=b"output", at=self.now)

        assert self.run(self.store.finish(claim, transition, run, now=self.now)) == expected
        self.counted[kind] += expected is not None

    @precondition(lambda self: self.has(*WAITING))
    @rule(target=claims, worker=WORKERS, times=st.integers(2, CRASH_LIMIT + 1))
    def lose_every_worker_to_it(self, worker: int, times: int) -> MultipleResults[Job]:
        taken: list[Job] = []

        for _ in range(times):
            jobs = self.claim(worker, 1)
            taken += jobs

            for job in jobs:
                self.finish(job, OutcomeKind.LOST)

            # The wait for the next try, at the longest.
            self.now += timedelta(seconds=64)

        return multiple(*taken)

    @rule(claim=consumes(claims), interrupted=st.booleans())
    def release(self, claim: Job, *, interrupted: bool) -> None:
        expected = self.model.release(claim, self.now, interrupted=interrupted)

        if expected:
            self.released.add(claim.seq)

        released = self.store.release([claim], now=self.now, interrupted=interrupted)
        assert self.run(released) == expected

    @rule(target=claims, claim=claims, worker=WORKERS)
    def adopt(self, claim: Job, worker: int) -> MultipleResults[Job]:
        expected = self.model.adopt(claim, worker)

        adopted = self.run(self.store.adopt(claim, worker, now=self.now))

        assert (adopted is not None) is expected

        if adopted is None:
            return multiple()

        assert adopted == self.run(self.store.get(claim.id))
        assert adopted.worker == f"w{worker}"
        return multiple(adopted)

    @rule(claim=claims, words=st.sampled_from(["process 7", "process 8"]))
    def find_it_stuck(self, claim: Job, words: str) -> None:
        expected = self.model.mark_stuck(claim, words)

        assert self.run(self.store.mark_stuck(claim, words, now=self.now)) is expected

    @precondition(lambda self: self.has(*JobState))
    @rule(job_id=IDS)
    def cancel(self, job_id: str) -> None:
        expected = self.model.cancel(job_id, self.now)

        try:
            self.run(self.store.cancel(job_id, None, now=self.now))
        except (JobNotFoundError, JobStateError):
            assert not expected
        else:
            assert expected

    @precondition(lambda self: self.has(*RETRIABLE))
    @rule(number=st.integers(0, 5))
    def retry_one_that_can_be(self, number: int) -> None:
        able = [name for name, job in self.model.jobs.items() if job.state in RETRIABLE]
        self.retry([able[number % len(able)]], RETRIABLE)

    @precondition(lambda self: self.has(*RETRIABLE))
    @rule(
        ids=st.lists(IDS, min_size=1, max_size=2, unique=True),
        allowed=st.sampled_from([RETRIABLE, frozenset({JobState.DEAD})]),
    )
    def retry_any(self, ids: list[str], allowed: frozenset[JobState]) -> None:
        self.retry(ids, allowed)

    def retry(self, ids: list[str], allowed: frozenset[JobState]) -> None:
        expected = self.model.retry(ids, allowed, self.now)

        try:
            self.run(self.store.retry(ids, allowed, now=self.now))
        except (JobNotFoundError, JobStateError):
            assert not expected
        else:
            assert expected
            self.counted["retried"] += len(set(ids))

    @precondition(lambda self: self.has(JobState.DEAD))
    @rule()
    def retry_dead(self) -> None:
        dead = self.model.ids_in(JobState.DEAD)
        self.model.retry(dead, RETRIABLE, self.now)

        assert self.run(self.store.retry_dead(now=self.now)).jobs == len(dead)
        self.counted["retried"] += len(dead)

    @precondition(lambda self: self.has(*JobState))
    @rule(job_id=IDS)
    def delete(self, job_id: str) -> None:
        expected = self.model.delete(job_id)

        try:
            self.run(self.store.delete(job_id))
        except (JobNotFoundError, JobStateError):
            assert not expected
        else:
            assert expected

    @precondition(lambda self: self.has(*TERMINAL))
    @rule(states=st.lists(st.sampled_from(sorted(TERMINAL)), unique=True), age=WAITS)
    def purge(self, states: list[JobState], age: timedelta) -> None:
        until = self.now - age
        expected = self.model.purge(states, until)

        assert self.run(self.store.purge(states, until=until)).jobs == expected

    @rule(days=st.sampled_from([0, 1, 8]))
    def take_away_what_is_old(self, days: int) -> None:
        now, week = self.now + timedelta(days=days), timedelta(days=7)

        while self.run(self.store.prune(now=now, retention=week)):
            pass

    @rule(seconds=st.sampled_from([1, 2, 8, 30, -5]))
    def let_time_pass_or_set_the_clock_back(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        jobs, counts, events, last = self.run(self.look())

        self.check_jobs(jobs)
        self.check_events(events, last)
        self.check_numbers(jobs)
        assert counts == {state: len(self.model.ids_in(state)) for state in JobState}

    async def look(self) -> tuple[list[Job], dict[JobState, int], list[Event], int]:
        return (
            await everything(self.store),
            (await self.store.stats(now=self.now)).counts,
            await self.store.events(since=self.event, limit=1000),
            await self.store.last_event(),
        )

    def check_jobs(self, jobs: list[Job]) -> None:
        """Every job is where the model has it."""
        found = [(*SAME(job), job.id) for job in jobs]
        expected = [(*SAME(job), name) for name, job in self.model.jobs.items()]
        assert found == sorted(expected, key=itemgetter(0))

    def check_events(self, events: list[Event], last: int) -> None:
        """Every move that was told is legal, and none was left out."""
        for event in events:
            before = self.told.get(event.job_id)
            is_new = before is None and event.kind is EventKind.ENQUEUED
            stays = event.kind in STAYING and before is event.state
            is_move = before is not None and event.state in TRANSITIONS[before]
            assert is_new or stays or (is_move and event.kind not in STAYING), event
            assert event.seq > self.event
            self.event, self.told[event.job_id] = event.seq, event.state

        self.told = {name: state for name, state in self.told.items() if name in self.model.jobs}
        assert self.told == {name: job.state for name, job in self.model.jobs.items()}
        assert last >= self.event

    def check_numbers(self, jobs: list[Job]) -> None:
        """Attempts stay in their bounds, runs are counted up, what completed is left alone."""
        for job in jobs:
            before = self.run_counts.get(job.seq, 0)
            assert 0 <= job.attempts <= min(job.max_retries + 1, job.run_count)
            assert job.run_count >= before - (job.seq in self.released)
            assert job.crashes <= min(CRASH_LIMIT, job.attempts)
            assert job.state is JobState.PROCESSING or job.stuck is None
            assert job.run_count == self.completed.get(job.seq, job.run_count)
            assert job.state is JobState.COMPLETED or job.seq not in self.completed

            self.run_counts[job.seq] = job.run_count
            if job.state is JobState.COMPLETED:
                self.completed[job.seq] = job.run_count

        self.released.clear()


QueueMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
)

TestQueue = pytest.mark.slow(pytest.mark.timeout(120)(QueueMachine.TestCase))
