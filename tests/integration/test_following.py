"""Following what jobs write, before, while and after they run."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

from queuectl import EventKind, JobState, QueueEngine, RunNotFoundError
from tests.integration.processes import pid_in
from tests.waiting import wait_for_event, wait_until


async def all_of(chunks: AsyncIterator[bytes]) -> str:
    """Return what is followed, when it has come to its end."""
    return b"".join([chunk async for chunk in chunks]).decode()


def waits_for(name: str) -> str:
    """Return a command that goes on when a file is there."""
    return f"until [ -e {name} ]; do sleep 0.01; done"


async def followed(engine: QueueEngine) -> None:
    """Return when somebody waits for changes of this engine's jobs."""
    await wait_until(lambda: len(engine._life.bus._listeners) > 0)


async def test_a_job_that_has_not_started_is_waited_for(engine: QueueEngine) -> None:
    await engine.enqueue("echo hello", id="job")
    following = asyncio.create_task(all_of(engine.follow("job")))
    await followed(engine)

    async with engine.workers():
        assert await asyncio.wait_for(following, 5) == "hello\n"


async def test_a_job_is_followed_while_it_writes(engine: QueueEngine, tmp_path: Path) -> None:
    command = f"echo one; {waits_for('go')}; echo two; {waits_for('on')}; echo three"
    await engine.enqueue(command, id="job", cwd=tmp_path)
    chunks = engine.follow("job")

    async with engine.workers(), asyncio.timeout(10):
        assert await anext(chunks) == b"one\n"
        (tmp_path / "go").touch()
        assert await anext(chunks) == b"two\n"
        (tmp_path / "on").touch()
        assert await all_of(chunks) == "three\n"


async def test_a_job_is_followed_by_another_engine(
    engine: QueueEngine, db_path: Path, tmp_path: Path
) -> None:
    await engine.enqueue(f"echo one; {waits_for('go')}; echo two", id="job", cwd=tmp_path)

    async with engine.workers(), QueueEngine(db_path) as other, asyncio.timeout(10):
        chunks = other.follow("job")
        assert await anext(chunks) == b"one\n"
        (tmp_path / "go").touch()
        assert await all_of(chunks) == "two\n"


async def test_a_job_is_followed_through_its_retries(engine: QueueEngine) -> None:
    command = "echo run $QUEUECTL_ATTEMPT; exit 1"
    await engine.enqueue(command, id="job", max_retries=3, backoff_base=0)
    following = asyncio.create_task(all_of(engine.follow("job")))
    await followed(engine)

    async with engine.workers():
        text = await asyncio.wait_for(following, 10)

    assert text == "run 1\nrun 2\nrun 3\nrun 4\n"


async def test_one_attempt_alone_is_followed(engine: QueueEngine) -> None:
    command = "echo run $QUEUECTL_ATTEMPT; exit 1"
    await engine.enqueue(command, id="job", max_retries=2, backoff_base=0)
    following = asyncio.create_task(all_of(engine.follow("job", attempt=2)))
    await followed(engine)

    async with engine.workers():
        text = await asyncio.wait_for(following, 10)

    assert text == "run 2\n"
    assert await all_of(engine.follow("job", attempt=1)) == "run 1\n"


async def test_following_a_finished_job_gives_its_latest_output(engine: QueueEngine) -> None:
    command = "echo run $QUEUECTL_ATTEMPT; test $QUEUECTL_ATTEMPT = 2"
    await engine.enqueue(command, id="job", backoff_base=0)
    await engine.drain()

    assert await all_of(engine.follow("job")) == "run 2\n"


async def test_following_a_job_that_is_cancelled_before_it_runs_ends(
    engine: QueueEngine,
) -> None:
    await engine.enqueue("echo hello", id="job")
    following = asyncio.create_task(all_of(engine.follow("job")))
    await followed(engine)

    await engine.cancel("job")

    assert await asyncio.wait_for(following, 5) == ""


async def test_following_an_attempt_that_will_never_come_is_told_so(
    engine: QueueEngine,
) -> None:
    await engine.enqueue("echo hello", id="job")
    following = asyncio.create_task(all_of(engine.follow("job", attempt=2)))
    await followed(engine)

    await engine.drain()

    (error,) = await asyncio.gather(following, return_exceptions=True)
    assert isinstance(error, RunNotFoundError)


