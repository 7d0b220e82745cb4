"""Webhooks are told what becomes of jobs: by a real client, to a real server."""

import asyncio
import errno
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from standardwebhooks import WebhookVerificationError

from queuectl import (
    Delivery,
    DeliveryState,
    ExtraMissingError,
    InvalidValueError,
    JobState,
    QueueEngine,
    StoreError,
)
from queuectl.engine.domain.delivering import LONGEST_OVERDUE, MOST_ATTEMPTS, Answer
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.locks import is_locked
from queuectl.engine.runtime.webhooks import deliverer, duty, lane, sender
from queuectl.engine.runtime.worker import Worker
from queuectl.engine.store.outbox import Target
from queuectl.engine.store.sqlite.outbox import SqliteOutbox
from queuectl.engine.testing import FakeClock
from tests.cli.program import started_process
from tests.receiver import (
    Behaviour,
    Receiver,
    answers,
    closes,
    hangs,
    never_ends,
    receiving,
    says,
)
from tests.waiting import wait_until

ENOUGH: Final = timedelta(hours=12)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reach the receiver whatever the developer's network is like."""
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def deliveries(engine: QueueEngine, state: str | None = None) -> list[Delivery]:
    return await engine.webhooks.deliveries(state=state)


async def is_settled(engine: QueueEngine, number: int = 1) -> bool:
    """Whether so many deliveries are over."""
    return sum(each.settled_at is not None for each in await deliveries(engine)) == number


async def run_one(engine: QueueEngine, command: str = "true", **fields: Any) -> str:
    job = await engine.enqueue(command, max_retries=0, **fields)
    await engine.drain()
    return job.id


async def pass_time_until_settled(engine: QueueEngine, clock: FakeClock) -> None:
    """Let a worker deliver, and the time pass, until nothing waits any more."""

    async def pass_on() -> bool:
        clock.advance(ENOUGH)
        return not await deliveries(engine, "waiting")

    async with engine.workers():
        await wait_until(pass_on)


async def test_a_job_that_ends_is_told_signed_and_as_json_shows_it(
    engine: QueueEngine, receiver: Receiver
) -> None:
    new = await engine.webhooks.add(receiver.url("/hook"))

    job_id = await run_one(engine, "echo secret", env={"TOKEN": "hush"}, tags=("nightly",))

    [received] = receiver.received
    message = received.verified_with(new.secret)
    job = await engine.get(job_id)
    assert received.path == "/hook"
    assert received.headers["content-type"] == "application/json"
    assert message["type"] == "job.completed"
    assert message["data"]["id"] == job_id
    assert message["data"]["state"] == "completed"
    assert message["data"]["tags"] == ["nightly"]
    assert message["data"]["exit_code"] == 0
    assert message["data"]["finished_at"] is not None
    assert message["data"]["worker"] == job.worker
    assert message["data"]["env_names"] == ["TOKEN"]
    assert b"hush" not in received.body
    [delivery] = await deliveries(engine)
    assert (delivery.id, delivery.job_id) == (received.id, job_id)
    assert (delivery.state, delivery.attempts, delivery.status) == ("delivered", 1, 200)


async def test_a_signature_is_of_every_byte_of_the_message(
    engine: QueueEngine, receiver: Receiver
) -> None:
    new = await engine.webhooks.add(receiver.url())
    await run_one(engine)

    [received] = receiver.received
    forged = received._replace(body=received.body.replace(b"completed", b"cancelled"))

    with pytest.raises(WebhookVerificationError):
        forged.verified_with(new.secret)


