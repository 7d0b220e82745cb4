"""How a dashboard stops: at once, whoever has a page open."""

import asyncio
import sqlite3
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from queuectl import QueueEngine
from queuectl.engine.store.base import CheckReport
from tests.dashboard.serving import Served, served
from tests.dashboard.streams import streaming
from tests.waiting import wait_until

SOON = 1.0


@pytest.mark.parametrize("path", ["/live/workers", "/live/job?job=job-1&output=yes"])
async def test_it_stops_in_under_a_second_with_pages_open(
    engine: QueueEngine, tmp_path: Path, path: str
) -> None:
    await engine.enqueue("echo hi", id="job-1")
    loop = asyncio.get_running_loop()

    async with served(engine, tmp_path) as site, AsyncExitStack() as pages:
        streams = [await pages.enter_async_context(streaming(site, path)) for _ in range(5)]

        for stream in streams:
            await stream.next()

        begin = loop.time()
        site.server.stop()
        # Each is ended as it should be: a browser takes that for a reason to ask again.
        ends = [await stream.ended_well() for stream in streams]
        await site.stopped.wait()

    assert loop.time() - begin < SOON
    assert ends == [True] * 5


async def test_it_stops_in_time_while_a_reader_does_not_read(
    engine: QueueEngine, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    job = await engine.enqueue("head -c 3000000 /dev/zero | tr '\\0' x; exec sleep 60", id="job-1")

    async with (
        engine.workers(grace=0),
        served(engine, tmp_path) as site,
        streaming(site, f"/live/job?job={job.id}&output=yes") as stream,
    ):
        await stream.next()
        begin = loop.time()
        site.server.stop()
        await site.stopped.wait()

    assert loop.time() - begin < SOON


async def test_it_stops_in_time_while_a_large_answer_is_not_taken(
    engine: QueueEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    await engine.enqueue("head -c 12000000 /dev/zero | tr '\\0' x", id="job-1")

    async with engine.workers():
        await engine.wait("job-1")

    async with served(engine, tmp_path) as site:
        path = "/api/jobs/job-1/output?last=12000000"

        async with site.client.stream("GET", path) as answer:
            assert answer.status_code == 200
            begin = loop.time()
            site.server.stop()
            await site.stopped.wait()

    assert loop.time() - begin < SOON
    assert "Cancel" not in caplog.text


async def test_it_stops_in_time_while_many_wait_for_long_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def check(connection: sqlite3.Connection) -> CheckReport:
        begun.set()
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        ).fetchall()
        raise AssertionError

    monkeypatch.setattr("queuectl.engine.store.sqlite.lookups.check_database", check)
    loop = asyncio.get_running_loop()

    async with QueueEngine(tmp_path / "queue.db") as engine, served(engine, tmp_path) as site:
        looks = [asyncio.create_task(site.client.get("/database?check=yes")) for _ in range(5)]
        await asyncio.to_thread(begun.wait)
        begin = loop.time()
        site.server.stop()
        await site.stopped.wait()
        await asyncio.wait(looks)

    # And the engine is closed.
    assert loop.time() - begin < SOON
    assert all(look.exception() for look in looks)


async def test_a_reader_who_goes_leaves_nothing_behind(site: Served) -> None:
    async with streaming(site, "/live/workers") as stream:
        await stream.next()
        assert len(site.server.server_state.tasks) == 1

    await wait_until(lambda: not site.server.server_state.tasks, seconds=SOON)


async def test_a_page_left_open_finds_the_dashboard_again(
    engine: QueueEngine, tmp_path: Path
) -> None:
    async with served(engine, tmp_path, token_file=None) as before:
        link = before.server.link
        await before.stranger.get(link)
        cookies = before.stranger.cookies
        port = int(before.host.rpartition(":")[2])

    async with served(engine, tmp_path, token_file=None, port=port) as after:
        after.stranger.cookies = cookies
        answer = await after.stranger.get("/api/openapi.json")

    assert after.server.link == link
    assert answer.status_code == 200
