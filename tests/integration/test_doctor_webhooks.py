"""What `diagnose` says of webhooks."""

import asyncio
import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from queuectl import QueueEngine, Verdict, WorkerInfo
from queuectl.engine.domain.models import WorkerState
from queuectl.engine.runtime.doctor.webhooks import Delay, judge_delay
from queuectl.engine.runtime.folder import StateFolder
from queuectl.engine.runtime.webhooks.duty import who_delivers
from tests.factories import NOW
from tests.integration.doctors import NOTE, OK, PROBLEM, follow, only
from tests.integration.processes import WORK, engine_process
from tests.still import stand_still
from tests.waiting import wait_until


@pytest.fixture
async def engine(db_path: Path) -> AsyncIterator[QueueEngine]:
    """An engine with a webhook that is to be told of two jobs."""
    async with QueueEngine(db_path) as engine:
        # A port that nobody listens on; no worker sends anything.
        await engine.webhooks.add("http://127.0.0.1:9/secret", on=["cancelled"])

        for job_id in ("a", "b"):
            await engine.enqueue("true", id=job_id, delay=3600)
            await engine.cancel(job_id)

        yield engine


def change(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


async def test_without_webhooks_nothing_is_said_of_them(db_path: Path) -> None:
    async with QueueEngine(db_path) as engine:
        assert all(finding.check != "webhooks" for finding in await engine.doctor())


async def test_webhooks_that_are_told_are_as_they_should_be(engine: QueueEngine) -> None:
    found = only(await engine.doctor(), "webhooks")

    assert found.verdict is OK
    assert found.words == "1 webhook, none disabled; 2 deliveries are to be made"


async def test_a_webhook_that_is_disabled_is_noted_until_it_is_enabled(
    engine: QueueEngine, db_path: Path
) -> None:
    change(db_path, "UPDATE webhooks SET disabled_at = 0, disabled_reason = 'status=410'")
    found = only(await engine.doctor(), "webhooks")

    assert found.verdict is NOTE
    assert found.words.startswith("webhook wh1 is disabled (status=410): nothing is sent to it")
    assert "secret" not in found.words
    follow(found, after="again: ", before="; where")
    assert only(await engine.doctor(), "webhooks").verdict is OK


async def test_what_could_not_be_delivered_is_noted_until_it_is_sent_again(
    engine: QueueEngine, db_path: Path
) -> None:
    change(
        db_path,
        "UPDATE deliveries SET state = 'dead', due_at = NULL, settled_at = 0 WHERE seq = 1",
    )
    found = only(await engine.doctor(), "webhooks")

    assert found.verdict is NOTE
    assert found.words.endswith("1 delivery is given up")
    follow(found, after="see why: ", before="; to send")
    follow(found, after="again: ")
    assert only(await engine.doctor(), "webhooks").verdict is OK


async def does_deliver(database: Path) -> bool:
    """Whether the first worker is the one that sends messages."""
    lock = StateFolder(database).deliverer_lock
    return await asyncio.to_thread(who_delivers, lock) == "w1"


LONG_DUE = "UPDATE deliveries SET due_at = due_at - 75000"


async def test_messages_that_wait_for_a_worker_for_long_are_noted(
    engine: QueueEngine, db_path: Path
) -> None:
    change(db_path, LONG_DUE)
    found = only(await engine.doctor(), "webhooks")

    assert found.verdict is NOTE
    assert re.fullmatch(
        r"messages have been due for 7\d s, and no worker is alive to send them", found.words
    )
    follow(found, after="start one: ")
    await engine.stop_workers()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the pipe who has read it")
async def test_a_stopped_worker_that_keeps_messages_from_being_sent_is_a_problem(
    engine: QueueEngine, db_path: Path
) -> None:
    async with engine_process(WORK, db_path, 1) as worker:
        await wait_until(partial(does_deliver, db_path))
        await asyncio.to_thread(stand_still, worker.pid, db_path)

        try:
            change(db_path, LONG_DUE)
            found = only(await engine.doctor(), "webhooks")
        finally:
            os.kill(worker.pid, signal.SIGCONT)

    assert found.verdict is PROBLEM
    assert f"worker w1 (pid {worker.pid} on " in found.words
    assert "no other worker can" in found.words
    assert f"kill -CONT {worker.pid};" in str(found.advice)


async def test_a_worker_that_ends_is_not_who_delivers_any_more(
    engine: QueueEngine, db_path: Path
) -> None:
    async with engine.workers():
        await wait_until(partial(does_deliver, db_path))

    assert not await does_deliver(db_path)


def a_worker(state: WorkerState = WorkerState.RUNNING, age: float = 3600) -> WorkerInfo:
    return WorkerInfo(
        id="w1",
        state=state,
        host="here",
        pid=77,
        concurrency=1,
        busy=0,
        started_at=NOW - timedelta(seconds=age),
    )


@pytest.mark.parametrize(
    ("workers", "sender", "verdict", "words", "advice"),
    [
        ([], None, NOTE, "no worker is alive", "worker start"),
        ([a_worker(WorkerState.DEAD)], None, NOTE, "no worker is alive", "worker start"),
        ([a_worker()], "w1", NOTE, "w1 (pid 77 on here) sends them", "webhook deliveries"),
        ([a_worker(WorkerState.UNRESPONSIVE)], "w1", PROBLEM, "does not answer", "kill -CONT 77"),
        ([a_worker()], "w2", PROBLEM, "for w2 holds the lock", "fuser -v"),
        ([a_worker()], "", PROBLEM, "for another process holds the lock", "fuser -v"),
        ([a_worker()], None, PROBLEM, "none of the live workers sends", "queuectl[webhooks]"),
    ],
)
def test_who_keeps_messages_from_being_sent_is_told_with_what_to_do(
    workers: list[WorkerInfo],
    sender: str | None,
    verdict: Verdict,
    words: str,
    advice: str,
    tmp_path: Path,
) -> None:
    delay = Delay(due_at=NOW - timedelta(minutes=1), now=NOW, workers=workers, sender=sender)
    found = judge_delay(tmp_path / "queue.db", tmp_path / "webhooks.lock", delay)

    assert found is not None
    assert found.verdict is verdict
    assert found.words.startswith("messages have been due for 60 s")
    assert words in found.words
    assert advice in str(found.advice)


@pytest.mark.parametrize(("late", "age"), [(59, 3600), (3600, 59)])
def test_who_has_had_no_time_yet_is_no_problem(late: int, age: int, tmp_path: Path) -> None:
    delay = Delay(
        due_at=NOW - timedelta(seconds=late), now=NOW, workers=[a_worker(age=age)], sender=None
    )

    assert judge_delay(tmp_path / "queue.db", tmp_path / "webhooks.lock", delay) is None