async def test_every_kind_of_end_is_told(engine: QueueEngine, receiver: Receiver) -> None:
    await engine.webhooks.add(receiver.url())
    await engine.config.set("backoff-base", "0.01")

    await engine.enqueue("true")
    await engine.enqueue("exit 3", max_retries=1)
    cancelled = await engine.enqueue("true", delay=3600)
    await engine.cancel(cancelled.id, reason="not today")
    await engine.drain()

    # On a machine that has much to do one may come twice.
    await wait_until(lambda: len({received.id for received in receiver.received}) == 4)
    told = {received.id: received for received in receiver.received}.values()
    kinds = sorted(received.type for received in told)
    assert kinds == ["job.cancelled", "job.completed", "job.dead", "job.failed"]
    [of_cancelled] = [each for each in told if each.type == "job.cancelled"]
    assert of_cancelled.json["data"]["reason"] == "not today"


async def test_a_running_job_that_is_cancelled_is_told(
    engine: QueueEngine, receiver: Receiver
) -> None:
    await engine.webhooks.add(receiver.url(), on=["cancelled"])

    async with engine.workers():
        job = await engine.enqueue("sleep 60")
        await wait_until(lambda: is_processing(engine, job.id))
        await engine.cancel(job.id)
        [received] = await receiver.until(1)

    assert received.json["data"]["state"] == "cancelled"


async def is_processing(engine: QueueEngine, job_id: str) -> bool:
    return (await engine.get(job_id)).state is JobState.PROCESSING


