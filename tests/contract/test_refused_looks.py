"""A system that does not let the store look for its files: that says nothing of the files."""

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from queuectl.engine.domain.models import NewJob
from queuectl.engine.domain.settings import Settings
from queuectl.engine.errors import StoreError, StoreUnusableError
from queuectl.engine.store.base import JobStore
from queuectl.engine.store.open import store_to_read
from tests.conftest import OpenStore
from tests.contract.steps import add_one, end, ids, take_one
from tests.factories import NOW, make_new_job

REFUSALS = (errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.ELOOP)


class Refusal:
    """
    What the system says of every look for a database's files.

    Attributes:
        number: The error; None where it answers.
    """

    def __init__(self) -> None:
        self.number: int | None = None


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, db_path: Path) -> Iterator[Refusal]:
    """A system that answers until it is told to refuse."""
    refusal = Refusal()
    look = os.stat

    def stat(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if refusal.number is not None and str(path).startswith(str(db_path)):
            raise OSError(refusal.number, os.strerror(refusal.number), str(path))

        return look(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        yield refusal


@pytest.mark.parametrize("number", REFUSALS)
async def test_who_writes_and_reads_meanwhile_is_told_to_come_again(
    refusal: Refusal, store: JobStore, number: int
) -> None:
    await add_one(store, "before")
    job = await take_one(store)
    refusal.number = number

    for call in (lambda: add_one(store), lambda: end(store, job), lambda: ids(store)):
        with pytest.raises(StoreError, match=os.strerror(number)) as caught:
            await call()
        assert not isinstance(caught.value, StoreUnusableError)

    refusal.number = None
    assert await ids(store) == ["before"]
    assert await end(store, job)
    await add_one(store, "after")


async def test_what_is_on_the_disk_by_then_is_acknowledged(
    refusal: Refusal, store: JobStore
) -> None:
    def make(_: Settings) -> Sequence[NewJob]:
        refusal.number = errno.EIO
        return [make_new_job(id="job-1")]

    # An error would let the caller do again what is done.
    [job] = await store.insert(make, now=NOW)

    assert job.id == "job-1"
    with pytest.raises(StoreError):
        await add_one(store, "job-2")
    refusal.number = None
    assert await ids(store) == ["job-1"]
    await add_one(store, "job-3")


async def test_a_store_can_be_closed_meanwhile_and_leaves_no_thread(
    refusal: Refusal, opened: OpenStore, db_path: Path
) -> None:
    before = threading.active_count()
    store = await opened(db_path)
    await add_one(store)
    await ids(store)
    refusal.number = errno.EACCES

    await store.close()

    assert threading.active_count() == before


async def test_who_only_looks_needs_no_such_look(
    refusal: Refusal, store: JobStore, db_path: Path
) -> None:
    await add_one(store)
    refusal.number = errno.EACCES

    async with store_to_read(db_path) as reader:
        assert (await reader.get("job-1")).id == "job-1"
