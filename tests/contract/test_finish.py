"""A run ends: only for who holds it, once, with its record and its event."""

from datetime import timedelta

import pytest

from queuectl.engine.domain.backoff import Backoff
from queuectl.engine.domain.lifecycle import cancelled_instead
from queuectl.engine.domain.models import OnCrash, OutcomeKind
from queuectl.engine.domain.states import JobState
from queuectl.engine.store.base import JobStore
from tests.contract.steps import (
    RUN_TIME,
    add_one,
    decided,
    end,
    events,
    history,
    make_run,
    take_one,
)
from tests.factories import NOW, JobFields, make_attempt, make_job

LATER = NOW + timedelta(seconds=30)
ENDS = {
    OutcomeKind.COMPLETED: (JobState.COMPLETED, "completed"),
    OutcomeKind.FAILED: (JobState.FAILED, "failed"),
    OutcomeKind.TIMED_OUT: (JobState.FAILED, "failed"),
    OutcomeKind.LOST: (JobState.FAILED, "failed"),
    OutcomeKind.SPAWN_FAILED: (JobState.FAILED, "failed"),
    OutcomeKind.CANCELLED: (JobState.CANCELLED, "cancelled"),
    OutcomeKind.INTERRUPTED: (JobState.PENDING, "released"),
}


@pytest.mark.parametrize("kind", OutcomeKind)
async def test_every_outcome_moves_the_job_and_is_recorded(
    store: JobStore, kind: OutcomeKind
) -> None:
    await add_one(store)
    job = await take_one(store)

    is_ours = await end(store, job, kind, reason="why", now=LATER)

    state, event = ENDS[kind]
    now = await store.get(job.id)
    [run] = await store.runs(job.id)
    assert is_ours
    assert now.state is state
    assert now.updated_at == LATER
    assert (now.started_at, now.finished_at, now.duration) == (LATER, LATER + RUN_TIME, RUN_TIME)
    assert (run.number, run.outcome) == (1, kind)
    assert await history(store) == ["enqueued", "claimed", event]


async def test_lost_runs_are_counted_in_a_row(store: JobStore) -> None:
    await add_one(store, max_retries=9)
    rows = []

    for minute, kind in enumerate(
        [
            OutcomeKind.LOST,
            OutcomeKind.LOST,
            OutcomeKind.INTERRUPTED,
            OutcomeKind.LOST,
            OutcomeKind.TIMED_OUT,
            OutcomeKind.LOST,
        ]
    ):
        at = NOW + timedelta(hours=minute)
        await end(store, await take_one(store, now=at), kind, reason="why", now=at)
        job = await store.get("job-1")
        rows.append((job.crashes, job.interruptions, job.attempts))

    assert rows == [(1, 0, 1), (2, 0, 2), (2, 1, 2), (3, 1, 3), (0, 1, 4), (1, 1, 5)]


async def test_the_fifth_run_lost_in_a_row_is_the_last(store: JobStore) -> None:
    await add_one(store, max_retries=9)
    for minute in range(5):
        at = NOW + timedelta(hours=minute)
        await end(store, await take_one(store, now=at), OutcomeKind.LOST, reason="lost", now=at)

    job = await store.get("job-1")

    assert (job.state, job.attempts, job.crashes) == (JobState.DEAD, 5, 5)
    assert job.reason == "lost 5 times in a row"
    assert [run.reason for run in await store.runs("job-1")] == ["lost"] * 5
    assert (await events(store))[-1].reason == "lost 5 times in a row"


async def test_a_job_may_die_of_its_first_lost_run(store: JobStore) -> None:
    await add_one(store, max_retries=9, on_crash=OnCrash.DEAD)

    await end(store, await take_one(store), OutcomeKind.LOST, reason="lost")

    job = await store.get("job-1")
    assert (job.state, job.reason, job.crashes) == (JobState.DEAD, "lost", 1)


async def test_a_run_is_kept_as_it_was_handed_in(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store, 12)
    run = make_run(OutcomeKind.FAILED, signal="SIGKILL", reason="signal=SIGKILL", output=b"hello")

    await store.finish(job, decided(job, OutcomeKind.FAILED), run, now=LATER)

    assert await store.runs(job.id) == [
        make_attempt(
            worker="w12",
            outcome=OutcomeKind.FAILED,
            exit_code=None,
            signal="SIGKILL",
            reason="signal=SIGKILL",
            cpu=timedelta(milliseconds=120),
            max_rss_bytes=2048 * 1024,
            output_bytes=5,
        )
    ]


async def test_what_could_not_be_measured_stays_unknown(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store)
    run = make_run(cpu=None, max_rss_bytes=None)

    await store.finish(job, decided(job, OutcomeKind.COMPLETED), run, now=NOW)

    [kept] = await store.runs(job.id)
    assert (kept.cpu, kept.max_rss_bytes) == (None, None)


@pytest.mark.parametrize("output", [b"hello\n", bytes(range(256)), b"\xff\x00" * 8192])
async def test_a_small_output_is_kept_byte_for_byte(store: JobStore, output: bytes) -> None:
    await add_one(store)
    job = await take_one(store)

    await end(store, job, output=output)

    assert await store.output(job.seq, 1) == output


@pytest.mark.parametrize("output", [b"", None])
async def test_where_no_output_was_handed_in_there_is_none(
    store: JobStore, output: bytes | None
) -> None:
    await add_one(store)
    job = await take_one(store)

    await end(store, job, output=output, output_bytes=0 if output is not None else 99_999)

    assert await store.output(job.seq, 1) is None
    assert await store.output(job.seq, 2) is None
    assert await store.output(job.seq + 1, 1) is None


