"""Pages that are open, and follow what happens."""

from pathlib import Path

import pytest

from queuectl import EventKind, JobState, QueueEngine
from tests.dashboard.serving import HTML, Served
from tests.dashboard.streams import streaming
from tests.waiting import wait_for_event

HOSTILE = "echo '<img src=x onerror=alert(1)>' \"&amp;\" \u202ee"


async def test_a_job_that_another_process_enqueues_appears(site: Served, db_path: Path) -> None:
    async with streaming(site, "/live/jobs") as stream:
        await stream.next()

        async with QueueEngine(db_path) as other:
            await other.enqueue("echo from elsewhere", id="elsewhere-1")

        html = await stream.fragment("rows", "elsewhere-1")

    assert "echo from elsewhere" in html


async def test_only_what_differs_is_sent(site: Served) -> None:
    async with streaming(site, "/live/dlq") as stream:
        first = [await stream.next(), await stream.next()]
        job = await site.engine.enqueue("exit 3", id="job-1", max_retries=0)

        async with site.engine.workers():
            await site.engine.wait(job.id)

        html = await stream.fragment("rows", "job-1")

    assert {event.data["id"] for event in first} == {"causes", "rows"}
    assert "exit_code=3" in html


async def test_a_hostile_command_is_text(site: Served) -> None:
    await site.engine.enqueue(HOSTILE, id="job-1")

    async with streaming(site, "/live/jobs") as stream:
        html = await stream.fragment("rows", "job-1")

    assert "<img" not in html
    assert "\u202e" not in html
    assert "&lt;img" in html


async def test_who_asks_for_the_headers_alone_does_not_wait(site: Served) -> None:
    answer = await site.client.head("/live/workers")

    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_a_stream_is_not_kept_by_anybody(site: Served) -> None:
    async with streaming(site, "/live/workers") as stream:
        headers = stream.answer.headers

    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-accel-buffering"] == "no"
    assert headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("path", ["/live/nothing", "/live/config", "/live/output/none"])
async def test_what_is_not_there_is_not_streamed(site: Served, path: str) -> None:
    assert (await site.client.get(path)).status_code == 404


@pytest.mark.parametrize("attempt", ["0", "2", "99999", "-1", "x", "\u0663", "9" * 30])
async def test_a_run_that_is_not_there_is_not_streamed(site: Served, attempt: str) -> None:
    job = await site.engine.enqueue("echo hi", id="job-1")

    async with site.engine.workers():
        await site.engine.wait(job.id)

    query = {"job": "job-1", "attempt": attempt, "output": "yes"}
    answer = await site.client.get("/live/job", params=query)

    assert answer.status_code in {400, 404}


async def test_a_page_of_a_job_that_is_deleted_is_told(site: Served) -> None:
    await site.engine.enqueue("echo hi", id="job-1")

    async with streaming(site, "/live/job?job=job-1") as stream:
        await stream.next()
        await site.engine.delete("job-1")
        seen = await stream.until("gone")
        ended_well = await stream.ended_well()

    assert seen[-1].data["message"] == "This job was deleted"
    assert ended_well


async def test_so_is_a_page_that_asks_when_the_job_is_gone(site: Served) -> None:
    async with streaming(site, "/live/job?job=job-1&output=yes") as stream:
        seen = await stream.until("gone")
        ended_well = await stream.ended_well()

    assert seen[-1].data["message"] == "This job was deleted"
    assert ended_well


async def test_so_is_a_page_whose_id_another_job_has_by_now(site: Served) -> None:
    shown = await site.engine.enqueue("echo harmless", id="job-1")
    page = await site.client.get("/jobs/job-1", headers={"accept": HTML})
    await site.engine.delete("job-1")
    await site.engine.enqueue("echo dangerous", id="job-1")

    async with streaming(site, f"/live/job?job=job-1&seq={shown.seq}&output=yes") as stream:
        seen = await stream.until("gone")

    assert f"job=job-1&amp;seq={shown.seq}&amp;output=yes" in page.text
    assert [event.kind for event in seen] == ["gone"]


