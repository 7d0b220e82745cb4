"""The JSON API, held against its description."""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from starlette.routing import Route

from queuectl import QueueEngine, parse_time
from queuectl.dashboard import create_dashboard
from queuectl.dashboard.openapi import document
from tests.dashboard.serving import Served, served

DOCUMENT = document(may_enqueue=True)


def check(answer: httpx2.Response) -> Any:
    """Hold an answer against the document, and return what it says."""
    [path] = [path for path in DOCUMENT["paths"] if matches(path, answer.url.path)]
    operation = DOCUMENT["paths"][path][answer.request.method.lower()]
    described = operation["responses"][str(answer.status_code)]["content"]
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in described

    if kind == "text/plain":
        return answer.text

    schema = {**described[kind]["schema"], "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(answer.json())
    return answer.json()


def matches(template: str, path: str) -> bool:
    if template.endswith("openapi.json"):
        return path == template

    return re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path) is not None


async def finished(engine: QueueEngine, command: str, job_id: str) -> None:
    await engine.enqueue(command, id=job_id, max_retries=0, tags=["t"])

    async with engine.workers():
        await engine.wait(job_id)


def test_every_address_of_the_api_is_described_and_every_description_has_one() -> None:
    app = create_dashboard(QueueEngine("no.db"), allow_enqueue=True)
    routed = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route) and route.path.startswith("/api/")
        for method in route.methods or ()
        if method != "HEAD"
    }
    described = {(path, method) for path, item in DOCUMENT["paths"].items() for method in item}

    assert routed - described == {("/api/openapi.json", "get")}
    assert described <= routed


def test_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    names = re.findall(r"#/components/schemas/(\w+)", repr(DOCUMENT))

    assert names
    assert set(names) <= set(schemas)
    Draft202012Validator.check_schema({"$defs": schemas})


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [op["operationId"] for item in DOCUMENT["paths"].values() for op in item.values()]

    assert len(set(names)) == len(names)


def test_the_page_about_the_dashboard_names_every_operation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "dashboard.md").read_text()
    named = set(re.findall(r"^\| (GET|POST) \| `(/api/\S+)` \|", page, re.MULTILINE))

    assert named == {
        (method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item
    }


@pytest.mark.parametrize("allow_enqueue", [True, False])
async def test_the_document_is_served_as_the_dashboard_is_set_up(
    engine: QueueEngine, tmp_path: Path, *, allow_enqueue: bool
) -> None:
    async with served(engine, tmp_path, allow_enqueue=allow_enqueue) as site:
        answer = await site.client.get("/api/openapi.json")

    assert answer.json() == document(may_enqueue=allow_enqueue)
    assert ("post" in answer.json()["paths"]["/api/jobs"]) is allow_enqueue


async def test_statistics_are_those_of_the_command_line(site: Served) -> None:
    await finished(site.engine, "exit 3", "a")
    await site.engine.enqueue("echo hi", id="b")

    stats = check(await site.client.get("/api/stats"))
    tagged = check(await site.client.get("/api/stats", params={"tag": "t"}))

    assert (stats["dlq"], stats["counts"]["pending"]) == (1, 1)
    assert tagged["counts"]["pending"] == 0


async def test_jobs_come_page_by_page(site: Served) -> None:
    await site.engine.enqueue_many([f"echo {number}" for number in range(5)])

    first = check(await site.client.get("/api/jobs", params={"limit": 2}))
    older = {"limit": 2, "before": first["older"]}
    second = check(await site.client.get("/api/jobs", params=older))
    last = check(await site.client.get("/api/jobs", params={"before": second["older"]}))
    commands = [job["command"] for page in (first, second, last) for job in page["jobs"]]

    assert commands == [f"echo {number}" for number in (4, 3, 2, 1, 0)]
    assert last["older"] is None


async def test_jobs_are_found(site: Served) -> None:
    await finished(site.engine, "exit 3", "a")
    await site.engine.enqueue("echo Needle", id="b")
    await site.engine.enqueue("echo hi", id="c", delay=3600)

    async def ids(**query: str) -> list[str]:
        page = check(await site.client.get("/api/jobs", params=query))
        return [job["id"] for job in page["jobs"]]

    assert await ids(state="dead") == ["a"]
    assert await ids(tag="t") == ["a"]
    assert await ids(search="needle") == ["b"]
    assert await ids(reason="exit_code=3") == ["a"]
    assert await ids(scheduled="true") == ["c"]


@pytest.mark.parametrize(
    "query",
    [
        "state=nonsense",
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=1e3",
        "before=99999999999999999999",
        "before=%D9%A3",
        "scheduled=perhaps",
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(site: Served, query: str) -> None:
    assert check(await site.client.get(f"/api/jobs?{query}"))["error"]["code"] == 400


@pytest.mark.parametrize(
    ("method", "path", "has"),
    [
        ("GET", "/api/stats", "there are tag"),
        ("GET", "/api/jobs", "there are state, tag, search, reason, scheduled, before, limit"),
        ("GET", "/api/jobs/a", "there are none here"),
        ("GET", "/api/jobs/a/output", "there are attempt, last, raw"),
        ("GET", "/api/dlq", "there are reason, before, limit"),
        ("POST", "/api/jobs", "there are none here"),
        ("POST", "/api/jobs/a/retry", "there are none here"),
        ("POST", "/api/dlq/retry", "there are none here"),
    ],
)
async def test_a_parameter_that_does_not_exist_is_named(
    engine: QueueEngine, tmp_path: Path, method: str, path: str, has: str
) -> None:
    async with served(engine, tmp_path, allow_enqueue=True) as site:
        body = {"command": "true"} if method == "POST" else None
        answer = await site.client.request(method, f"{path}?limits=3", json=body)

    error = check(answer)["error"]
    assert (error["code"], error["message"]) == (400, f"no such parameter: 'limits' ({has})")
    assert not await engine.list()


async def test_a_job_comes_with_its_runs_and_its_output(site: Served) -> None:
    await finished(site.engine, "printf '<b>\\377'; exit 3", "a")

    job = check(await site.client.get("/api/jobs/a"))
    output = await site.client.get("/api/jobs/a/output")
    end = await site.client.get("/api/jobs/a/output", params={"last": 2, "attempt": 1})
    missing = await site.client.get("/api/jobs/a/output", params={"attempt": 2})

    assert [run["exit_code"] for run in job["runs"]] == [3]
    assert check(output) == "<b>\\xff"
    assert output.headers["content-type"] == "text/plain; charset=utf-8"
    assert check(end) == ">\\xff"
    assert check(missing)["error"]["code"] == 404


@pytest.mark.parametrize("what", ["", "/output"])
@pytest.mark.parametrize("job_id", ["none", "%3Cscript%3E", "%00", "..", "%F0%9F%92%A9"])
async def test_an_unknown_job_is_named(site: Served, job_id: str, what: str) -> None:
    answer = await site.client.get(f"/api/jobs/{job_id}{what}")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"


async def test_a_job_is_changed(site: Served) -> None:
    await finished(site.engine, "exit 3", "a")
    await site.engine.enqueue("echo hi", id="b", delay=3600)

    retried = check(await site.client.post("/api/jobs/a/retry"))
    again = check(await site.client.post("/api/jobs/a/retry"))
    due = check(await site.client.post("/api/jobs/b/run-now"))
    body = {"reason": "not today"}
    cancelled = check(await site.client.post("/api/jobs/b/cancel", json=body))
    missing = check(await site.client.post("/api/jobs/c/cancel"))

    assert retried["state"] == "pending"
    assert again["error"]["code"] == 409
    assert parse_time(due["run_at"]) <= site.engine.now()
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "not today")
    assert missing["error"]["code"] == 404


async def test_the_dead_are_listed_with_their_causes(site: Served) -> None:
    await finished(site.engine, "exit 3", "a")
    await finished(site.engine, "exit 3", "b")
    await finished(site.engine, "exit 4", "c")

    dlq = check(await site.client.get("/api/dlq"))

    assert [job["id"] for job in dlq["jobs"]] == ["c", "b", "a"]
    assert {cause["reason"]: cause["count"] for cause in dlq["causes"]} == {
        "exit_code=3": 2,
        "exit_code=4": 1,
    }


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ({"ids": ["a", "a", "a"]}, {"b", "c"}),
        ({"reason": "exit_code=3"}, {"c"}),
        ({"all": True}, set()),
    ],
)
async def test_the_dead_run_again(site: Served, body: dict[str, Any], left: set[str]) -> None:
    await finished(site.engine, "exit 3", "a")
    await finished(site.engine, "exit 3", "b")
    await finished(site.engine, "exit 4", "c")

    answer = check(await site.client.post("/api/dlq/retry", json=body))

    assert answer == {"retried": 3 - len(left)}
    assert {job.id for job in await site.engine.dlq.list()} == left


