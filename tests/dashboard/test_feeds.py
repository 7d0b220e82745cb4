"""What open pages are shown is looked up once for all who look at the same."""

from contextlib import AsyncExitStack, aclosing

import pytest

from queuectl import QueueEngine, StoreError
from queuectl.dashboard.feeds import Feeds, Parts


class Looks:
    """A look that counts itself, and fails from a number on."""

    def __init__(self, *, fails_from: int | None = None) -> None:
        self.count = 0
        self._fails_from = fails_from

    async def __call__(self) -> Parts:
        self.count += 1

        if self._fails_from is not None and self.count >= self._fails_from:
            raise StoreError("queue.db", "gone")

        return {"rows": str(self.count)}


async def test_ten_readers_cost_what_one_does(engine: QueueEngine) -> None:
    feeds = Feeds(engine)
    looks = Looks()

    async with AsyncExitStack() as readers:
        streams = [
            await readers.enter_async_context(aclosing(feeds.follow("jobs", looks)))
            for _ in range(10)
        ]

        for stream in streams:
            await anext(stream)

        for stream in streams:
            await anext(stream)

        before = looks.count
        await engine.enqueue("true")
        shown = [(await anext(stream))["rows"] for stream in streams]

    assert before <= 12
    assert len(set(shown)) == 1
    assert looks.count <= before + 2


async def test_who_comes_later_is_shown_what_is_there_now(engine: QueueEngine) -> None:
    feeds = Feeds(engine)
    looks = Looks()

    async with aclosing(feeds.follow("jobs", looks)) as first:
        await anext(first)
        await anext(first)
        before = looks.count

        async with aclosing(feeds.follow("jobs", looks)) as second:
            shown = await anext(second)

    assert int(shown["rows"]) > before


async def test_readers_of_different_things_do_not_meet(engine: QueueEngine) -> None:
    feeds = Feeds(engine)
    jobs, workers = Looks(), Looks()

    async with (
        aclosing(feeds.follow("jobs", jobs)) as one,
        aclosing(feeds.follow("workers", workers)) as other,
    ):
        await anext(one)
        await anext(one)
        await anext(other)

    assert jobs.count == 2
    assert workers.count == 1


async def test_one_reader_may_go_while_another_reads_on(engine: QueueEngine) -> None:
    feeds = Feeds(engine)
    looks = Looks()

    async with aclosing(feeds.follow("jobs", looks)) as second:
        async with aclosing(feeds.follow("jobs", looks)) as first:
            await anext(first)
            await anext(second)

        await anext(second)
        await engine.enqueue("true")
        assert await anext(second)


async def test_what_cannot_be_looked_up_is_told_to_all_and_then_begun_anew(
    engine: QueueEngine,
) -> None:
    feeds = Feeds(engine)
    looks = Looks(fails_from=3)

    async with (
        aclosing(feeds.follow("jobs", looks)) as one,
        aclosing(feeds.follow("jobs", looks)) as other,
    ):
        await anext(one)
        await anext(other)

        for stream in (one, other):
            with pytest.raises(StoreError, match="gone"):
                await anext(stream)

        async with aclosing(feeds.follow("jobs", Looks())) as anew:
            await anext(anew)
            assert await anext(anew)