async def test_who_wants_some_states_or_tags_is_told_of_no_others(
    engine: QueueEngine, receiver: Receiver
) -> None:
    await engine.webhooks.add(receiver.url("/dead"), on="dead")
    await engine.webhooks.add(receiver.url("/tagged"), tags=["a", "b"])

    await run_one(engine, id="plain")
    await run_one(engine, id="tagged", tags=("b", "c"))
    await run_one(engine, "false", id="broken")

    assert [each.json["data"]["id"] for each in receiver.at("/dead")] == ["broken"]
    assert [each.json["data"]["id"] for each in receiver.at("/tagged")] == ["tagged"]


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (answers(500), "status=500"),
        (answers(404), "status=404"),
        (answers(302, "location: /elsewhere"), "status=302: redirects are not followed"),
        (closes, "closed the connection without an answer"),
        (says(b"not http at all\r\n\r\n"), "answered something that is not HTTP"),
        (never_ends(b"HTTP/1.1 200 X\r\n", b"a: b\r\n" * 9999), "too long an answer"),
        (never_ends(b"", b"HTTP/1.1 103 X\r\n\r\n" * 999), "too long an answer"),
        (hangs, "no answer within 0.2 s"),
    ],
    ids=["500", "404", "redirect", "closes", "not http", "endless head", "endless", "hangs"],
)
async def test_what_is_not_taken_is_sent_again_with_the_same_id(
    still_engine: QueueEngine,
    clock: FakeClock,
    receiver: Receiver,
    behaviour: Behaviour,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if behaviour is hangs:
        monkeypatch.setattr(sender, "WHOLE_SECONDS", 0.2)

    await still_engine.webhooks.add(receiver.does("/hook", behaviour, answers(204)))
    await run_one(still_engine)
    [waiting] = await deliveries(still_engine)

    await pass_time_until_settled(still_engine, clock)

    assert words in str(waiting.reason)
    assert (waiting.state, waiting.attempts) == ("waiting", 1)
    assert waiting.due_at is not None
    assert waiting.due_at >= waiting.created_at + timedelta(seconds=5)
    first, second = receiver.at("/hook")
    assert first.id == second.id == waiting.id
    assert first.body == second.body
    assert first.headers["webhook-timestamp"] < second.headers["webhook-timestamp"]
    assert receiver.at("/elsewhere") == []
    [delivery] = await deliveries(still_engine)
    assert (delivery.state, delivery.attempts, delivery.reason) == ("delivered", 2, None)


async def test_a_receiver_that_is_not_there_is_tried_again(
    still_engine: QueueEngine, clock: FakeClock
) -> None:
    async with receiving() as gone:
        url = gone.url()

    await still_engine.webhooks.add(url)
    await run_one(still_engine)

    [delivery] = await deliveries(still_engine)
    assert str(delivery.reason).startswith("ConnectError")
    assert "Connect call failed" in str(delivery.reason)
    assert delivery.due_at is not None
    assert delivery.due_at > clock.now()


async def test_https_is_not_spoken_with_who_does_not_prove_who_he_is(
    engine: QueueEngine,
) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answers()(writer)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await engine.webhooks.add(f"https://127.0.0.1:{port}/")
        await run_one(engine)

    [delivery] = await deliveries(engine)
    assert str(delivery.reason).startswith("ConnectError: [SSL")


async def test_an_answer_without_end_is_left_where_it_is_long_enough(
    engine: QueueEngine, receiver: Receiver
) -> None:
    endless = never_ends(
        b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n", b"400\r\n" + b"x" * 1024 + b"\r\n"
    )
    await engine.webhooks.add(receiver.does("/", endless))

    await run_one(engine)

    [delivery] = await deliveries(engine)
    assert (delivery.state, delivery.status) == ("delivered", 200)


async def test_a_receiver_that_asks_for_time_gets_it(
    still_engine: QueueEngine, clock: FakeClock, receiver: Receiver
) -> None:
    await still_engine.webhooks.add(receiver.does("/", answers(429, "retry-after: 1800")))
    await run_one(still_engine)

    [delivery] = await deliveries(still_engine)

    assert delivery.due_at == clock.now() + timedelta(seconds=1800)


async def test_a_receiver_that_asks_for_time_is_sent_nothing_else_meanwhile(
    still_engine: QueueEngine, clock: FakeClock, receiver: Receiver
) -> None:
    await still_engine.webhooks.add(
        receiver.does("/", answers(429, "retry-after: 1800"), answers())
    )
    began = clock.now()

    async def is_refused() -> bool:
        found = await deliveries(still_engine)
        return len(found) == 3 and any(each.attempts for each in found)

    async with still_engine.workers():
        await still_engine.enqueue_many(["true"] * 3)
        await wait_until(is_refused)
        clock.advance(1800)
        await wait_until(lambda: is_settled(still_engine, 3))

    assert {each.settled_at for each in await deliveries(still_engine)} == {
        began + timedelta(seconds=1800)
    }


async def test_a_receiver_that_asks_for_time_is_sent_what_somebody_wants_to_be_sent(
    still_engine: QueueEngine, receiver: Receiver
) -> None:
    await still_engine.webhooks.add(receiver.does("/", answers(429, "retry-after: 1800")))

    async def is_refused() -> bool:
        return any(each.attempts for each in await deliveries(still_engine))

    async with still_engine.workers():
        await still_engine.enqueue("true")
        await wait_until(is_refused)
        [delivery] = await deliveries(still_engine)
        await still_engine.webhooks.retry(delivery.id)
        await receiver.until(2)


async def test_what_nobody_takes_dies_with_its_reason_and_can_be_sent_after_all(
    still_engine: QueueEngine, clock: FakeClock, receiver: Receiver
) -> None:
    url = receiver.does("/", *[answers(503)] * MOST_ATTEMPTS, answers())
    new = await still_engine.webhooks.add(url)
    await run_one(still_engine)
    await pass_time_until_settled(still_engine, clock)

    [dead] = await deliveries(still_engine, "dead")
    [webhook] = await still_engine.webhooks.list()
    assert (dead.attempts, dead.status, dead.reason) == (MOST_ATTEMPTS, 503, "status=503")
    assert (webhook.id, webhook.waiting, webhook.dead) == (new.webhook.id, 0, 1)

    [retried] = await still_engine.webhooks.retry(dead.id)
    assert (retried.state, retried.attempts) == ("waiting", 0)
    await still_engine.drain()

    assert len(receiver.received) == MOST_ATTEMPTS + 1
    assert len({received.id for received in receiver.received}) == 1
    assert await still_engine.webhooks.retry_all() == 0


async def test_a_receiver_that_is_gone_for_good_is_disabled_until_it_is_enabled(
    engine: QueueEngine, receiver: Receiver
) -> None:
    new = await engine.webhooks.add(receiver.does("/", answers(410), answers()))
    await run_one(engine)
    await run_one(engine)

    [webhook] = await engine.webhooks.list()
    assert webhook.disabled_reason == "status=410"
    assert webhook.disabled_at is not None
    assert len(receiver.received) == 1
    # What happens while it is disabled is not kept for it.
    assert [each.state for each in await deliveries(engine)] == ["dead"]

    assert (await engine.webhooks.enable(new.webhook.id)).disabled_at is None
    assert await engine.webhooks.retry_all(new.webhook.id) == 1
    await run_one(engine)
    await receiver.until(3)
    assert {each.state for each in await deliveries(engine)} == {"delivered"}


def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker that ends wait for no receiver."""
    for name in ("SENDING_SECONDS", "HEARING_SECONDS", "PARTING_SECONDS"):
        monkeypatch.setattr(deliverer, name, 0.05)


async def test_a_receiver_that_hangs_holds_up_no_other(
    engine: QueueEngine, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch)
    await engine.webhooks.add(receiver.does("/hangs", hangs))
    await engine.webhooks.add(receiver.url("/works"))

    async with engine.workers(4):
        await engine.enqueue_many(["true"] * 30)
        await receiver.until(30, "/works")

    # And it is not stormed itself.
    assert 1 <= len(receiver.at("/hangs")) <= 2


async def test_what_one_receiver_sets_as_a_cookie_is_not_sent_to_the_next(
    engine: QueueEngine, receiver: Receiver
) -> None:
    await engine.webhooks.add(receiver.does("/", answers(200, "set-cookie: a=b; Path=/")))
    await run_one(engine)
    async with engine.workers():
        await engine.enqueue_many(["true"] * 3)
        await receiver.until(4)

    assert [each.headers.get("cookie") for each in receiver.received] == [None] * 4


async def test_a_worker_that_ends_does_not_wait_long_for_a_receiver_that_hangs(
    engine: QueueEngine, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(monkeypatch)
    await engine.webhooks.add(receiver.does("/", hangs))

    await run_one(engine)

    [delivery] = await deliveries(engine)
    assert (delivery.state, delivery.attempts) == ("waiting", 0)


@pytest.fixture
def has_worked(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Say when a worker has come to the end of its jobs."""
    has_worked = asyncio.Event()
    run = Worker.run

    async def run_and_say(worker: Worker) -> None:
        await run(worker)
        has_worked.set()

    monkeypatch.setattr(Worker, "run", lambda worker, _: run_and_say(worker))
    return has_worked


@pytest.mark.parametrize(("is_broken_off", "sent"), [(False, 3), (True, 1)])
async def test_what_is_being_sent_while_a_worker_ends_comes_once(
    engine: QueueEngine,
    receiver: Receiver,
    has_worked: asyncio.Event,
    *,
    is_broken_off: bool,
    sent: int,
) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        await has_worked.wait()
        await answers()(writer)

    async def are_told() -> bool:
        return len(await deliveries(engine)) == 3

    await engine.webhooks.add(receiver.does("/", answer))

    with suppress(InterruptedError):
        async with engine.workers():
            await engine.enqueue_many(["true"] * 3)
            await wait_until(are_told)
            await receiver.until(1)

            if is_broken_off:
                raise InterruptedError

    # What was not begun is for others to send, where there is no time.
    assert len(receiver.received) == sent
    assert len(await deliveries(engine, "delivered")) == sent
    assert len({received.id for received in receiver.received}) == sent


async def test_a_worker_that_ends_begins_nothing_of_which_it_will_not_hear(
    engine: QueueEngine,
    receiver: Receiver,
    has_worked: asyncio.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        await has_worked.wait()
        await answers()(writer)

    monkeypatch.setattr(deliverer, "SENDING_SECONDS", 0.0)
    await engine.webhooks.add(receiver.does("/", answer))

    async with engine.workers():
        await engine.enqueue_many(["true"] * 20)
        await receiver.until(1)

    assert len(await deliveries(engine, "delivered")) == len(receiver.received) < 20

    async with engine.workers():
        await receiver.until(20)

    assert len({received.id for received in receiver.received}) == len(receiver.received) == 20


async def test_what_was_told_while_the_clock_was_ahead_is_sent_when_it_is_set_right(
    still_engine: QueueEngine, clock: FakeClock, receiver: Receiver
) -> None:
    await still_engine.webhooks.add(receiver.url())
    job = await still_engine.enqueue("true")
    clock.jump(timedelta(days=30))
    await still_engine.cancel(job.id)
    clock.jump(-timedelta(days=30))

    async with still_engine.workers():
        [received] = await receiver.until(1)

    assert received.type == "job.cancelled"


async def test_a_full_disk_does_not_send_one_message_again_and_again(
    still_engine: QueueEngine,
    clock: FakeClock,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settle, passed = SqliteOutbox.settle, 0.0

    async def refuse(*_: object, **__: object) -> None:
        raise StoreError("queue.db", "the disk is full")

    monkeypatch.setattr(SqliteOutbox, "settle", refuse)
    await still_engine.webhooks.add(receiver.url())
    job = await still_engine.enqueue("true")
    await still_engine.cancel(job.id)

    async def has_come_often() -> bool:
        nonlocal passed
        clock.advance(0.5)
        passed += 0.5
        return len(receiver.received) >= 6

    async with still_engine.workers():
        await wait_until(has_come_often)

    monkeypatch.setattr(SqliteOutbox, "settle", settle)
    await pass_time_until_settled(still_engine, clock)
    assert passed >= 1 + 2 + 4 + 8 + 16
    assert len({received.id for received in receiver.received}) == 1


async def test_one_worker_at_a_time_delivers(
    engine: QueueEngine, receiver: Receiver, db_path: Path
) -> None:
    await engine.webhooks.add(receiver.url())

    async with (
        QueueEngine(db_path) as second,
        QueueEngine(db_path) as third,
        engine.workers(2),
        second.workers(2),
        third.workers(2),
    ):
        await engine.enqueue_many(["true"] * 100)
        await wait_until(lambda: is_settled(engine, 100))

    ids = [received.id for received in receiver.received]
    assert len(ids) == len(set(ids)) == 100


async def test_a_webhook_that_is_removed_hears_nothing_more(
    engine: QueueEngine, receiver: Receiver
) -> None:
    new = await engine.webhooks.add(receiver.does("/", answers(500)))
    await run_one(engine)

    await engine.webhooks.remove(new.webhook.id)
    await run_one(engine)

    assert len(receiver.received) == 1
    assert await deliveries(engine) == []
    assert await engine.webhooks.list() == []


async def test_a_worker_hears_of_a_webhook_that_is_added_while_it_works(
    engine: QueueEngine, receiver: Receiver
) -> None:
    async with engine.workers():
        await engine.wait((await engine.enqueue("true")).id)
        await engine.webhooks.add(receiver.url())
        job = await engine.enqueue("true")
        [received] = await receiver.until(1)

    assert received.json["data"]["id"] == job.id


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[Target]]:
    """Say what workers see when they look where messages are sent to."""
    seen: list[list[Target]] = []
    targets = SqliteOutbox.targets

    async def look(outbox: SqliteOutbox) -> list[Target]:
        seen.append(await targets(outbox))
        return seen[-1]

    monkeypatch.setattr(SqliteOutbox, "targets", look)
    return seen


async def test_a_webhook_that_is_added_does_not_wait_for_one_that_hung_and_was_removed(
    engine: QueueEngine,
    receiver: Receiver,
    seen: list[list[Target]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once(monkeypatch)
    bad = await engine.webhooks.add(receiver.does("/hangs", hangs))

    async with engine.workers():
        await engine.enqueue("true")
        await receiver.until(1, "/hangs")
        await engine.webhooks.remove(bad.webhook.id)
        await wait_until(lambda: seen[-1] == [])
        await engine.webhooks.add(receiver.url("/works"))
        await engine.enqueue("true")
        await receiver.until(1, "/works")


async def test_a_worker_that_ends_sends_what_is_due_to_a_webhook_that_it_has_not_heard_of(
    engine: QueueEngine,
    receiver: Receiver,
    seen: list[list[Target]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deliverer.Deliverer, "_hear", lambda *_: None)

    async with engine.workers():
        await wait_until(lambda: bool(seen))
        await engine.webhooks.add(receiver.url())
        await engine.wait((await engine.enqueue("true")).id)
        assert receiver.received == []

    assert len(receiver.received) == 1


@pytest.mark.slow
async def test_a_message_that_a_killed_worker_was_sending_is_sent_again_with_the_same_id(
    engine: QueueEngine, receiver: Receiver, db_path: Path
) -> None:
    new = await engine.webhooks.add(receiver.does("/", hangs, answers()))
    job = await engine.enqueue("true")

    with started_process("--db", str(db_path), "worker", "start") as worker:
        await receiver.until(1)
        os.kill(worker.pid, signal.SIGKILL)
        await asyncio.to_thread(worker.wait)

    assert (await engine.get(job.id)).state is JobState.COMPLETED
    [waiting] = await deliveries(engine)
    assert (waiting.state, waiting.attempts) == ("waiting", 0)
    await engine.drain()

    first, second = receiver.received
    assert first.id == second.id == waiting.id
    assert second.verified_with(new.secret)["data"]["id"] == job.id
    assert await is_settled(engine)


@pytest.mark.slow
async def test_another_worker_goes_on_where_the_one_that_delivered_was_killed(
    engine: QueueEngine, receiver: Receiver, db_path: Path
) -> None:
    await engine.webhooks.add(receiver.does("/", hangs, answers()))

    with started_process("--db", str(db_path), "worker", "start") as worker:
        await engine.enqueue("true")
        await receiver.until(1)

        async with engine.workers():
            os.kill(worker.pid, signal.SIGKILL)
            await asyncio.to_thread(worker.wait)
            await wait_until(lambda: is_settled(engine))

    assert len({received.id for received in receiver.received}) == 1


async def test_a_test_message_is_sent_at_once_and_is_not_recorded(
    engine: QueueEngine, receiver: Receiver
) -> None:
    new = await engine.webhooks.add(receiver.does("/", answers(), answers(401)))

    good = await engine.webhooks.test(new.webhook.id)
    bad = await engine.webhooks.test(new.webhook.id)

    message = receiver.received[0].verified_with(new.secret)
    assert (message["type"], message["data"]) == ("webhook.test", {"webhook": new.webhook.id})
    assert (good.is_delivered, good.status, good.reason) == (True, 200, None)
    assert (bad.is_delivered, bad.status, bad.reason) == (False, 401, "status=401")
    assert await deliveries(engine) == []


@pytest.mark.parametrize("limit", [-1, 0, 2**31, 2**63])
async def test_no_number_of_deliveries_that_makes_no_sense_is_asked_for(
    engine: QueueEngine, limit: int
) -> None:
    with pytest.raises(InvalidValueError, match="limit must be 1 to 2147483647, not"):
        await engine.webhooks.deliveries(limit=limit)


async def test_secrets_and_addresses_are_in_no_log_and_no_repr(
    engine: QueueEngine, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    new = await engine.webhooks.add(receiver.does("/T0KEN", answers(500), answers(410)))
    await run_one(engine)
    await run_one(engine)

    # The driver's own log too, which at this level tells of every call.
    said = "".join(record.getMessage() for record in caplog.records)
    target = await engine._store.outbox.target(new.webhook.id)
    assert "status=500" in said
    assert new.secret not in said + repr(new) + repr(target)
    assert "T0KEN" not in said
    assert not any(new.secret in repr(each) for each in await engine.webhooks.list())


async def test_the_secret_is_in_files_of_its_owner_alone(
    engine: QueueEngine, receiver: Receiver, db_path: Path
) -> None:
    new = await engine.webhooks.add(receiver.url())

    def found() -> list[Path]:
        return [
            path
            for path in db_path.parent.rglob("*")
            if path.is_file() and new.secret.encode() in path.read_bytes()
        ]

    holders = await asyncio.to_thread(found)
    assert holders
    assert all(path.stat().st_mode & 0o077 == 0 for path in holders)


async def test_old_deliveries_are_pruned_as_events_are(
    still_engine: QueueEngine, clock: FakeClock, receiver: Receiver
) -> None:
    await still_engine.webhooks.add(receiver.does("/", answers(410)))
    await still_engine.webhooks.add(receiver.url("/works"))
    await run_one(still_engine)
    assert sorted(each.state for each in await deliveries(still_engine)) == ["dead", "delivered"]

    clock.advance(timedelta(days=8))

    async def is_empty() -> bool:
        return not await deliveries(still_engine)

    async with still_engine.workers():
        await wait_until(is_empty)


async def test_old_deliveries_are_pruned_also_where_no_webhook_is_told_any_more(
    still_engine: QueueEngine, clock: FakeClock, receiver: Receiver
) -> None:
    await still_engine.webhooks.add(receiver.does("/", answers(410)))
    await run_one(still_engine)
    clock.advance(timedelta(days=8))

    async def is_empty() -> bool:
        return not await deliveries(still_engine)

    async with still_engine.workers():
        await wait_until(is_empty)


async def test_messages_are_delivered_while_old_deliveries_are_pruned(
    engine: QueueEngine, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prune(*_: object, **__: object) -> bool:
        """Have more to do for ever."""
        return True

    monkeypatch.setattr(SqliteOutbox, "prune", prune)
    await engine.webhooks.add(receiver.url())

    async with engine.workers():
        for number in (1, 2):
            await engine.enqueue("true")
            await receiver.until(number)
            await wait_until(partial(is_settled, engine, number))


@pytest.mark.parametrize(("refused_seconds", "dead"), [(0.0, 2), (3600.0, 0)])
async def test_messages_that_wait_for_days_behind_one_that_is_refused_die_if_it_is_for_long(
    still_engine: QueueEngine,
    clock: FakeClock,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    refused_seconds: float,
    dead: int,
) -> None:
    monkeypatch.setattr(lane, "REFUSED_SECONDS", refused_seconds)
    await still_engine.webhooks.add(receiver.does("/", answers(500)))
    await still_engine.enqueue_many(["true"] * 3)
    await still_engine.drain()
    # The others wait until it takes one.
    assert [each.attempts for each in await deliveries(still_engine, "waiting")] == [1, 0, 0]

    clock.advance(LONGEST_OVERDUE + timedelta(minutes=1))

    async with still_engine.workers():
        await receiver.until(2)
        await wait_until(lambda: is_settled(still_engine, dead))

    assert len(receiver.received) == 2
    assert {each.reason for each in await deliveries(still_engine, "dead")} == (
        {"not taken within 2 days; the last one: status=500"} if dead else set()
    )
    # Those that were not sent did not come nearer to their end by that.
    assert [each.attempts for each in await deliveries(still_engine)] == [1, 1, 0]


async def test_without_the_extra_nothing_is_added_and_a_worker_goes_on(
    engine: QueueEngine,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await engine.webhooks.add(receiver.url())

    def missing() -> None:
        raise ExtraMissingError("webhooks", "httpcore2")

    monkeypatch.setattr("queuectl.engine.runtime.webhooks.sending._sender_type", missing)

    with pytest.raises(ExtraMissingError, match="httpcore2 is missing"):
        await engine.webhooks.add(receiver.url())

    job_id = await run_one(engine)
    assert (await engine.get(job_id)).state is JobState.COMPLETED
    assert [each.state for each in await deliveries(engine)] == [DeliveryState.WAITING]
    assert "pip install 'queuectl[webhooks]'" in caplog.text


async def test_who_can_open_no_more_files_still_hears_what_becomes_of_what_was_sent(
    still_engine: QueueEngine,
    clock: FakeClock,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual, goes_on, failures = sender.Sender.send, asyncio.Event(), 0

    async def answer_late(writer: asyncio.StreamWriter) -> None:
        await goes_on.wait()
        await answers()(writer)

    async def send(self: sender.Sender, target: Target, *message: Any) -> Answer:
        nonlocal failures

        if target.url == receiver.url("/second") and not failures:
            failures += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        return await usual(self, target, *message)

    async def are_delivered() -> bool:
        clock.advance(1.0)
        return not await still_engine.webhooks.deliveries(state="waiting")

    monkeypatch.setattr(sender.Sender, "send", send)
    await still_engine.webhooks.add(receiver.does("/first", answer_late), on=["completed"])
    await still_engine.webhooks.add(receiver.url("/second"), on=["dead"])

    async with still_engine.workers():
        await still_engine.enqueue("true")
        await receiver.until(1, "/first")
        await still_engine.enqueue("exit 1", max_retries=0)
        await wait_until(lambda: failures == 1)
        goes_on.set()
        await wait_until(are_delivered)

    assert len(receiver.at("/first")) == len(receiver.at("/second")) == 1


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (deliverer, "decide_delivery"),
        (deliverer, "opened_sender"),
        (duty, "try_lock"),
        (duty, "open_private"),
        (lane.Lane, "hear"),
        (sender.Sender, "send"),
        (sender.Sender, "close"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_whatever_goes_wrong_with_sending_jobs_go_on_and_it_is_tried_again(
    still_engine: QueueEngine,
    clock: FakeClock,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    place: object,
    name: str,
) -> None:
    usual, calls = getattr(place, name), 0

    def fail_at_first(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1

        if calls == 1:
            raise LookupError("odd")

        return usual(*arguments)

    monkeypatch.setattr(place, name, fail_at_first)
    added = await still_engine.webhooks.add(receiver.url())

    async def has_come() -> bool:
        clock.advance(1.0)
        return len(receiver.received) >= 2

    async with still_engine.workers():
        await still_engine.wait((await still_engine.enqueue("true")).id)
        await wait_until(lambda: bool(receiver.received) or calls > 0)

        if name == "close":
            # At the end of a duty, as where there are no webhooks any more.
            await wait_until(lambda: bool(receiver.received))
            await still_engine.webhooks.remove(added.webhook.id)
            await wait_until(lambda: calls > 0)
            await still_engine.webhooks.add(receiver.url())

        clock.advance(10.0)
        await still_engine.wait((await still_engine.enqueue("true")).id)
        await wait_until(has_come)

    assert calls > 1


async def test_a_worker_that_cannot_send_goes_on_and_leaves_it_to_others_for_a_while(
    still_engine: QueueEngine,
    clock: FakeClock,
    receiver: Receiver,
    db_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await still_engine.webhooks.add(receiver.url())
    problem = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    opened: list[float] = []

    def open_at_last() -> type[sender.Sender]:
        opened.append(clock.monotonic())

        if len(opened) < 3:
            raise problem

        return sender.Sender

    monkeypatch.setattr("queuectl.engine.runtime.webhooks.sending._sender_type", open_at_last)

    async def has_come() -> bool:
        clock.advance(1.0)
        return bool(receiver.received)

    async with still_engine.workers():
        await still_engine.wait((await still_engine.enqueue("true")).id)
        await wait_until(lambda: "cannot deliver to webhooks" in caplog.text)
        await wait_until(lambda: not is_locked(StateFolder(db_path).deliverer_lock))
        await wait_until(has_come)

    first, second, third = opened
    assert second - first >= 10
    assert third - second >= 10
    assert caplog.text.count("cannot deliver to webhooks: OSError: [Errno 24]") == 1