async def test_what_is_followed_is_what_is_kept_however_much_it_is(
    engine: QueueEngine, tmp_path: Path
) -> None:
    commands = ["seq 60000", "echo short", "seq 300", "seq 9000 | cat", ":"]

    async with engine.workers(1):
        for command in commands:
            job = await engine.enqueue(command, cwd=tmp_path)
            text = await asyncio.wait_for(all_of(engine.follow(job.id)), 10)

            assert text == await engine.output(job.id)
            assert (await engine.get(job.id)).state is JobState.COMPLETED


async def test_followers_of_jobs_that_share_files_each_see_their_own(
    engine: QueueEngine,
) -> None:
    jobs = await engine.enqueue_many(
        [f"for n in 1 2 3 4 5 6; do echo {n}.$n; sleep 0.005; done" for n in range(25)]
    )
    following = [asyncio.create_task(all_of(engine.follow(job.id))) for job in jobs]
    await followed(engine)

    async with engine.workers(2):
        texts = await asyncio.wait_for(asyncio.gather(*following), 20)

    expected = ["".join(f"{n}.{line}\n" for line in range(1, 7)) for n in range(25)]
    assert texts == expected


async def test_a_job_that_is_given_back_before_it_starts_is_followed_all_the_same(
    engine: QueueEngine,
) -> None:
    await engine.enqueue("echo hello", id="job")
    store = engine._store
    now = (await engine.get("job")).created_at
    worker = await store.register_worker(
        token=secrets.token_hex(8),
        host="",
        pid=1,
        boot_id="",
        pid_namespace="",
        lock_file=None,
        pipe=None,
        can_restart=False,
        concurrency=1,
        now=now,
    )
    claim = await store.claim(worker, 1, now=now)
    following = asyncio.create_task(all_of(engine.follow("job")))
    await followed(engine)
    # Reads are answered in order: after these, the follower has seen the claim.
    for _ in range(12):
        await engine.get("job")

    await store.release(claim.jobs, now=now)
    await store.unregister_worker(worker)
    # It looks every twentieth of a second: now it has seen that too.
    time = asyncio.get_running_loop().time
    seen_at = time() + 0.15
    await wait_until(lambda: time() > seen_at)
    async with engine.workers():
        text = await asyncio.wait_for(following, 10)

    assert text == "hello\n"


async def test_following_ends_with_the_run_where_its_worker_is_stopped(
    engine: QueueEngine, tmp_path: Path
) -> None:
    command = f"echo run $QUEUECTL_ATTEMPT; echo $$ > pid; {waits_for('go')}; echo end"
    await engine.enqueue(command, id="job", cwd=tmp_path)
    following = asyncio.create_task(all_of(engine.follow("job")))

    async with engine.workers(grace=0):
        await pid_in(tmp_path / "pid")
    await wait_for_event(engine, EventKind.RELEASED, "job")
    (tmp_path / "go").touch()
    async with engine.workers():
        text = await asyncio.wait_for(following, 10)

    assert text == "run 1\nrun 2\nend\n"


async def test_following_begins_near_the_end_where_that_is_asked_for(
    engine: QueueEngine, tmp_path: Path
) -> None:
    await engine.enqueue(f"printf 12345; {waits_for('go')}; printf 67", id="job", cwd=tmp_path)

    async with engine.workers(), asyncio.timeout(10):
        assert await anext(engine.follow("job")) == b"12345"
        chunks = engine.follow("job", last=2)
        assert await anext(chunks) == b"45"
        (tmp_path / "go").touch()
        assert await all_of(chunks) == "67"

    assert await all_of(engine.follow("job", last=3)) == "567"
    assert await all_of(engine.follow("job", last=0)) == ""
    assert await all_of(engine.follow("job", last=100)) == "1234567"


async def test_of_the_retries_that_come_all_is_followed(
    engine: QueueEngine, tmp_path: Path
) -> None:
    command = f"printf run$QUEUECTL_ATTEMPT; {waits_for('go')}; exit 1"
    await engine.enqueue(command, id="job", cwd=tmp_path, max_retries=1, backoff_base=0)

    async with engine.workers(), asyncio.timeout(10):
        assert await anext(engine.follow("job")) == b"run1"
        chunks = engine.follow("job", last=1)
        assert await anext(chunks) == b"1"
        (tmp_path / "go").touch()
        assert await all_of(chunks) == "run2"


async def test_the_end_of_a_large_output_is_followed_from_its_file(engine: QueueEngine) -> None:
    await engine.enqueue("seq 100000", id="job")

    async with engine.workers(), asyncio.timeout(10):
        await engine.wait("job")

    assert await all_of(engine.follow("job", last=13)) == "99999\n100000\n"
