"""What the forms do, and where they lead."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.datastructures import QueryParams

from queuectl import EventKind, JobState, QueueEngine, format_time
from queuectl.dashboard.panes.confirm import load
from queuectl.engine.testing import FakeClock
from tests.dashboard.serving import Served, served
from tests.waiting import wait_for_event, wait_until


async def post(site: Served, path: str, fields: dict[str, Any]) -> httpx2.Response:
    """Send a form as a browser that is signed in sends it."""
    return await site.client.post(path, data=fields, headers=site.browser())


async def make_dead(engine: QueueEngine, *ids: str, command: str = "exit 3") -> None:
    for job_id in ids:
        await engine.enqueue(command, id=job_id, max_retries=0)

    async with engine.workers():
        await engine.wait_all(ids)


async def states(engine: QueueEngine) -> dict[str, JobState]:
    return {job.id: job.state for job in await engine.list()}


async def asked_at(site: Served, question: str) -> str:
    """Ask a question; return the time that it carries, when the queue's clock is past it."""
    page = await site.client.get(f"/confirm/{question}", headers=site.browser())
    [asked] = re.findall(r'name="until" value="([^"]+)"', page.text)
    # The clock of the queue counts milliseconds.
    await wait_until(lambda: format_time(site.engine.now()) > asked)
    return str(asked)


async def test_those_that_are_ticked_run_again(site: Served) -> None:
    await make_dead(site.engine, "a", "b", "c")

    answer = await post(site, "/actions/retry", {"job": ["a", "c", "a"], "back": "/dlq?before=9"})

    assert answer.status_code == 303
    assert answer.headers["location"] == "/dlq?before=9&done=retried&count=2"
    assert [*(await states(site.engine)).values()] == ["pending", "dead", "pending"]


async def test_where_nothing_is_ticked_nothing_is_done(site: Served) -> None:
    for path in ("retry", "cancel", "delete", "run-now", "purge", "workers/stop"):
        answer = await post(site, f"/actions/{path}", {"back": "/jobs"})
        assert answer.headers["location"] == "/jobs?done=none&count=0"


@pytest.mark.parametrize(
    "back",
    [
        "http://evil.example/",
        "//evil.example/",
        "///evil.example/",
        "////evil.example",
        "/jobs/../..//evil.example",
        "/healthz",
        "http://[",
        "/\\evil.example",
        "javascript:alert(1)",
        "/jobs\r\nset-cookie: a=b",
        "\t//evil.example",
        "https:evil.example",
        "//[",
        "",
    ],
)
async def test_a_form_leads_back_to_us_only(site: Served, back: str) -> None:
    await site.engine.enqueue("echo hi", id="job-1")

    answer = await post(site, "/actions/cancel", {"job": "job-1", "back": back})

    assert answer.headers["location"] == "/jobs?done=cancelled&count=1"
    assert "set-cookie" not in answer.headers


async def test_a_reason_is_kept(site: Served) -> None:
    await site.engine.enqueue("echo hi", id="job-1")

    await post(site, "/actions/cancel", {"job": "job-1", "reason": "not <b>today</b>"})

    assert (await site.engine.get("job-1")).reason == "not <b>today</b>"


async def test_what_is_gone_already_does_not_count_as_deleted(site: Served) -> None:
    await site.engine.enqueue("echo hi", id="job-1")

    some = await post(site, "/actions/delete", {"job": ["job-1", "never-there"]})
    none = await post(site, "/actions/delete", {"job": "job-1"})

    assert some.headers["location"] == "/jobs?done=deleted&count=1&skipped=1"
    assert none.headers["location"] == "/jobs?done=deleted&count=0&skipped=1"
    assert await site.engine.list() == []


async def test_a_job_in_another_state_is_a_conflict_in_words(site: Served) -> None:
    await site.engine.enqueue("echo hi", id="job-1")

    answer = await post(site, "/actions/retry", {"job": "job-1"})

    assert answer.status_code == 409
    assert "cannot retry job job-1: it is pending" in answer.text


@pytest.mark.parametrize(
    ("action", "told"), [("retry", "retried"), ("cancel", "cancelled"), ("run-now", "due")]
)
async def test_of_many_those_that_can_be_changed_are_and_the_others_are_counted(
    site: Served, action: str, told: str
) -> None:
    jobs = ["a", "b", "c"]

    for job_id in jobs:
        await site.engine.enqueue("true", id=job_id, delay=3600)

    # Since the page was made: what is cancelled can be retried, and nothing else.
    for job_id in ["a", "c"] if action == "retry" else ["b"]:
        await site.engine.cancel(job_id)

    answer = await post(site, f"/actions/{action}", {"job": [*jobs, "gone"], "back": "/jobs"})

    assert answer.headers["location"] == f"/jobs?done={told}&count=2&skipped=2"
    assert "2 jobs skipped" in (await site.client.get(answer.headers["location"])).text


