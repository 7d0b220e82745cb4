"""The dashboard inside another application, under a path of its own."""

import asyncio
from pathlib import Path

import httpx2
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Message

from queuectl import QueueEngine
from queuectl.dashboard import create_dashboard
from tests.dashboard.serving import HTML, TOKEN

BASE = "http://jobs.example"


def client_of(engine: QueueEngine, token: str | None = None) -> httpx2.AsyncClient:
    dashboard = create_dashboard(engine, token=token, hosts=["jobs.example"])
    host = Starlette(routes=[Mount("/ops/queue", dashboard)])
    transport = httpx2.ASGITransport(app=host)
    return httpx2.AsyncClient(transport=transport, base_url=BASE, headers={"accept": HTML})


async def test_the_application_around_it_says_who_may_come(engine: QueueEngine) -> None:
    async with client_of(engine) as client:
        page = await client.get("/ops/queue/config")
        document = await client.get("/ops/queue/api/openapi.json")

    assert document.json()["servers"] == [{"url": "/ops/queue"}]
    assert page.status_code == 200
    assert 'href="/ops/queue/jobs' in page.text
    assert 'href="/jobs' not in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def test_forms_lead_back_below_its_path(engine: QueueEngine) -> None:
    await engine.enqueue("echo hi", id="job-1")
    await engine.enqueue("echo hi", id="job-2")
    origin = {"origin": BASE}

    async with client_of(engine) as client:
        path = "/ops/queue/actions/cancel"
        inside = {"job": "job-1", "back": "/ops/queue/jobs?state=pending"}
        back = await client.post(path, data=inside, headers=origin)
        # Another page of the same host is none of ours.
        outside = {"job": "job-2", "back": "/ops/logout"}
        away = await client.post(path, data=outside, headers=origin)
        host = {"job": "job-2", "back": "///ops/queue/evil.example/"}
        elsewhere = await client.post("/ops/queue/actions/delete", data=host, headers=origin)
        other = await client.post(path, data=inside, headers={"origin": "http://evil.example"})

    assert back.headers["location"] == ("/ops/queue/jobs?state=pending&done=cancelled&count=1")
    assert away.headers["location"] == "/ops/queue/jobs?done=cancelled&count=1"
    assert elsewhere.headers["location"] == "/ops/queue/jobs?done=deleted&count=1"
    assert other.status_code == 403


async def test_a_token_of_its_own_is_kept_to_its_path(engine: QueueEngine) -> None:
    async with client_of(engine, TOKEN) as client:
        refused = await client.get("/ops/queue/")
        open_page = await client.get("/ops/queue/healthz")
        link = await client.get("/ops/queue/", params={"token": TOKEN})
        page = await client.get("/ops/queue/config")

    assert refused.status_code == 401
    assert open_page.status_code == page.status_code == 200
    assert link.headers["location"] == "/ops/queue/"
    assert "Path=/ops/queue;" in link.headers["set-cookie"]


async def test_behind_tls_the_cookie_is_for_tls_alone(engine: QueueEngine) -> None:
    async with client_of(engine, TOKEN) as client:
        link = await client.get("https://jobs.example/ops/queue/", params={"token": TOKEN})

    assert "Secure" in link.headers["set-cookie"]


async def test_a_stream_that_the_server_cancels_ends_as_it_should(engine: QueueEngine) -> None:
    dashboard = create_dashboard(engine, hosts=["jobs.example"])
    host = Starlette(routes=[Mount("/ops/queue", dashboard)])
    sent: list[Message] = []
    has_begun = asyncio.Event()

    async def receive() -> Message:
        return await asyncio.Future()

    async def send(message: Message) -> None:
        sent.append(message)

        if message.get("body"):
            has_begun.set()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/ops/queue/live/workers",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"jobs.example")],
    }
    task = asyncio.create_task(host(scope, receive, send))
    await has_begun.wait()
    task.cancel("timeout graceful shutdown exceeded")

    # Uvicorn logs a traceback of what is raised here.
    await task
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_two_dashboards_in_one_application_do_not_meet(tmp_path: Path) -> None:
    async with QueueEngine(tmp_path / "a.db") as one, QueueEngine(tmp_path / "b.db") as two:
        await one.enqueue("echo hi", id="job-1")
        routes = [
            Mount("/one", create_dashboard(one, hosts=["jobs.example"])),
            Mount("/two", create_dashboard(two, hosts=["jobs.example"], read_only=True)),
        ]
        transport = httpx2.ASGITransport(app=Starlette(routes=routes))

        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            here = await client.get("/one/api/jobs/job-1")
            there = await client.get("/two/api/jobs/job-1")

    assert (here.status_code, there.status_code) == (200, 404)