@pytest.mark.parametrize(
    "body", [{}, {"all": False}, {"ids": [], "all": True}, {"id": "a"}, {"ids": "a"}, {"ids": [1]}]
)
async def test_which_of_the_dead_is_not_guessed(site: Served, body: dict[str, Any]) -> None:
    await finished(site.engine, "exit 3", "a")

    answer = check(await site.client.post("/api/dlq/retry", json=body))

    assert answer["error"]["code"] == 400
    assert len(await site.engine.dlq.list()) == 1


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"all": true}', "text/plain", 415),
        (b"all=true", "application/x-www-form-urlencoded", 415),
        (b'{"all": true}', "", 415),
    ],
)
async def test_a_body_that_is_not_json_is_refused(
    site: Served, content: bytes, kind: str, status: int
) -> None:
    headers = {"content-type": kind}

    answer = await site.client.post("/api/dlq/retry", content=content, headers=headers)

    assert check(answer)["error"]["code"] == status


async def test_a_job_is_added_where_that_is_allowed(engine: QueueEngine, tmp_path: Path) -> None:
    async with served(engine, tmp_path, allow_enqueue=True) as site:
        added = await site.client.post("/api/jobs", json={"id": "a", "command": "echo hi"})
        taken = await site.client.post("/api/jobs", json={"id": "a", "command": "echo hi"})
        wrong = await site.client.post("/api/jobs", json={"command": 1})

    assert added.status_code == 201
    assert check(added)["id"] == "a"
    assert check(taken)["error"]["code"] == 409
    assert check(wrong)["error"]["code"] == 400


async def test_a_body_that_is_too_large_is_refused_in_json(
    engine: QueueEngine, tmp_path: Path
) -> None:
    job = {"command": "#" + 5 * 2**20 * "x"}

    async with served(engine, tmp_path, allow_enqueue=True) as site:
        answer = await site.client.post("/api/jobs", json=job)

    assert check(answer)["error"]["code"] == 413


async def test_a_method_that_there_is_not_is_answered_with_those_that_there_are(
    engine: QueueEngine, tmp_path: Path
) -> None:
    async with served(engine, tmp_path, allow_enqueue=True) as site:
        answer = await site.client.delete("/api/jobs")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")