async def test_a_page_of_a_finished_job_is_sent_the_output_of_the_next_run(
    site: Served, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    command = f"[ -e {gate} ] && printf second || {{ printf first; exit 1; }}"
    job = await site.engine.enqueue(command, id="job-1", max_retries=0)

    async with site.engine.workers():
        await site.engine.wait(job.id)
        page = await site.client.get("/jobs/job-1", headers={"accept": HTML})
        gate.touch()

        async with streaming(site, "/live/job?job=job-1&output=yes&shown=1") as stream:
            await stream.fragment("written", "of run 1")
            await site.engine.retry(job.id)
            text = await stream.output("second")

    assert "output=yes&amp;shown=1" in page.text
    assert text == "second"


async def test_what_there_is_of_a_run_without_an_output_stays_until_the_next_one(
    site: Served,
) -> None:
    never = await site.engine.enqueue("printf again", id="never", delay=3600)
    await site.engine.cancel(never.id)
    lost = await site.engine.enqueue("head -c 100000 /dev/zero; exit 1", id="lost", max_retries=1)

    async with site.engine.workers():
        await wait_for_event(site.engine, EventKind.FAILED, lost.id)

    folder = site.engine.state_folder
    [file] = [path for path in folder.rglob("*") if path.stat().st_size >= 100_000]
    file.unlink()
    pages = {
        job_id: (await site.client.get(f"/jobs/{job_id}", headers={"accept": HTML})).text
        for job_id in ("never", "lost")
    }

    async with streaming(site, "/live/job?job=never&output=yes&shown=0") as stream:
        begin = [await stream.next() for _ in range(4)]
        await site.engine.retry("never")

        async with site.engine.workers():
            text = await stream.output("again")
            seen = await stream.until("end")

    assert "output=yes&amp;shown=0" in pages["never"]
    assert "output=yes&amp;shown=1" in pages["lost"]
    assert "The output of this run is gone" in pages["lost"]
    assert {event.kind for event in begin} == {"fragment"}
    assert (text, seen[-1].kind) == ("again", "end")


async def test_each_run_of_a_job_that_is_retried_is_shown_from_its_beginning(site: Served) -> None:
    command = 'printf "run $QUEUECTL_ATTEMPT"; [ $QUEUECTL_ATTEMPT = 3 ]'
    await site.engine.enqueue(command, id="job-1", max_retries=1, backoff_base=0.01)

    async with streaming(site, "/live/job?job=job-1&output=yes") as stream:
        async with site.engine.workers():
            await site.engine.wait("job-1")
            seen = await stream.until("end")

            while "run 2" not in str(seen):
                seen += await stream.until("end")

            # While nobody reads, it is over and retried by hand.
            await site.engine.retry("job-1")
            await site.engine.wait("job-1")

        seen += await stream.until("end")

    kinds = [event.kind for event in seen if event.kind in {"start", "end"}]
    texts = [event.data["text"] for event in seen if event.kind == "output"]
    assert kinds == ["start", "end"] * len(texts)
    # Of those that were over before they could be shown, the last is.
    assert texts[-2:] == ["run 2", "run 3"]


async def test_an_output_that_is_lost_since_the_page_was_made_is_told(site: Served) -> None:
    await site.engine.enqueue("head -c 100000 /dev/zero", id="job-1")

    async with site.engine.workers():
        await site.engine.wait("job-1")

    folder = site.engine.state_folder / "output"
    [file] = [path for path in folder.rglob("*") if path.is_file()]
    file.unlink()

    # As a page asks again that was made while the run went on.
    async with streaming(site, "/live/job?job=job-1&output=yes") as stream:
        seen = await stream.until("missing")
        rest = await stream.next()

    assert "output" not in {event.kind for event in seen}
    assert rest.kind == "end"


async def test_output_flows_while_the_job_runs(site: Served, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    command = f"printf first; until [ -e {gate} ]; do sleep 0.02; done; printf second"
    job = await site.engine.enqueue(command, id="job-1")

    async with (
        site.engine.workers(),
        streaming(site, f"/live/job?job={job.id}&output=yes") as stream,
    ):
        begin = await stream.output("first")
        running = await site.engine.get(job.id)
        gate.touch()
        rest = await stream.output("second")
        html = await stream.fragment("head", "completed")

    assert running.state is JobState.PROCESSING
    assert begin + rest == "firstsecond"
    assert job.id in html


async def test_hostile_output_is_readable_text(site: Served) -> None:
    command = r"printf '\033]0;pwn\007\033[31mred\033[0m \342\200\256 <script> \377\r\nend'"
    job = await site.engine.enqueue(command, id="job-1")

    async with site.engine.workers():
        await site.engine.wait(job.id)

    async with streaming(site, f"/live/job?job={job.id}&output=yes") as stream:
        text = await stream.output("\nend")

    assert text == "\\x1b]0;pwn\\x07red \\u202e <script> \\xff\nend"


async def test_a_long_output_begins_near_its_end(site: Served) -> None:
    job = await site.engine.enqueue("seq 200000", id="job-1")

    async with site.engine.workers():
        await wait_for_event(site.engine, EventKind.COMPLETED, job.id)

    async with streaming(site, f"/live/job?job={job.id}&output=yes") as stream:
        begin = await stream.until("start")
        text = await stream.output("\n200000\n")

    assert begin[-1].data == {"is_cut": True}
    assert len(text) == 256 * 1024
    assert text.endswith("199999\n200000\n")
