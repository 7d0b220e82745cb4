"""What a run wrote, as an answer: all of it, and without holding others up."""

import asyncio
from pathlib import Path

import pytest

from queuectl import Attempt, EventKind, OutputMissingError, QueueEngine
from queuectl.dashboard import outputs
from queuectl.dashboard.outputs import output_answer
from queuectl.dashboard.panes import job
from tests.dashboard.serving import Served
from tests.waiting import wait_for_event, wait_until

KIB = 1024


async def written(engine: QueueEngine, command: str) -> None:
    await engine.enqueue(command, id="job-1", max_retries=0)

    async with engine.workers():
        await engine.wait("job-1")


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the least be much."""
    monkeypatch.setattr(outputs, "MOST_AT_ONCE", 10)


async def test_all_of_a_run_that_has_ended_is_given(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch)
    await written(site.engine, f"echo begin; head -c {600 * KIB} /dev/zero | tr '\\0' x")

    answer = await site.client.get("/api/jobs/job-1/output")
    head = await site.client.head("/api/jobs/job-1/output")

    assert answer.text == "begin\n" + 600 * KIB * "x"
    assert (head.status_code, head.content) == (200, b"")


async def test_what_is_no_text_is_given_as_it_was_written_where_that_is_asked_for(
    site: Served,
) -> None:
    await written(site.engine, r"printf '\377\\xff\033[31m\n'; head -c 100000 /dev/urandom")
    whole = await site.engine.output_bytes("job-1")

    text = await site.client.get("/api/jobs/job-1/output")
    raw = await site.client.get("/api/jobs/job-1/output?raw=true")
    end = await site.client.get("/api/jobs/job-1/output?raw=true&last=7")

    assert text.text == whole.decode(errors="backslashreplace")
    assert (raw.content, end.content) == (whole, whole[-7:])
    assert raw.headers["content-type"] == "application/octet-stream"
    assert raw.headers["content-disposition"] == "attachment"


async def test_of_a_run_that_goes_on_the_end_is_given(
    site: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch)
    gate = tmp_path / "gate"
    await site.engine.enqueue(
        f"echo the beginning; until [ -e {gate} ]; do sleep 0.02; done", id="job-1"
    )

    async with site.engine.workers():
        await wait_for_event(site.engine, EventKind.CLAIMED)

        async def has_written() -> bool:
            return bool(await site.engine.output_bytes("job-1"))

        await wait_until(has_written)
        answer = await site.client.get("/api/jobs/job-1/output")
        page = await site.client.get("/jobs/job-1", headers=site.browser())
        gate.touch()
        await site.engine.wait("job-1")

    later = await site.client.get("/jobs/job-1", headers=site.browser())

    assert answer.text == "beginning\n"
    assert "Its last 16 MiB" in page.text
    assert "14 B" in page.text
    assert "Whole output" in later.text


async def test_characters_that_are_cut_in_two_are_put_together(engine: QueueEngine) -> None:
    # One byte, and then characters of three bytes each: no piece ends between two.
    await written(engine, f"printf x; yes '\u20ac' | head -n {50 * KIB} | tr -d '\\n'")

    response = await output_answer(engine, "job-1", attempt=1, last=None, has_body=True)
    pieces = [bytes(piece) async for piece in response.body_iterator]  # type: ignore[attr-defined]

    assert b"".join(pieces).decode() == "x" + 50 * KIB * "\u20ac"
    assert len(pieces) > 2


async def test_others_have_their_turn_between_two_pieces(engine: QueueEngine) -> None:
    await written(engine, f"head -c {1024 * KIB} /dev/zero")
    response = await output_answer(engine, "job-1", attempt=None, last=1024 * KIB, has_body=True)
    turns = 0

    async def count() -> None:
        nonlocal turns

        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    lengths = [len(piece) async for piece in response.body_iterator]  # type: ignore[attr-defined]
    counting.cancel()

    assert sum(lengths) == 1024 * KIB
    assert max(lengths) <= 64 * KIB
    assert turns >= 15


async def test_an_output_that_is_gone_is_told_before_anything_is_sent(
    engine: QueueEngine, site: Served
) -> None:
    await written(engine, f"head -c {100 * KIB} /dev/zero")
    [file] = [path for path in engine.state_folder.rglob("*") if path.stat().st_size > 90 * KIB]
    file.unlink()

    with pytest.raises(OutputMissingError):
        await output_answer(engine, "job-1", attempt=None, last=None, has_body=True)

    answer = await site.client.get("/api/jobs/job-1/output")
    assert answer.status_code == 404


async def test_of_very_many_runs_the_last_are_listed_and_each_can_be_seen(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "_MOST_ATTEMPTS", 2)
    asked: list[int | None] = []
    attempts = site.engine.attempts

    async def counted(job_id: str, *, last: int | None = None) -> list[Attempt]:
        asked.append(last)
        return await attempts(job_id, last=last)

    await site.engine.enqueue("exit 1", id="job-1", max_retries=0)

    async with site.engine.workers():
        for _ in range(3):
            await site.engine.wait("job-1")
            await site.engine.retry("job-1")

        await site.engine.wait("job-1")

    monkeypatch.setattr(site.engine, "attempts", counted)
    page = await site.client.get("/jobs/job-1", headers=site.browser())
    first = await site.client.get("/jobs/job-1?attempt=1", headers=site.browser())
    never = await site.client.get("/jobs/job-1?attempt=5", headers=site.browser())

    assert "2 earlier ones are left out" in page.text
    assert "of run 1" in first.text
    assert never.status_code == 404
    assert asked == [2, 2, 2]


async def test_others_have_their_turn_while_a_page_is_made() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns

        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    end = await job.shown(bytes(256 * KIB))
    counting.cancel()

    assert end.text == 256 * KIB * r"\x00"
    assert turns >= 15