async def test_what_runs_is_skipped_where_many_are_deleted(site: Served, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    await site.engine.enqueue(f"until [ -e {gate} ]; do sleep 0.02; done", id="runs")
    await site.engine.enqueue("true", id="waits", delay=3600)

    async with site.engine.workers():
        await wait_for_event(site.engine, EventKind.CLAIMED)
        answer = await post(site, "/actions/delete", {"job": ["runs", "waits"]})
        gate.touch()

    assert answer.headers["location"] == "/jobs?done=deleted&count=1&skipped=1"
    assert [*(await states(site.engine))] == ["runs"]


async def test_a_cause_runs_again_and_the_others_stay(site: Served) -> None:
    await make_dead(site.engine, "a", "b")
    await make_dead(site.engine, "c", command="exit 4")

    answer = await post(site, "/actions/dlq/retry", {"reason": "exit_code=3", "back": "/dlq"})

    assert answer.headers["location"] == "/dlq?done=retried&count=2"
    assert (await states(site.engine))["c"] == "dead"


async def test_how_many_dead_jobs_are_meant_is_asked(site: Served) -> None:
    await make_dead(site.engine, "a", "b")
    await make_dead(site.engine, "c", command="exit 4")

    every = await site.client.get("/confirm/dlq_purge?all=yes", headers=site.browser())
    some = await site.client.get("/confirm/dlq_purge?reason=exit_code%3D3", headers=site.browser())
    again = await site.client.get("/confirm/dlq_retry?all=yes", headers=site.browser())

    assert "Delete 3 dead jobs, all there are?" in every.text
    assert "Delete 2 dead jobs, all that died of: exit_code=3?" in some.text
    assert "Retry 3 dead jobs, all there are?" in again.text


@pytest.mark.parametrize(("action", "left"), [("purge", 1), ("retry", 2)])
async def test_what_died_after_the_question_is_not_meant_by_the_answer(
    site: Served, action: str, left: int
) -> None:
    await make_dead(site.engine, "a")
    asked = await asked_at(site, f"dlq_{action}?all=yes")
    await make_dead(site.engine, "b")

    answer = await post(site, f"/actions/dlq/{action}", {"all": "yes", "until": asked})
    refused = await post(site, f"/actions/dlq/{action}", {"all": "yes", "until": "now"})

    assert answer.headers["location"].endswith("count=1")
    assert refused.status_code == 400
    assert (await states(site.engine))["b"] == "dead"
    assert len(await states(site.engine)) == left


QUESTIONS = ("cancel", "delete")


async def named(site: Served, path: str) -> list[str]:
    """Return the jobs that a page names in its forms, as it names them."""
    page = await site.client.get(path, headers=site.browser())
    return list(dict.fromkeys(re.findall(r'name="job" value="([^"]+)"', page.text)))


@pytest.mark.parametrize("action", ["retry", "run-now", *QUESTIONS])
@pytest.mark.parametrize("page", ["/jobs?search=same", "/jobs/same", "/scheduled", "/dlq"])
async def test_a_page_that_is_old_does_nothing_to_another_job_of_its_id(
    site: Served, action: str, page: str
) -> None:
    if page == "/dlq":
        await make_dead(site.engine, "same")
    else:
        await site.engine.enqueue("echo old", id="same", delay=3600)

    if action == "retry" and page.startswith("/jobs"):
        await site.engine.cancel("same")

    seen = await named(site, page)
    await site.engine.delete("same")
    other = await site.engine.enqueue("echo new", id="same", delay=3600)

    if action == "retry":
        other = await site.engine.cancel("same")

    if action in QUESTIONS:
        seen = await named(site, f"/confirm/{action}?job={seen[0]}")

    answer = await post(site, f"/actions/{action}", {"job": seen})

    assert len(seen) == 1
    assert answer.status_code == 409
    assert "another job has been enqueued anew under this id since" in answer.text
    assert await site.engine.get("same") == other


@pytest.mark.parametrize("is_ahead", [False, True], ids=["in order", "a clock was ahead"])
@pytest.mark.parametrize(("action", "left"), [("delete", "pending"), ("cancel", "cancelled")])
async def test_a_job_that_was_retried_since_the_question_is_not_deleted(
    db_path: Path, tmp_path: Path, action: str, left: str, *, is_ahead: bool
) -> None:
    clock = FakeClock()

    async with QueueEngine(db_path, clock=clock) as engine, served(engine, tmp_path) as site:
        for job_id in ("same", "other"):
            await engine.enqueue("true", id=job_id, delay=3600)
            await engine.cancel(job_id)

        clock.jump(timedelta(hours=-1) if is_ahead else timedelta(seconds=1))
        seen = await named(site, f"/confirm/{action}?job=same&job=other&job=gone")
        await engine.retry("same")
        answer = await post(site, f"/actions/{action}", {"job": seen})
        found = await states(engine)

    # None that is enqueued until the answer is meant.
    assert seen[-1] == "gone@0"
    assert answer.headers["location"].endswith("count=1&skipped=2")
    assert found["same"] == left
    assert ("other" in found) is (action == "cancel")


@pytest.mark.parametrize("job", ["a@", "a@x", "a@1@", "a@1@now", "a@1@2@3", "@1", "a@-1"])
async def test_a_job_that_is_named_as_no_page_names_it_is_refused(site: Served, job: str) -> None:
    assert (await post(site, "/actions/retry", {"job": job})).status_code == 400


async def test_dead_jobs_of_a_clock_that_was_ahead_are_left_and_the_question_says_so(
    db_path: Path, tmp_path: Path
) -> None:
    clock = FakeClock()

    async with QueueEngine(db_path, clock=clock) as engine, served(engine, tmp_path) as site:
        await make_dead(engine, "ahead", command="exit 3")
        clock.jump(timedelta(hours=-1))
        await make_dead(engine, "now", command="exit 4")
        every = await load(engine, "dlq_purge", QueryParams("all=yes"))
        cause = await load(engine, "dlq_purge", QueryParams("reason=exit_code%3D4"))
        clock.advance(1)
        # It dies when the question was asked already.
        await make_dead(engine, "later", command="exit 4")
        answer = await post(site, "/actions/dlq/purge", dict(every.fields))
        left = await states(engine)
        clock.jump(timedelta(minutes=-5))
        refused = await post(site, "/actions/dlq/purge", dict(every.fields))

    assert refused.status_code == 400
    assert "the clock was set back" in refused.text
    assert "by a clock that was ahead" in every.note
    assert cause.note == ""
    assert answer.headers["location"].endswith("count=1")
    assert left.keys() == {"ahead", "later"}


async def test_what_finished_after_the_question_is_not_purged_by_the_answer(site: Served) -> None:
    await make_dead(site.engine, "old")
    until = await asked_at(site, "purge?state=dead&older_than=0")
    await make_dead(site.engine, "fresh")

    answer = await post(
        site, "/actions/purge", {"state": "dead", "older_than": "0", "until": until}
    )

    assert answer.headers["location"].endswith("count=1")
    assert [*await states(site.engine)] == ["fresh"]


async def test_all_of_the_dead_are_not_meant_by_nothing(site: Served) -> None:
    await make_dead(site.engine, "a")

    refused = [
        await post(site, path, {"all": "no"})
        for path in ("/actions/dlq/retry", "/actions/dlq/purge")
    ]
    # Empty is a reason too: that of those that died without one.
    without = await post(site, "/actions/dlq/purge", {"reason": "", "back": "/dlq"})
    purged = await post(site, "/actions/dlq/purge", {"all": "yes", "back": "/dlq"})

    assert without.headers["location"] == "/dlq?done=purged&count=0"
    assert [answer.status_code for answer in refused] == [400, 400]
    assert purged.headers["location"] == "/dlq?done=purged&count=1"


async def test_what_is_finished_for_long_is_purged(site: Served) -> None:
    await make_dead(site.engine, "a")

    young = await post(site, "/actions/purge", {"state": "dead", "older_than": "7d"})
    wrong = await post(site, "/actions/purge", {"state": "dead", "older_than": "soon"})
    # The form offers neither.
    running = await post(site, "/actions/purge", {"state": "processing"})
    waiting = await post(site, "/actions/purge", {"state": ["dead", "pending"]})
    every = await post(site, "/actions/purge", {"state": ["dead", "completed"]})

    assert young.headers["location"].endswith("count=0")
    assert [answer.status_code for answer in (wrong, running, waiting)] == [400] * 3
    assert every.headers["location"].endswith("count=1")


async def test_a_scheduled_job_runs_now(site: Served) -> None:
    await site.engine.enqueue("echo hi", id="job-1", delay=3600)

    await post(site, "/actions/run-now", {"job": "job-1"})

    assert (await site.engine.get("job-1")).run_at <= site.engine.now()


async def test_a_worker_is_told_to_leave_and_not_waited_for(site: Served, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    await site.engine.enqueue(f"until [ -e {gate} ]; do sleep 0.02; done", id="job-1")

    async with site.engine.workers():
        await wait_for_event(site.engine, EventKind.CLAIMED)
        [worker] = await site.engine.list_workers()
        answer = await post(site, "/actions/workers/drain", {"worker": worker.id})
        [leaving] = await site.engine.list_workers()
        gate.touch()

    assert answer.headers["location"] == "/workers?done=draining&count=1"
    assert leaving.state == "draining"


async def test_a_worker_that_is_not_there_is_named(site: Served) -> None:
    answer = await post(site, "/actions/workers/stop", {"worker": "w99"})

    assert answer.status_code == 404
    assert "w99" in answer.text


async def test_a_key_is_set_and_unset(site: Served) -> None:
    done = await post(site, "/config", {"key": "timeout-sec", "value": "10m"})
    value = await site.engine.config.get("timeout-sec")
    undone = await post(site, "/config/unset", {"key": "timeout-sec"})

    assert done.headers["location"] == "/config?done=set&count=1"
    assert value == 600
    assert undone.headers["location"] == "/config?done=unset&count=1"
    assert await site.engine.config.get("timeout-sec") == 3600


async def test_a_value_that_is_refused_is_shown_again(site: Served) -> None:
    answer = await post(site, "/config", {"key": "max-retries", "value": '"><script>1'})
    unknown = await post(site, "/config", {"key": "nonsense", "value": "1"})

    assert answer.status_code == 422
    assert "<script>1" not in answer.text
    assert "&lt;script&gt;1" in answer.text
    assert unknown.status_code == 400


async def test_a_job_is_added_where_that_is_allowed(engine: QueueEngine, tmp_path: Path) -> None:
    fields = {
        "command": "echo 'ä' <b>\r\nexit 1",
        "id": "job-1",
        "priority": "7",
        "max_retries": "",
        "timeout": "10m",
        "tags": "a, b,,",
        "cwd": str(tmp_path),
    }

    async with served(engine, tmp_path, allow_enqueue=True) as site:
        answer = await post(site, "/enqueue", fields)

    job = await engine.get("job-1")
    assert answer.headers["location"] == "/jobs/job-1?done=enqueued&count=1"
    # Browsers send a line's end in a form as two characters; a shell would not take it.
    assert job.command == "echo 'ä' <b>\nexit 1"
    assert (job.priority, job.timeout, job.tags) == (7, timedelta(minutes=10), ("a", "b"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"command": ""}, "command"),
        ({"command": "echo", "priority": "many"}, "not a whole number"),
        ({"command": "echo", "id": "../../etc"}, "id"),
        ({"command": "echo", "timeout": "soon"}, "soon"),
        ({"command": "echo <i>mine</i>", "id": "taken"}, "exists"),
    ],
)
async def test_a_job_that_is_refused_is_shown_again(
    engine: QueueEngine, tmp_path: Path, fields: dict[str, str], words: str
) -> None:
    await engine.enqueue("echo hi", id="taken")

    async with served(engine, tmp_path, allow_enqueue=True) as site:
        answer = await post(site, "/enqueue", fields)

    assert answer.status_code == 422
    assert words in answer.text
    assert "<i>mine" not in answer.text
    assert len(await engine.list()) == 1


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""]
)
async def test_what_is_no_form_is_refused(site: Served, kind: str) -> None:
    headers = site.browser(**{"content-type": kind})

    answer = await site.client.post("/actions/retry", content=b"job=a", headers=headers)

    assert answer.status_code == 415


async def test_bytes_that_are_no_text_are_refused(site: Served) -> None:
    headers = site.browser(**{"content-type": "application/x-www-form-urlencoded"})

    raw = await site.client.post("/actions/retry", content=b"job=\xff", headers=headers)
    quoted = await site.client.post("/actions/retry", content=b"job=%ff%00", headers=headers)

    assert raw.status_code == quoted.status_code == 400


async def test_a_command_that_is_no_text_is_refused_and_not_changed(
    engine: QueueEngine, tmp_path: Path
) -> None:
    async with served(engine, tmp_path, allow_enqueue=True) as site:
        kind = {"content-type": "application/x-www-form-urlencoded"}
        answer = await site.client.post(
            "/enqueue", content=b"command=cat+caf%E9.txt", headers=site.browser(**kind)
        )

    assert answer.status_code == 400
    assert "UTF-8" in answer.text
    assert await engine.list() == []
