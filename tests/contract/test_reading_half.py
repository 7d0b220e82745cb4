"""A store that is only looked at: what it cannot do, and that it answers as the other does."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from queuectl.engine.domain.activity import PERIODS
from queuectl.engine.domain.filters import JobFilter
from queuectl.engine.store.base import JobReader, JobStore
from queuectl.engine.store.open import store_to_read
from queuectl.engine.store.sqlite.reader import SqliteReader
from tests.contract.steps import add_one, end, take_one
from tests.factories import NOW

Look = Callable[[JobReader], Awaitable[object]]

LOOKS: Final[dict[str, Look]] = {
    "get": lambda store: store.get("job-1"),
    "get_many": lambda store: store.get_many(["job-2", "job-1"]),
    "unfinished": lambda store: store.unfinished(["job-1", "job-2"]),
    "list_jobs": lambda store: store.list_jobs(JobFilter(), after=0, limit=10),
    "last_jobs": lambda store: store.last_jobs(JobFilter(), limit=1),
    "page": lambda store: store.page(JobFilter(search="JOB"), before=None, limit=1),
    "page_of_scheduled": lambda store: store.page_of_scheduled(
        JobFilter(), before=None, limit=1, now=NOW
    ),
    "causes": lambda store: store.causes(limit=10),
    "runs": lambda store: store.runs("job-1"),
    "output": lambda store: store.output(1, 1),
    "workers": lambda store: store.workers(),
    "orders": lambda store: store.orders(1),
    "held_jobs": lambda store: store.held_jobs(1),
    "events": lambda store: store.events(since=0, limit=10),
    "last_events": lambda store: store.last_events(limit=2),
    "last_event": lambda store: store.last_event(),
    "stats": lambda store: store.stats(now=NOW),
    "history": lambda store: store.history(now=NOW, step=PERIODS["minute"], steps=60),
    "totals": lambda store: store.totals(),
    "needs_pruning": lambda store: store.needs_pruning(now=NOW, retention=None),
    "is_settled": lambda store: store.is_settled(now=NOW),
    "settings": lambda store: store.settings(),
    "check": lambda store: store.check(),
    "describe": lambda store: store.describe(outputs_bytes=0),
}


def methods(kind: type) -> set[str]:
    """Return the names of what a class lets others call."""
    return {name for name in dir(kind) if not name.startswith("_")}


def test_every_look_is_tried_below() -> None:
    assert methods(JobReader) == set(LOOKS)


def test_a_store_that_is_only_looked_at_has_nothing_that_changes_a_job() -> None:
    changes = methods(JobStore) - methods(JobReader) - {"close"}

    assert {"claim", "finish", "insert", "vacuum"} <= changes
    assert not changes & methods(SqliteReader)


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
async def test_who_only_looks_sees_the_same(store: JobStore, db_path: Path, look: Look) -> None:
    for name in ("job-1", "job-2"):
        await add_one(store, name)

    await end(store, await take_one(store), output=b"words")

    async with store_to_read(db_path) as reader:
        assert await look(reader) == await look(store)
