"""What is sent to a dashboard: how much, how slowly, and by whom it is broken off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from queuectl import JobState, QueueEngine
from queuectl.dashboard import bodies
from tests.dashboard.serving import TOKEN, Served, served
from tests.waiting import PATIENCE, wait_until

KIB = 1024
FORM = "application/x-www-form-urlencoded"


@asynccontextmanager
async def begun(site: Served, path: str, kind: str) -> AsyncIterator[anyio.abc.SocketStream]:
    """Send the head of a request, until the dashboard waits for its body."""
    host, _, port = site.host.rpartition(":")
    head = (
        f"POST {path} HTTP/1.1",
        f"host: {site.host}",
        f"origin: http://{site.host}",
        f"authorization: Bearer {TOKEN}",
        f"content-type: {kind}",
        "content-length: 100",
        "expect: 100-continue",
    )

    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send("\r\n".join((*head, "", "")).encode())
        assert (await stream.receive()).startswith(b"HTTP/1.1 100")
        yield stream


ASKED = [
    ("/actions/cancel", FORM),
    ("/config", FORM),
    ("/api/jobs/job-1/cancel", "application/json"),
]


@pytest.mark.parametrize(("path", "kind"), ASKED)
async def test_a_body_that_does_not_come_is_not_waited_for(
    site: Served, monkeypatch: pytest.MonkeyPatch, path: str, kind: str
) -> None:
    monkeypatch.setattr(bodies, "_PATIENCE", 0.01)
    said = b""

    async with begun(site, path, kind) as stream:
        with anyio.fail_after(PATIENCE):
            async for piece in stream:
                said += piece

    assert said.startswith(b"HTTP/1.1 408")
    assert b"the rest of the request did not come" in said


@pytest.mark.parametrize(("path", "kind"), ASKED)
async def test_who_goes_away_in_the_middle_is_no_error_of_ours(
    site: Served, caplog: pytest.LogCaptureFixture, path: str, kind: str
) -> None:
    async with begun(site, path, kind):
        assert site.server.server_state.tasks

    await wait_until(lambda: not site.server.server_state.tasks)
    assert not caplog.records


async def test_a_form_with_too_many_fields_is_refused_in_words(site: Served) -> None:
    await site.engine.enqueue("true", id="job-1")
    headers = site.browser(**{"content-type": FORM})
    most = b"job=job-1" + 999 * b"&a"

    refused = await site.client.post("/actions/cancel", content=most + b"&a", headers=headers)
    before = (await site.engine.get("job-1")).state
    taken = await site.client.post("/actions/cancel", content=most, headers=headers)

    assert refused.status_code == 413
    assert "at most 1,000 fields" in refused.text
    assert before is JobState.PENDING
    assert taken.status_code == 303


async def test_a_form_that_is_too_large_is_refused_in_words(site: Served) -> None:
    headers = site.browser(**{"content-type": FORM})
    body = b"a=" + 600 * KIB * b"x"

    async def in_pieces() -> AsyncIterator[bytes]:
        yield body

    for content in (body, in_pieces()):
        answer = await site.client.post("/actions/cancel", content=content, headers=headers)
        assert answer.status_code == 413
        assert "at most 512 KiB" in answer.text


async def test_the_longest_command_fits_into_a_form(engine: QueueEngine, tmp_path: Path) -> None:
    # Each of its characters takes three in a form.
    command = "#" + "é" * (60 * KIB - 1)

    async with served(engine, tmp_path, allow_enqueue=True) as site:
        answer = await site.client.post(
            "/enqueue", data={"command": command}, headers=site.browser()
        )

    assert answer.status_code == 303
    assert [job.command for job in await engine.list()] == [command]


async def test_many_jobs_are_changed_together(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other a thousand would take a second, and so would the server to stop."""
    both = asyncio.Barrier(2)

    async def cancel(job_id: str, *, reason: str | None, seq: int | None) -> None:
        del job_id, reason, seq
        await both.wait()

    monkeypatch.setattr(site.engine, "cancel", cancel)
    answer = await site.client.post(
        "/actions/cancel", data={"job": ["a", "b"]}, headers=site.browser()
    )

    assert answer.headers["location"] == "/jobs?done=cancelled&count=2"


async def test_more_ids_than_a_queue_should_change_at_once_are_refused(site: Served) -> None:
    answer = await site.client.post("/api/dlq/retry", json={"ids": ["a"] * 10_001})

    assert answer.status_code == 400
    assert "too many" in answer.json()["error"]["message"]


async def test_what_is_broken_off_by_the_stop_is_no_error_of_ours(
    site: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits = anyio.Event()

    async def cancel(job_id: str, *, reason: str | None, seq: int | None) -> None:
        del job_id, reason, seq
        waits.set()
        await anyio.sleep_forever()

    monkeypatch.setattr(site.engine, "cancel", cancel)

    async with begun(site, "/actions/cancel", FORM) as stream:
        await stream.send(b"job=a&reason=".ljust(100, b"x"))
        await waits.wait()
        site.server.stop()
        await site.stopped.wait()
        await wait_until(lambda: not site.server.server_state.tasks)

    assert not [record for record in caplog.records if record.exc_info]