async def test_each_run_keeps_its_own_record_and_output(store: JobStore) -> None:
    await add_one(store)
    await end(store, await take_one(store), OutcomeKind.FAILED, output=b"first")
    job = await take_one(store, 2, now=LATER)
    await end(store, job, output=b"second", now=LATER)

    runs = await store.runs(job.id)

    assert [(run.number, run.worker, run.outcome) for run in runs] == [
        (1, "w1", OutcomeKind.FAILED),
        (2, "w2", OutcomeKind.COMPLETED),
    ]
    assert [await store.output(job.seq, run) for run in (1, 2)] == [b"first", b"second"]


async def test_retries_run_out_and_the_job_dies(store: JobStore) -> None:
    await add_one(store, max_retries=1)
    await end(store, await take_one(store), OutcomeKind.FAILED, reason="exit_code=1")
    job = await take_one(store, now=LATER)

    await end(store, job, OutcomeKind.FAILED, reason="exit_code=1", now=LATER)

    dead = await store.get(job.id)
    assert (dead.state, dead.attempts, dead.reason) == (JobState.DEAD, 2, "exit_code=1")
    assert await history(store) == ["enqueued", "claimed", "failed", "claimed", "died"]


async def test_an_interrupted_run_is_not_charged_but_counted(store: JobStore) -> None:
    await add_one(store, max_retries=0)
    await end(store, await take_one(store), OutcomeKind.INTERRUPTED)

    job = await take_one(store, now=LATER)

    assert (job.attempts, job.run_count) == (1, 2)


@pytest.mark.parametrize("kind", OutcomeKind)
async def test_a_run_ends_once(store: JobStore, kind: OutcomeKind) -> None:
    await add_one(store)
    job = await take_one(store)
    await end(store, job, kind, output=b"first")
    before = (await store.get(job.id), await store.runs(job.id), await events(store))

    again = await end(store, job, output=b"second", now=LATER)

    assert not again
    assert (await store.get(job.id), await store.runs(job.id), await events(store)) == before
    assert await store.output(job.seq, 1) == b"first"


@pytest.mark.parametrize(
    "forged",
    [{"worker": "w2"}, {"worker": None}, {"run_count": 2}, {"run_count": 0}, {"seq": 99}],
    ids=str,
)
async def test_a_lost_claim_changes_nothing(store: JobStore, forged: JobFields) -> None:
    await add_one(store)
    job = await take_one(store, 1)
    claim: JobFields = {
        "seq": job.seq,
        "state": job.state,
        "attempts": 1,
        "run_count": job.run_count,
        "worker": job.worker,
    }
    claim.update(forged)
    stranger = make_job(**claim)

    is_ours = await end(store, stranger, output=b"not mine")

    assert not is_ours
    assert await store.get(job.id) == job
    assert await store.runs(job.id) == []
    assert await store.output(job.seq, job.run_count) is None
    assert await history(store) == ["enqueued", "claimed"]


async def test_an_earlier_run_cannot_end_a_later_one(store: JobStore) -> None:
    await add_one(store)
    first = await take_one(store)
    await end(store, first, OutcomeKind.LOST)
    second = await take_one(store, now=LATER)

    is_ours = await end(store, first, now=LATER)

    assert not is_ours
    assert await store.get(second.id) == second


async def test_a_deleted_job_cannot_be_ended(store: JobStore) -> None:
    await add_one(store)
    first = await take_one(store)
    await end(store, first)
    await store.delete(first.id)
    await add_one(store)
    await take_one(store)

    assert not await end(store, first)

    assert (await store.get(first.id)).state is JobState.PROCESSING


@pytest.mark.parametrize("kind", sorted(set(OutcomeKind) - {OutcomeKind.COMPLETED}))
async def test_cancel_wins_over_every_end_but_completion(
    store: JobStore, kind: OutcomeKind
) -> None:
    await add_one(store)
    job = await take_one(store)
    await store.cancel(job.id, "enough", now=NOW)

    transition = decided(job, kind, reason="exit_code=1")
    applied = await store.finish(job, transition, make_run(kind, reason="exit_code=1"), now=NOW)

    now = await store.get(job.id)
    [run] = await store.runs(job.id)
    assert applied == cancelled_instead(transition, "enough")
    assert (now.state, now.reason, now.cancel_reason) == (JobState.CANCELLED, "enough", None)
    assert (run.outcome, run.reason) == (kind, "exit_code=1")
    assert (await history(store))[-1] == "cancelled"


async def test_a_job_that_completed_has_completed_whoever_wanted_to_cancel_it(
    store: JobStore,
) -> None:
    await add_one(store)
    job = await take_one(store)
    await store.cancel(job.id, "enough", now=NOW)

    await end(store, job)

    now = await store.get(job.id)
    assert (now.state, now.reason, now.cancel_reason) == (JobState.COMPLETED, None, None)
    assert (await history(store))[-1] == "completed"


async def test_a_retry_that_is_due_at_once_is_claimed_at_once(store: JobStore) -> None:
    await add_one(store)
    job = await take_one(store)
    at_once = decided(job, OutcomeKind.FAILED, backoff=Backoff(base=0, longest=0, jitter=0))

    await store.finish(job, at_once, make_run(OutcomeKind.FAILED), now=NOW)

    assert (await take_one(store)).id == job.id


async def test_the_event_tells_the_run_the_time_and_the_reason(store: JobStore) -> None:
    await add_one(store)
    await end(store, await take_one(store), OutcomeKind.FAILED, reason="timeout", now=LATER)

    event = (await events(store))[-1]

    assert (event.attempt, event.at, event.reason) == (1, LATER, "timeout")
