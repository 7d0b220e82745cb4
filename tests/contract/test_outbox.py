"""What webhooks are to be told is written with what changes a job, and with nothing else."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from queuectl.engine.domain.delivering import Answer, Decision
from queuectl.engine.domain.durations import format_time
from queuectl.engine.domain.events import EventKind
from queuectl.engine.domain.models import OutcomeKind
from queuectl.engine.domain.records import job_record
from queuectl.engine.domain.states import JobState
from queuectl.engine.domain.webhooks import (
    MOST_WEBHOOKS,
    WATCHED,
    Delivery,
    DeliveryState,
    Webhook,
)
from queuectl.engine.errors import (
    DeliveryNotFoundError,
    DeliveryStateError,
    InvalidValueError,
    StoreError,
    WebhookNotFoundError,
)
from queuectl.engine.store.base import JobStore
from queuectl.engine.store.outbox import Message, Sent, WebhookSpec
from queuectl.engine.store.sqlite import operations
from queuectl.engine.store.sqlite.store import SqliteStore
from queuectl.engine.store.sqlite.telling import tell
from tests.contract.steps import add, add_one, decided, end, events, make_run, take, take_one
from tests.contract.test_costs import counted
from tests.factories import NOW, make_new_job

URL: Final = "https://example.com/hook"
SECRET: Final = "whsec_x"  # noqa: S105 (nobody checks it here)
SECOND: Final = timedelta(seconds=1)


async def listen(
    store: JobStore, on: Sequence[JobState] = WATCHED, tags: Sequence[str] = ()
) -> Webhook:
    spec = WebhookSpec(url=URL, secret=SECRET, on=tuple(on), tags=tuple(tags))
    return await store.outbox.add(spec, now=NOW)


async def told(store: JobStore) -> list[Delivery]:
    return await store.outbox.deliveries(webhook=None, state=None, limit=1000)


async def waiting(store: JobStore) -> list[Message]:
    """Return what is to be sent to the first webhook."""
    [target, *_] = await store.outbox.targets()
    return await store.outbox.due(target, limit=1000, now=NOW)


async def settle(
    store: JobStore, message: Message, decision: Decision, status: int | None = None
) -> None:
    sent = Sent(message=message, answer=Answer(status=status), decision=decision)
    await store.outbox.settle(sent, now=NOW)


DEAD: Final = Decision(state=DeliveryState.DEAD)
DELIVERED: Final = Decision(state=DeliveryState.DELIVERED)


async def test_what_is_told_is_the_job_as_it_is_after_the_change(store: JobStore) -> None:
    await listen(store)
    await add_one(store, env={"TOKEN": "hush"})
    await end(store, await take_one(store), OutcomeKind.COMPLETED)

    [message] = await waiting(store)

    said = msgspec.json.decode(message.body)
    job = msgspec.json.decode(msgspec.json.encode(job_record(await store.get("job-1"))))
    assert said.pop("data") == job
    assert said == {"type": "job.completed", "timestamp": "2026-11-21T09:00:00.000Z"}
    assert b"hush" not in message.body


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (OutcomeKind.COMPLETED, ["job.completed"]),
        (OutcomeKind.FAILED, ["job.failed"]),
        (OutcomeKind.CANCELLED, ["job.cancelled"]),
        (OutcomeKind.INTERRUPTED, []),
    ],
)
async def test_every_end_of_a_run_that_is_news_is_told(
    store: JobStore, outcome: OutcomeKind, kind: list[str]
) -> None:
    await listen(store)
    await add_one(store)
    await end(store, await take_one(store), outcome)

    assert [each.type for each in await told(store)] == kind


async def test_jobs_that_end_together_are_told_of_each_with_its_own_time(
    sqlite: SqliteStore,
) -> None:
    await listen(sqlite)
    await add(sqlite, make_new_job(id="first"), make_new_job(id="second"))
    first, second = await take(sqlite)
    ends = [
        operations.End(job, decided(job, OutcomeKind.COMPLETED), make_run(), at)
        for job, at in ((first, NOW - SECOND), (second, NOW))
    ]

    await counted(sqlite, lambda connection: operations.finish(connection, ends))

    messages = [msgspec.json.decode(each.body) for each in await waiting(sqlite)]
    ended = [event for event in await events(sqlite) if event.kind is EventKind.COMPLETED]
    assert [message["timestamp"] for message in messages] == [
        format_time(event.at) for event in ended
    ]
    assert {each.job_id: each.created_at for each in await told(sqlite)} == {
        "first": NOW - SECOND,
        "second": NOW,
    }


async def test_a_death_is_told(store: JobStore) -> None:
    await listen(store)
    await add_one(store, max_retries=0)
    await end(store, await take_one(store), OutcomeKind.FAILED)

    assert [each.type for each in await told(store)] == ["job.dead"]


async def test_a_cancelled_job_is_told_of_once(store: JobStore) -> None:
    await listen(store)
    await add_one(store)
    await store.cancel("job-1", "enough", now=NOW)
    await add_one(store, "job-2")
    job = await take_one(store)
    await store.cancel("job-2", "enough", now=NOW)
    # Given back by a worker that did not start it.
    await store.release([job], now=NOW)

    assert [(each.job_id, each.type) for each in await told(store)] == [
        ("job-1", "job.cancelled"),
        ("job-2", "job.cancelled"),
    ]


async def test_each_webhook_is_told_what_it_wants_to_know(store: JobStore) -> None:
    everything = await listen(store)
    deaths = await listen(store, on=[JobState.DEAD])
    tagged = await listen(store, tags=["b", "c"])
    await add(
        store,
        make_new_job(id="plain"),
        make_new_job(id="tagged", tags=("a", "b")),
    )

    for job in await take(store):
        await end(store, job, OutcomeKind.COMPLETED)

    assert [(each.webhook, each.job_id) for each in await told(store)] == [
        (everything.id, "plain"),
        (everything.id, "tagged"),
        (tagged.id, "tagged"),
    ]
    assert deaths.id not in {each.webhook for each in await told(store)}


async def test_every_delivery_has_an_id_of_its_own(store: JobStore) -> None:
    await listen(store)
    await listen(store)
    await add(store, *(make_new_job(id=f"job-{n}") for n in range(5)))
    await asyncio.gather(*(end(store, job, OutcomeKind.COMPLETED) for job in await take(store)))

    ids = [each.id for each in await told(store)]
    assert len(set(ids)) == len(ids) == 10


async def test_what_did_not_change_a_job_is_not_told(store: JobStore) -> None:
    await listen(store)
    await add_one(store)
    job = await take_one(store)
    assert await end(store, job, OutcomeKind.COMPLETED)

    # The claim is not ours any more.
    assert not await end(store, job, OutcomeKind.COMPLETED)

    assert len(await told(store)) == 1


async def test_a_change_that_is_rolled_back_tells_nothing(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await listen(sqlite)
    await add_one(sqlite)
    job = await take_one(sqlite)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("the disk is gone")

    with monkeypatch.context() as broken:
        # Behind everything else that the transaction does.

        def tell_and_fail(*values: Any) -> None:
            tell(*values)
            fail()

        broken.setattr(operations, "tell", tell_and_fail)
        with pytest.raises(StoreError):
            await end(sqlite, job, OutcomeKind.COMPLETED)

    assert (await sqlite.get("job-1")).state is JobState.PROCESSING
    assert await told(sqlite) == []
    await end(sqlite, job, OutcomeKind.COMPLETED)
    assert len(await told(sqlite)) == 1


@pytest.mark.parametrize("jobs", [1, 100])
async def test_a_queue_without_webhooks_executes_no_statement_more(
    sqlite: SqliteStore, jobs: int
) -> None:
    async def statements() -> int:
        await add(sqlite, *(make_new_job(id=f"job-{n}-{len(costs)}") for n in range(jobs)))
        ends = [
            operations.End(job, decided(job, OutcomeKind.COMPLETED), make_run(output=b"said"), NOW)
            for job in await take(sqlite)
        ]
        cost, _ = await counted(sqlite, lambda connection: operations.finish(connection, ends))
        return cost

    costs: list[int] = []
    costs.append(await statements())
    webhook = await listen(sqlite)
    # Two for any number of jobs: what they are like, and what is to be told.
    costs.append(await statements())
    await sqlite.outbox.remove(webhook.id, now=NOW)
    costs.append(await statements())
    await listen(sqlite, on=[JobState.DEAD])
    costs.append(await statements())

    assert costs == [6, 8, 6, 6]


async def test_a_webhook_that_is_disabled_is_told_nothing_until_it_is_enabled(
    store: JobStore,
) -> None:
    webhook = await listen(store)
    await add(store, *(make_new_job(id=f"job-{n}") for n in range(3)))
    first, second, third = await take(store)
    await end(store, first, OutcomeKind.COMPLETED)
    [message] = await waiting(store)
    await settle(store, message, Decision(state=DeliveryState.DEAD, disables=True), status=410)

    await end(store, second, OutcomeKind.COMPLETED)

    [disabled] = await store.outbox.webhooks()
    assert (disabled.disabled_at, disabled.disabled_reason) == (NOW, "status=410")
    assert await store.outbox.targets() == []
    assert [each.state for each in await told(store)] == [DeliveryState.DEAD]
    enabled = await store.outbox.enable(webhook.id)
    assert (enabled.disabled_at, enabled.disabled_reason) == (None, None)
    await end(store, third, OutcomeKind.COMPLETED)
    assert [each.job_id for each in await told(store)] == ["job-0", "job-2"]


async def test_what_was_delivered_keeps_no_body_and_what_died_does(
    sqlite: SqliteStore, db_path: Path
) -> None:
    await listen(sqlite)
    await add(sqlite, make_new_job(id="a"), make_new_job(id="b"))
    for job in await take(sqlite):
        await end(sqlite, job, OutcomeKind.COMPLETED)
    good, bad = await waiting(sqlite)

    await settle(sqlite, good, DELIVERED, status=200)
    await settle(sqlite, bad, DEAD, status=500)

    def read() -> list[tuple[str, bool]]:
        with closing(sqlite3.connect(db_path)) as database:
            return database.execute(
                "SELECT state, body IS NULL FROM deliveries ORDER BY seq"
            ).fetchall()

    assert await asyncio.to_thread(read) == [("delivered", 1), ("dead", 0)]


async def test_a_message_that_failed_is_due_again_when_it_was_said(store: JobStore) -> None:
    await listen(store)
    await add_one(store)
    await end(store, await take_one(store), OutcomeKind.COMPLETED)
    [message] = await waiting(store)

    await settle(store, message, Decision(state=DeliveryState.WAITING, due_at=NOW + SECOND))

    [target] = await store.outbox.targets()
    assert target.due_at == NOW + SECOND
    assert await store.outbox.due(target, limit=9, now=NOW) == []
    [again] = await store.outbox.due(target, limit=9, now=NOW + SECOND)
    assert again == msgspec.structs.replace(message, attempts=1)


async def test_what_is_settled_is_not_settled_again(store: JobStore) -> None:
    await listen(store)
    await add_one(store)
    await end(store, await take_one(store), OutcomeKind.COMPLETED)
    [message] = await waiting(store)
    await settle(store, message, DELIVERED, status=200)

    await settle(store, message, Decision(state=DeliveryState.DEAD, disables=True), status=410)

    [delivery] = await told(store)
    [webhook] = await store.outbox.webhooks()
    assert (delivery.state, delivery.status) == (DeliveryState.DELIVERED, 200)
    assert webhook.disabled_at is None


async def test_dead_deliveries_are_retried_all_or_none(store: JobStore) -> None:
    await listen(store)
    await add(store, make_new_job(id="a"), make_new_job(id="b"))
    for job in await take(store):
        await end(store, job, OutcomeKind.COMPLETED)
    first, second = await waiting(store)
    await settle(store, first, DEAD, status=500)
    await settle(store, second, DELIVERED, status=200)

    with pytest.raises(DeliveryStateError):
        await store.outbox.retry([first.id, second.id], now=NOW)
    with pytest.raises(DeliveryNotFoundError):
        await store.outbox.retry([first.id, "msg_none"], now=NOW)
    assert [each.state for each in await told(store)] == ["dead", "delivered"]

    [retried] = await store.outbox.retry([first.id], now=NOW)

    assert (retried.state, retried.attempts, retried.due_at) == ("waiting", 0, NOW)
    assert (await store.outbox.retry_dead(webhook=None, now=NOW)).deliveries == 0


async def test_what_waits_is_due_now_when_it_is_retried_and_its_attempts_stay(
    store: JobStore,
) -> None:
    await listen(store)
    await add_told(store, "a")
    [message] = await waiting(store)
    await settle(store, message, Decision(state=DeliveryState.WAITING, due_at=NOW + 9 * SECOND))

    [retried] = await store.outbox.retry([message.id], now=NOW + 2 * SECOND)
    # What is due already keeps its place.
    [again] = await store.outbox.retry([message.id], now=NOW + 5 * SECOND)

    assert (retried.state, retried.attempts, retried.due_at) == ("waiting", 1, NOW + 2 * SECOND)
    assert again == retried


async def test_times_that_a_wrong_clock_has_written_are_mended(store: JobStore) -> None:
    await listen(store)
    await add_told(store, "later", "wrong", "new")
    later, wrong, new = await waiting(store)
    due_at = [NOW + n * SECOND for n in (5, 50)]
    for message, moment in zip((later, wrong), due_at, strict=True):
        await settle(store, message, Decision(state=DeliveryState.WAITING, due_at=moment))
    now = NOW - SECOND

    assert not await store.outbox.mend_times(latest=NOW + 9 * SECOND, now=now)

    assert {each.id: each.due_at for each in await told(store)} == {
        later.id: due_at[0],
        wrong.id: now,
        new.id: now,
    }


async def test_the_job_may_be_deleted_before_it_is_told_of(store: JobStore) -> None:
    await listen(store)
    await add_one(store)
    await end(store, await take_one(store), OutcomeKind.COMPLETED)

    await store.delete("job-1")

    assert [each.job_id for each in await told(store)] == ["job-1"]
    assert len(await waiting(store)) == 1


async def test_a_webhook_goes_with_what_it_was_to_be_told(store: JobStore) -> None:
    webhook = await listen(store)
    await add_one(store)
    await end(store, await take_one(store), OutcomeKind.COMPLETED)

    await store.outbox.remove(webhook.id, now=NOW)

    assert await told(store) == []
    with pytest.raises(WebhookNotFoundError):
        await store.outbox.remove(webhook.id, now=NOW)
    assert (await listen(store)).id != webhook.id


async def test_there_is_a_largest_number_of_webhooks(store: JobStore) -> None:
    for _ in range(MOST_WEBHOOKS):
        await listen(store)

    with pytest.raises(InvalidValueError, match="most there can be"):
        await listen(store)


async def test_what_is_over_is_pruned_by_age_and_what_waits_is_not(store: JobStore) -> None:
    await listen(store)
    await add(store, *(make_new_job(id=f"job-{n}") for n in range(3)))
    for job in await take(store):
        await end(store, job, OutcomeKind.COMPLETED)
    delivered, dead, _ = await waiting(store)
    await settle(store, delivered, DELIVERED, status=200)
    await settle(store, dead, DEAD)

    assert not await store.outbox.prune(until=NOW)
    assert len(await told(store)) == 3
    assert not await store.outbox.prune(until=NOW + SECOND)
    assert [each.state for each in await told(store)] == [DeliveryState.WAITING]


async def add_told(store: JobStore, *names: str) -> None:
    """Add jobs and complete them."""
    for name in names:
        await add_one(store, name)
        await end(store, await take_one(store), OutcomeKind.COMPLETED)


async def test_what_has_been_due_for_too_long_dies_with_its_reason(store: JobStore) -> None:
    await listen(store)
    await add_told(store, "a", "b", "c")
    again, *_ = await waiting(store)
    later = NOW + 5 * SECOND
    await settle(store, again, Decision(state=DeliveryState.WAITING, due_at=later))
    [target] = await store.outbox.targets()

    async def give_up(until: datetime) -> int:
        return await store.outbox.give_up(target, until=until, reason="enough", now=later)

    assert await give_up(NOW) == 0
    assert await give_up(later) == 2

    assert [(each.state, each.reason, each.settled_at) for each in await told(store)] == [
        ("waiting", "no answer", None),
        ("dead", "enough", later),
        ("dead", "enough", later),
    ]


async def test_what_is_retried_by_hand_is_due_anew(store: JobStore) -> None:
    await listen(store)
    await add_told(store, "a")
    [target] = await store.outbox.targets()
    later = NOW + SECOND
    await store.outbox.give_up(target, until=later, reason="enough", now=later)

    await store.outbox.retry_dead(webhook=None, now=later)

    assert await store.outbox.give_up(target, until=later, reason="enough", now=later) == 0


async def test_the_last_deliveries_are_of_all_webhooks_and_states_that_are_meant(
    store: JobStore,
) -> None:
    first, second = await listen(store), await listen(store)
    await add_told(store, "a", "b")
    good, bad = await waiting(store)
    await settle(store, good, DELIVERED, status=200)
    await settle(store, bad, DEAD, status=500)

    async def last(
        webhook: str | None = None, state: DeliveryState | None = None, limit: int = 9
    ) -> list[tuple[str, str, str]]:
        found = await store.outbox.deliveries(webhook=webhook, state=state, limit=limit)
        return [(each.webhook, each.job_id, each.state.value) for each in found]

    everything = [
        (first.id, "a", "delivered"),
        (second.id, "a", "waiting"),
        (first.id, "b", "dead"),
        (second.id, "b", "waiting"),
    ]
    assert await last() == everything
    assert await last(limit=3) == everything[1:]
    assert await last(first.id) == everything[::2]
    assert await last(state=DeliveryState.WAITING) == everything[1::2]
    assert await last(second.id, DeliveryState.WAITING, limit=1) == everything[3:]
    assert await last(second.id, DeliveryState.DEAD) == []


async def tell_many(store: JobStore, number: int) -> None:
    """Complete so many jobs."""
    await add(store, *(make_new_job(id=f"job-{n}") for n in range(number)))
    jobs = await take(store, limit=number)
    await asyncio.gather(*(end(store, job, OutcomeKind.COMPLETED) for job in jobs))


async def test_a_webhook_is_disabled_and_goes_by_the_thousand_of_what_it_was_to_be_told(
    store: JobStore,
) -> None:
    webhook, other = await listen(store), await listen(store)
    await tell_many(store, 1001)

    first = await store.outbox.remove(webhook.id, now=NOW)
    left, _ = await store.outbox.webhooks()
    assert first.after is not None
    second = await store.outbox.remove(webhook.id, now=NOW, after=first.after)

    assert (first.deliveries, second.deliveries, second.after) == (1000, 1, None)
    assert (left.waiting, left.disabled_at, left.disabled_reason) == (1, NOW, "it is being removed")
    [kept] = await store.outbox.webhooks()
    assert (kept.id, kept.waiting, kept.disabled_at) == (other.id, 1001, None)


async def test_a_webhook_that_another_has_removed_meanwhile_is_removed(store: JobStore) -> None:
    webhook = await listen(store)
    await store.outbox.remove(webhook.id, now=NOW)

    assert (await store.outbox.remove(webhook.id, now=NOW, after=1000)).after is None


async def test_dead_deliveries_are_put_back_by_the_thousand_whosever_they_are(
    store: JobStore,
) -> None:
    await listen(store)
    await listen(store)
    later = NOW + SECOND
    await tell_many(store, 501)
    for target in await store.outbox.targets():
        assert await store.outbox.give_up(target, until=later, reason="enough", now=later) == 501

    first = await store.outbox.retry_dead(webhook=None, now=later)
    assert first.after is not None
    second = await store.outbox.retry_dead(webhook=None, now=later, after=first.after)

    assert (first.deliveries, second.deliveries, second.after) == (1000, 2, None)
    assert [(each.waiting, each.dead) for each in await store.outbox.webhooks()] == [(501, 0)] * 2


async def test_the_dead_deliveries_of_one_webhook_are_put_back_alone(store: JobStore) -> None:
    await listen(store)
    second = await listen(store)
    later = NOW + SECOND
    await tell_many(store, 3)
    for target in await store.outbox.targets():
        await store.outbox.give_up(target, until=later, reason="enough", now=later)

    retried = await store.outbox.retry_dead(webhook=second.id, now=later)

    assert (retried.deliveries, retried.after) == (3, None)
    assert [each.dead for each in await store.outbox.webhooks()] == [3, 0]
