"""What `diagnose` says of webhooks."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from queuectl import QueueEngine
from tests.integration.doctors import NOTE, OK, follow, only


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
