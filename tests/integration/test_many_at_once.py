"""What is asked of very many at once keeps nobody else waiting: it is refused, or done in steps."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from queuectl import InvalidValueError, JobSpec, QueueEngine

MANY = [f"job-{number}" for number in range(5001)]


@pytest.mark.parametrize(
    ("ask", "hint"),
    [
        (lambda engine: engine.retry(*MANY), "queuectl dlq retry --all"),
        (lambda engine: engine.dlq.retry(*MANY), "queuectl dlq retry --all"),
        (lambda engine: engine.run_now(*MANY), "give them in several calls"),
        (lambda engine: engine.webhooks.retry(*MANY), "queuectl webhook retry --all"),
    ],
    ids=["retry", "dlq.retry", "run_now", "webhooks.retry"],
)
async def test_more_ids_than_one_transaction_takes_are_refused(
    ask: Callable[[QueueEngine], Awaitable[object]], hint: str, engine: QueueEngine
) -> None:
    with pytest.raises(
        InvalidValueError, match="5001 ids at once are too many: the most is 5000"
    ) as caught:
        await ask(engine)

    assert hint in str(caught.value.hint)


async def test_as_many_ids_as_one_transaction_takes_are_taken(engine: QueueEngine) -> None:
    names = MANY[:-1]
    await engine.enqueue_many(
        [JobSpec(command="true", id=name, delay=timedelta(hours=1)) for name in names]
    )

    assert len(await engine.run_now(*names)) == 5000


async def test_webhooks_are_removed_and_told_again_in_steps(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuectl.engine.store.sqlite.deliveries._SOME", 2)
    monkeypatch.setattr("queuectl.engine.runtime.steps._PAUSE", 0)
    await engine.webhooks.add("http://127.0.0.1:9/")
    for number in range(5):
        await engine.enqueue("true", id=f"job-{number}")
        await engine.cancel(f"job-{number}")
    outbox = engine._store.outbox
    [target] = await outbox.targets()
    later = datetime(2100, 1, 1, tzinfo=UTC)
    while await outbox.give_up(target, until=later, reason="enough", now=later):
        pass

    assert await engine.webhooks.retry_all() == 5
    await engine.webhooks.remove("wh1")

    assert (await engine.webhooks.list(), await engine.webhooks.deliveries()) == ([], [])
