"""What `top` looks at."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from queuectl import JobState, QueueEngine
from queuectl.cli.look import Observer, last_line


@pytest.fixture
async def engine(db_path: Path) -> AsyncIterator[QueueEngine]:
    async with QueueEngine(db_path) as engine:
        yield engine


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (b"", ""),
        (b"\n \n\t\n", ""),
        (b"one\ntwo\n", "two"),
        (b"one\ntwo", "two"),
        (b" 10 %\r 20 %\r", "20 %"),
        (b"one\r\ntwo\r\n\r\n", "two"),
        (b"\x1b[31mred\x1b[0m\n\x1b[0m\n", "red"),
        (b"\x1b[2Jwiped\n", "\x1b[2Jwiped"),
        (b"\xff\xfe\n", "\\xff\\xfe"),
        ("naïve".encode(), "naïve"),
    ],
)
def test_the_last_line_is_the_last_that_says_something(output: bytes, line: str) -> None:
    assert last_line(output) == line


def test_a_character_that_was_cut_in_two_is_left_out() -> None:
    assert last_line("日本".encode()[1:], is_whole=False) == "本"


async def test_failures_are_remembered_when_their_jobs_are_gone(engine: QueueEngine) -> None:
    observer = Observer(engine)
    job = await engine.enqueue("exit 3", max_retries=0)

    assert (await observer.look(10)).failures == ()

    await engine.drain()
    [failure] = (await observer.look(10)).failures
    await engine.delete(job.id)

    assert failure[1:] == (job.id, 1, JobState.DEAD, "exit_code=3")
    assert (await observer.look(10)).failures == (failure,)
    assert (await Observer(engine).look(10)).failures == (failure,)


async def test_failures_are_found_behind_many_events(
    engine: QueueEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuectl.cli.look._FIRST_EVENTS", 2)
    job = await engine.enqueue("exit 3", max_retries=0)
    await engine.drain()
    await engine.enqueue_many(["true"] * 3)

    assert [each.job_id for each in (await Observer(engine).look(10)).failures] == [job.id]


async def test_events_that_are_not_kept_any_more_are_done_without(engine: QueueEngine) -> None:
    observer = Observer(engine)
    await engine.enqueue("exit 3", max_retries=0)
    await observer.look(10)
    await engine.drain()
    later = engine.now() + timedelta(days=1)
    await engine._store.prune(now=later, retention=timedelta(hours=1))

    [failure] = (await observer.look(10)).failures
    assert failure.reason == "exit_code=3"
